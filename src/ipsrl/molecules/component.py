"""A component of the reward: what it is asked, and what it may answer.

A value that could not be computed is a `Failure` and never a number, because any number would be a
reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ipsrl.errors import words
from ipsrl.functions import number


@dataclass(frozen=True)
class Failure:
    """No value, and why."""

    reason: str


class Timeout(Failure):
    """No value within the limit of time."""


class Component(Protocol):
    """One property of molecules, raw; a user's own is a function or a program (config).

    Its attribute `identity`, if it has one, is a text of what its values depend on: kind, settings,
    versions, digests of files.
    """

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        """A finite number or a `Failure` for each canonical SMILES, in order; never raises."""
        ...


def guarded(compute: Callable[[], Any]) -> float | Failure:
    """A finite number, or why there is none."""
    try:
        value = compute()
        if isinstance(value, Failure):
            return value
        finite = number(value)
        if isinstance(value, bool | np.bool_) or not np.isfinite(finite):
            return Failure(f"the value is {value!r:.80}, not a finite number")
    except Exception as error:
        return Failure(words(error))
    return finite


def kinds_of_reasons(reasons: Iterable[str]) -> Counter[str]:
    """How often each kind of reason was given.

    Reasons that begin alike and then differ, such as by the molecule that they name, are one kind:
    "dock: ValueError: ..." for all that say "dock: ValueError: " and what went wrong.  A reason
    that comes several times is a kind of its own.
    """
    exact = Counter(reasons)
    once = Counter(_beginning(reason) for reason, count in exact.items() if count == 1)
    kinds: Counter[str] = Counter()
    for reason, count in exact.items():
        beginning = _beginning(reason)
        kinds[f"{beginning}: ..." if count == 1 < once[beginning] else reason] += count
    return kinds


def _beginning(reason: str) -> str:
    """The component and the kind of error, which stand before the second colon."""
    return ":".join(reason.split(":", 2)[:2])
