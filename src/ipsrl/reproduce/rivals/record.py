"""One cell of the study with one seed, and the interface of a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

SEEDS = (0, 1, 2, 3, 4)
"""Those that are reported."""
LAST = 3
"""Evaluations at the end of a run whose mean is what is measured of it."""
SAME = 0.01
"""Scores that differ by less than this share choose a learning rate by the reward."""


@dataclass(frozen=True)
class Record:
    """The results of one seed, for the table.

    Attributes:
      task, seed: whose it is.
      rate: learning rate, chosen with other seeds.
      samples: drawn in training.
      seconds: of training; None for a run that an earlier command began.
      measures: at the end: coverage, reward, and what else the task measures.
      curve: samples drawn, and coverage.
      by_reward: the rate, and measures, that one chooses who looks at the reward first.
      by_rate: measures at each learning rate that was tried with this seed.
    """

    task: str
    seed: int
    rate: float
    samples: int
    seconds: float | None
    measures: dict[str, float]
    curve: list[tuple[int, float]]
    by_reward: dict[str, float] = field(default_factory=dict)
    by_rate: dict[str, dict[str, float]] = field(default_factory=dict)


class Task(Protocol):
    """A task on which contestants are compared.

    Attributes:
      name: in tables.
      coverage, reward: what these two measures are here.
      budget: samples of every run.
    """

    coverage: ClassVar[str]
    reward: ClassVar[str]

    @property
    def name(self) -> str: ...
    @property
    def budget(self) -> int: ...

    def contestants(self) -> dict[str, Any]:
        """The contestants that can be run, by name."""
        ...

    def left_out(self) -> dict[str, str]:
        """The contestants that cannot be run, with the reasons."""
        ...

    def references(self) -> dict[str, list[dict[str, float]]]:
        """Measures of the start model, by seed, and of the ideal sampler, as far as known."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything on which a record depends, beside the contestant and the seed."""
        ...

    def run(self, contestant: Any, seeds: tuple[int, ...]) -> Iterator[Record]:
        """Train the contestant with every seed, and yield each record when it is ready."""
        ...


def chosen_rate(first: Sequence[float], second: Sequence[float]) -> int:
    """Index of the learning rate: the highest `first`, and within 1 % of it the highest `second`.

    Args:
      first, second: means over the tuning seeds, by rate; NaN for a rate that diverged.
    """
    score = np.nan_to_num(np.asarray(first, float), nan=-np.inf)
    near = score >= score.max() - SAME * abs(score.max())
    return int(np.argmax(np.where(near, np.asarray(second, float), -np.inf)))
