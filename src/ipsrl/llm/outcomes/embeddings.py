"""Outcomes that are more or less the same: clusters of texts, similarities of keys."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Hashable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ipsrl.errors import InvalidInput, MissingExtra
from ipsrl.functions import call
from ipsrl.llm.outcomes.answer import last_message, spoken

Embed = Callable[[list[str]], Any]
"""embed(texts): vectors [n, d] of n texts."""

_LONGEST = 2000  # characters of a text that are embedded
_MOST = 10_000  # leaders


def clusters(embed: str | Embed = "wordllama", *, threshold: float = 0.7) -> Callable[..., Any]:
    """Make an outcome function that gives texts of about the same meaning one outcome.

    A text belongs to the first leader with cosine(text, leader) >= threshold; without one it
    becomes a leader itself.  Leaders are kept as long as the function, in one process.

    Args:
      embed: "wordllama", whose 16 MB of word vectors come with its package; or a function of n
        texts that returns vectors [n, d], such as `SentenceTransformer("...").encode`.
      threshold: cosine from which on two texts are one outcome, in (0, 1].
    Returns:
      outcome_fn(completions, **columns): for each the text of its leader; None for one without
      a letter or digit.
    Raises:
      InvalidInput: for a threshold or vectors that cannot be; in training on several processes,
        whose leaders would differ.
      MissingExtra: if the package that `embed` names is not installed.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}. Choose a cosine above 0, at most 1.")
    vectors_of = _vectors_of(embed)
    leaders: list[str] = []
    vectors: list[np.ndarray] = []

    def outcome(completions: list[Any], **_: Any) -> list[str | None]:
        _check_one_process()
        texts = [spoken(last_message(completion)) for completion in completions]
        keys: list[str | None] = []
        for text, vector in zip(texts, vectors_of(texts), strict=True):
            if not vector.any():
                keys.append(None)
                continue
            near = np.array(vectors) @ vector >= threshold - 1e-6 if vectors else np.zeros(1, bool)
            if not near.any():
                if len(leaders) == _MOST:
                    raise InvalidInput(
                        f"the texts fall into more than {_MOST} clusters, which is not what a "
                        f"threshold of {threshold} was chosen for. Choose a lower one."
                    )
                leaders.append(text)
                vectors.append(vector)
            keys.append(leaders[int(near.argmax()) if near.any() else -1])
        return keys

    outcome.__name__ = "clusters"
    return outcome


def similarity(embed: str | Embed = "wordllama") -> Callable[[list[Hashable]], np.ndarray]:
    """Make a `similarity_fn` for the estimator "kernel": cosines, with negative ones as 0.

    Args:
      embed: as for `clusters`.
    Returns:
      similarity_fn(keys): similarities [n, n] in [0, 1], 1 on the diagonal.
    Raises:
      InvalidInput: for vectors that cannot be.
      MissingExtra: if the package that `embed` names is not installed.
    """
    vectors_of = _vectors_of(embed)

    def similarities(keys: list[Hashable]) -> np.ndarray:
        vectors = vectors_of([str(key) for key in keys])
        cosines = np.clip(vectors @ vectors.T, 0.0, 1.0)
        np.fill_diagonal(cosines, 1.0)
        return (cosines + cosines.T) / 2

    return similarities


def _check_one_process() -> None:
    torch = sys.modules.get("torch")  # what has not been loaded runs no processes
    if torch is not None and torch.distributed.is_available():
        group = torch.distributed
        if group.is_initialized() and group.get_world_size() > 1:
            raise InvalidInput(
                f"clusters has other leaders in each of the {group.get_world_size()} processes, "
                "so equal outcomes would get different keys. Use one process, or "
                "estimator='kernel' with similarity(), which keeps no state."
            )


def _vectors_of(embed: str | Embed) -> Callable[[list[str]], np.ndarray]:
    """Unit vectors [n, d] of texts; 0 for a text without a letter or digit."""
    embed_texts = _wordllama() if embed == "wordllama" else embed
    if isinstance(embed_texts, str) or not callable(embed_texts):
        raise InvalidInput(
            f"embed is {embed!r}. Pass 'wordllama', or a function of texts that returns vectors "
            "[n, d], such as SentenceTransformer(...).encode."
        )

    def vectors_of(texts: list[str]) -> np.ndarray:
        vectors = np.asarray(call(embed_texts, [text[:_LONGEST] for text in texts]), float)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise InvalidInput(
                f"embed returned an array of shape {list(vectors.shape)} for {len(texts)} texts, "
                "or one that is not finite. Return one vector for each text, [n, d]."
            )
        vectors = vectors * [[re.search(r"\w", text) is not None] for text in texts]
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(length > 0, length, 1.0)

    return vectors_of


@cache
def _wordllama() -> Embed:
    """The mean of the vectors of a text's tokens.

    The files of the package are read here: its own loader looks for the tokenizer in another
    folder than it has been installed in, and would download it.
    """
    from safetensors.numpy import load_file

    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise MissingExtra("outcomes", "wordllama")
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise MissingExtra("outcomes", "tokenizers") from None
    folder = Path(found.origin).parent
    table = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    tokenizer = Tokenizer.from_file(
        str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def embed(texts: list[str]) -> np.ndarray:
        rows = tokenizer.encode_batch(texts, add_special_tokens=False)
        none = np.zeros(table.shape[1])
        return np.array([table[row.ids].mean(0, dtype=float) if row.ids else none for row in rows])

    return embed
