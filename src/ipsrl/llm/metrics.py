"""TRL's metrics of rewards, computed from rewards of our choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def reward_metrics(
    rewards_NK: np.ndarray, weights_K: np.ndarray, names: Sequence[str], G: int, *, batch: bool
) -> dict[str, float]:
    """What `GRPOTrainer` logs of these rewards, by the names that it uses.

    In float64, where TRL computes in float32, and with NumPy, which is faster for few numbers.

    Args:
      rewards_NK: of all processes, a column per reward function; NaN where it gave none.
      weights_K: of the reward functions.
      names: of the reward functions.
      G: group size.
      batch: True compares all rewards with one another (TRL's scale_rewards="batch").
    Returns:
      rewards/NAME/mean and rewards/NAME/std; and, of the weighted sums: reward, reward_std and
      frac_reward_zero_std, the share of groups in which all are equal.
    """
    scored_NK = np.isfinite(rewards_NK)
    given_NK = np.where(scored_NK, rewards_NK, 0.0)
    totals_N, scored_N = given_NK @ weights_K, scored_NK.any(axis=1)
    metrics = {}
    for k, name in enumerate(names):
        mean_and_std = _mean_and_std(given_NK[:, k], scored_NK[:, k])
        metrics[f"rewards/{name}/mean"], metrics[f"rewards/{name}/std"] = mean_and_std
    metrics["reward"], metrics["reward_std"] = _mean_and_std(totals_N, scored_N)
    shape = (1, -1) if batch else (-1, G)
    totals_PG, scored_PG = totals_N.reshape(shape), scored_N.reshape(shape)
    least_P = np.where(scored_PG, totals_PG, math.inf).min(axis=1)
    most_P = np.where(scored_PG, totals_PG, -math.inf).max(axis=1)
    # Of less than two there is no standard deviation.
    equal_P = (least_P == most_P) & (scored_PG.sum(axis=1) > 1)
    metrics["frac_reward_zero_std"] = float(equal_P.mean())
    return metrics


def _mean_and_std(values: np.ndarray, known: Any) -> tuple[float, float]:
    """Mean and standard deviation of what is known; NaN where TRL has NaN."""
    count = int(known.sum())
    if count == 0:
        return math.nan, math.nan
    mean = float(values.sum()) / count  # what is not known is 0
    squares = float(np.square(values - mean) @ known)
    return mean, math.sqrt(squares / (count - 1)) if count > 1 else math.nan
