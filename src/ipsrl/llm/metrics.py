"""TRL's metrics of rewards, computed from any rewards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import nanstd


def reward_metrics(
    rewards_NK: torch.Tensor,
    weights_K: torch.Tensor,
    names: Sequence[str],
    G: int,
    *,
    batch: bool,
) -> dict[str, list[float]]:
    """The metrics that `GRPOTrainer` logs for these rewards, with its names, to the last bit.

    Args:
      rewards_NK: of all processes, a column per reward function; NaN where it gave none.
      weights_K: of the reward functions.
      names: of the reward functions; those of one name are logged under it one after the other.
      G: group size.
      batch: True compares all rewards with one another (TRL's scale_rewards="batch").
    Returns:
      rewards/NAME/mean and rewards/NAME/std; and, of the weighted sums: reward, reward_std and
      frac_reward_zero_std, the share of groups in which all are equal but for rounding.
    """
    metrics: dict[str, list[float]] = defaultdict(list)
    for k, name in enumerate(names):
        metrics[f"rewards/{name}/mean"].append(torch.nanmean(rewards_NK[:, k]).item())
        metrics[f"rewards/{name}/std"].append(nanstd(rewards_NK[:, k]).item())
    totals_N = (rewards_NK * weights_K).nansum(dim=1)
    totals_N[rewards_NK.isnan().all(dim=1)] = torch.nan
    std_P = nanstd(totals_N.view(1 if batch else -1, -1 if batch else G), dim=1)
    equal_P = torch.isclose(std_P, torch.zeros_like(std_P))
    metrics["reward"].append(torch.nanmean(totals_N).item())
    metrics["reward_std"].append(nanstd(totals_N).item())
    metrics["frac_reward_zero_std"].append(equal_P.float().mean().item())
    return dict(metrics)


def replace_last(logged: Any, values: list[float]) -> None:
    """Replace the values that TRL has just added."""
    for _ in range(min(len(values), len(logged))):
        logged.pop()
    logged.extend(values)
