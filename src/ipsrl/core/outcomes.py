"""Outcome keys as integers: the same key has the same id on every machine, process and run.

Python's own `hash` is salted per process for strings, so ranks of one job would disagree on it.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from ipsrl.core.arrays import Array, as_arrays
from ipsrl.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

NO_OUTCOME = -1
"""Id of a sample without an outcome (it does not parse): IPS leaves its reward alone."""

_SHORT = 256  # characters of a key that is remembered: at most 16 million in all
_FEW = 8  # parts of a key that is remembered
_MAX_DEPTH = 100  # of nested tuples and frozensets; far below Python's recursion limit


def outcome_ids(keys: Iterable[Hashable | None]) -> np.ndarray:
    """Stable 63-bit integers for outcome keys.

    Equal keys give equal ids; different keys collide with probability about n^2 / 2^64 for n keys.
    `True` is the integer 1, as it is for Python's `==`.  Without x64, JAX keeps the low 32 bits of
    an id, which still tells the members of a group apart.

    Args:
      keys: one `str`, `int`, `bytes`, or (nested) `tuple` or `frozenset` of these per sample;
        None for a sample that has no outcome.
    Returns:
      int64 array [N]: 0 <= id < 2^63, and `NO_OUTCOME` (-1) for None.
    Raises:
      InvalidInput: for a key of another type, whose identity across processes is unknown.
    """
    if isinstance(keys, str | bytes):
        raise InvalidInput(
            f"outcome_ids got the single key {keys[:40]!r}, whose characters would be keys. "
            "Pass a list with one key per sample."
        )
    import numpy as np

    return np.fromiter(map(_id_of, keys), dtype=np.int64)


def has_outcome(ids: Array) -> Array:
    """True for ids that name an outcome; an unsigned integer always does."""
    xp, ids = as_arrays(ids)
    if xp.isdtype(ids.dtype, "unsigned integer"):  # PyTorch and JAX compare -1 as 255
        return xp.ones_like(ids, dtype=xp.bool)
    return ids != NO_OUTCOME


def _id_of(key: Hashable | None) -> int:
    # Equal keys of exactly these types are the same key; (1,) equals (1.0,), which is refused.
    kind = type(key)
    if kind is int or ((kind is str or kind is bytes) and len(key) <= _SHORT):  # type: ignore[arg-type]
        return _remembered(key)
    if key is None:
        return NO_OUTCOME
    import numpy as np

    if isinstance(key, np.integer):
        return _remembered(int(key))
    if (kind is tuple or kind is frozenset) and len(key) <= _FEW and all(map(_is_short, key)):  # type: ignore[arg-type]
        return _remembered(key)
    return _id(key)


def _is_short(part: object) -> bool:
    kind = type(part)
    return kind is int or (kind is str and len(part) <= _SHORT // _FEW)  # type: ignore[arg-type]


def _id(key: Hashable) -> int:
    return int.from_bytes(_digest(key, 0), "big") >> 1


_remembered = lru_cache(maxsize=2**16, typed=True)(_id)  # a policy repeats its answers


def _digest(key: object, depth: int) -> bytes:
    """Eight bytes that depend on the type tag and the content only (Merkle style)."""
    if depth > _MAX_DEPTH:
        raise InvalidInput(
            f"an outcome key nests deeper than {_MAX_DEPTH} levels. "
            "Flatten it, or use a string that names the outcome."
        )
    match key:
        case str():
            content = b"s" + key.encode("utf-8", "surrogatepass")
        case bytes():
            content = b"b" + key
        case tuple():
            content = b"t" + b"".join(_digest(part, depth + 1) for part in key)
        case frozenset():
            content = b"f" + b"".join(sorted(_digest(part, depth + 1) for part in key))
        case None:
            content = b"n"
        case _:
            number = _integer(key)
            content = b"i" + number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return blake2b(content, digest_size=8).digest()


def _integer(key: object) -> int:
    import numpy as np

    if isinstance(key, np.bool_):
        return int(key)
    try:
        return operator.index(key)  # type: ignore[arg-type]  # NumPy integers too
    except TypeError:
        raise InvalidInput(
            f"an outcome key has type {type(key).__name__!r}, which has no identity that is the "
            "same in every process. Use a str, int, bytes, or a tuple or frozenset of these "
            "(round a float to the precision that makes two outcomes equal, and use its text)."
        ) from None
