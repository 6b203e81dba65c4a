"""The record of each visit of a prompt in a history, in memory and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from ipsrl.llm.kept import reading
from ipsrl.runs import write_whole

Tokens = Sequence[int] | np.ndarray

_NONE = np.zeros(0)


class Visit(NamedTuple):
    """The groups of a prompt in a generation; without log-probabilities only their outcomes."""

    ids: np.ndarray  # [n]
    texts: tuple[bytes, ...] = ()  # n completions, as `packed`
    log_then: np.ndarray = _NONE  # [n], under the policy that drew them


def packed(tokens: Tokens) -> bytes:
    """Token ids in four bytes each; equal sequences have equal bytes."""
    return np.asarray(tokens, np.int32).tobytes()


def unpacked(text: bytes) -> np.ndarray:
    """Token ids [T] from `packed`."""
    return np.frombuffer(text, np.int32)


def write_visits(path: Path, visits_of: dict[int, list[Visit]]) -> None:
    """Write the visits of all prompts, as a whole or not at all.

    Args:
      path: of a file in the format safetensors.
      visits_of: the visits of each prompt, the oldest first.
    """
    rows = [(prompt, visit) for prompt, visits in visits_of.items() for visit in visits]
    texts = [text for _, visit in rows for text in visit.texts]
    arrays = {
        "prompt": np.array([prompt for prompt, _ in rows], np.int64),
        "size": np.array([len(visit.ids) for _, visit in rows], np.int64),
        "kept": np.array([len(visit.texts) for _, visit in rows], np.int64),
        "ids": _joined((visit.ids for _, visit in rows), np.int64),
        "log_then": _joined((visit.log_then for _, visit in rows), np.float64),
        "length": np.array([len(unpacked(text)) for text in texts], np.int64),
        "tokens": unpacked(b"".join(texts)),
    }
    write_whole(path, save(arrays))


def read_visits(path: Path) -> dict[int, list[Visit]]:
    """Read the file that `write_visits` wrote.

    Args:
      path: of the file.
    Returns:
      the visits of each prompt, the oldest first.
    Raises:
      RunError: if it is damaged, or another file.
    """
    with reading(path, "the history of prompts", "start an empty history") as arrays:
        _check(arrays)
    texts = [packed(text) for text in _split(arrays["tokens"], arrays["length"])]
    visits_of: dict[int, list[Visit]] = {}
    first = 0
    for prompt, ids, log_then in zip(
        arrays["prompt"].tolist(),
        _split(arrays["ids"], arrays["size"]),
        _split(arrays["log_then"], arrays["kept"]),
        strict=True,
    ):
        visit = Visit(ids, tuple(texts[first : first + len(log_then)]), log_then)
        visits_of.setdefault(prompt, []).append(visit)
        first += len(log_then)
    return visits_of


_KINDS = {
    "prompt": np.int64, "size": np.int64, "kept": np.int64, "ids": np.int64,
    "log_then": np.float64, "length": np.int64, "tokens": np.int32,
}  # fmt: skip


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays that cannot be a history."""
    if arrays.keys() != _KINDS.keys():
        raise ValueError(f"it holds {', '.join(sorted(arrays)) or 'nothing'}")
    for name, kind in _KINDS.items():
        array = arrays[name]
        if array.dtype != kind or array.ndim != 1:
            raise ValueError(f"{name} has dtype {array.dtype} and shape {array.shape}")
    size, kept = arrays["size"], arrays["kept"]
    if not len(arrays["prompt"]) == len(size) == len(kept):
        raise ValueError("it holds parts of visits")
    for sizes, parts in (
        (size, "ids"), (kept, "log_then"), (kept, "length"), (arrays["length"], "tokens"),
    ):  # fmt: skip
        count = len(arrays[parts])
        # Each is checked, because a sum of huge ones may overflow to the right number.
        if ((sizes < 0) | (sizes > count)).any() or sizes.sum() != count:
            raise ValueError(f"the number of {parts} is not the one that it states")
    if ((kept != 0) & (kept != size)).any() or not np.isfinite(arrays["log_then"]).all():
        raise ValueError("it holds completions without a log-probability")


def _joined(parts: Iterable[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts])


def _split(flat: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(sizes)[:-1]) if len(sizes) else []
