"""The diversity filter: a scaffold stops paying once enough molecules of it were found.

Source: Blaschke et al. 2020 (10.1186/s13321-020-00473-0), identical Murcko scaffold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np


class DiversityFilter:
    """Rewards of a scaffold are 0 from the molecule after `bucket` molecules of it on.

        R'(m) = R(m) if n(scaffold of m) < bucket else 0

    n counts the molecules of *earlier* batches, so one batch may overshoot.  A molecule that is
    drawn again counts again: an agent that repeats itself is not paid for it for ever.

    Args:
      bucket: molecules of a scaffold that are rewarded; 0 for any number.
      counts: n of an earlier run.
    """

    def __init__(self, bucket: int, counts: dict[str, int] | None = None) -> None:
        self.bucket = bucket
        self.counts = Counter(counts)
        self.added: Counter[str] = Counter()  # since somebody wrote down and cleared it

    def full(self, scaffolds: Iterable[str]) -> np.ndarray:
        """True for the scaffolds that pay no more [N]."""
        full = [0 < self.bucket <= self.counts[scaffold] for scaffold in scaffolds]
        return np.array(full, dtype=bool)

    def penalise(self, rewards: np.ndarray, scaffolds: Sequence[str]) -> np.ndarray:
        """Rewards [N] with 0 for the scaffolds that pay no more."""
        return np.where(self.full(scaffolds), 0.0, rewards)

    def add(self, scaffolds: Iterable[str]) -> None:
        """Count the molecules of a batch, after it was penalised."""
        new = Counter(scaffolds)
        self.counts.update(new)
        self.added.update(new)
