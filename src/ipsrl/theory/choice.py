"""The choice of an estimator of p(outcome): the one table, which docs/choosing.md shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHORT_ANSWER = 10
"""Tokens of a completion up to which its likelihood is near that of its outcome."""
COUNTED = 0.5
"""Right answers per member of a group up to which counting is enough: IPS pulls with .70 there."""


@dataclass(frozen=True)
class Choice:
    """One row of the table: answers to three questions, where None fits either answer.

    Attributes:
      most: right answers per member of a group up to which it holds.
      short: whether log-probabilities of short answers, up to `SHORT_ANSWER` tokens, are at hand.
      back: whether prompts come back.
      estimator: by its name in `ESTIMATORS`.
      why: in a few words.
    """

    most: float
    short: bool | None
    back: bool | None
    estimator: str
    why: str


CHOICES = (
    Choice(COUNTED, None, None, "group", "a group shows nearly every answer"),
    Choice(math.inf, True, None, "likelihood", "as good as exact p from the first visit on"),
    Choice(math.inf, False, True, "replay", "earlier groups show more answers than one"),
    Choice(math.inf, False, False, "group", "nothing looks beyond the group: make it larger"),
)
"""The first row that fits counts.  Measured: docs/choosing.md, `ipsrl reproduce choosing`."""


def choose(per_member: float, *, short: bool | None, back: bool, counts: bool = True) -> str | None:
    """The estimator that the table names.

    Args:
      per_member: right answers per member of a group, > 0.
      short: see `Choice`; None if it is not known.
      back: see `Choice`.
      counts: whether counting can be enough, which very unequal rewards forbid.
    Returns:
      its name; None if it depends on an unknown answer.
    """

    def named(known: bool) -> str:
        return next(
            row.estimator
            for row in CHOICES[0 if counts else 1 :]
            if per_member <= row.most and row.short in (None, known) and row.back in (None, back)
        )

    names = {named(known) for known in ((True, False) if short is None else (short,))}
    return names.pop() if len(names) == 1 else None
