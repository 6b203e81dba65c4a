"""The result of a run; separate, so that whoever asks what is measured need not load PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """The end of a run; means over its last 10 logged steps.

    Attributes:
      steps: optimiser steps.
      reward: mean reward before scaling; None where none was logged.
      distinct: different outcomes per group; None where no outcome function was given.
      effective: effective outcomes per group, exp of the entropy; None likewise.
    """

    steps: int
    reward: float | None
    distinct: float | None
    effective: float | None
