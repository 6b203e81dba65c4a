"""TRL's metrics of rewards, computed from rewards of our choice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from trl.trainer.utils import nanstd


def reward_metrics(
    rewards_NK: torch.Tensor, weights_K: torch.Tensor, names: Sequence[str], G: int, scale: str
) -> dict[str, float]:
    """What `GRPOTrainer` logs of these rewards, by the names that it uses.

    Args:
      rewards_NK: of all processes, a column per reward function; NaN where it gave none.
      weights_K: of the reward functions.
      names: of the reward functions.
      G: group size.
      scale: TRL's scale_rewards; "batch" takes the standard deviation of all rewards.
    Returns:
      rewards/NAME/mean and rewards/NAME/std; and, of the weighted sums: reward, reward_std and
      frac_reward_zero_std, the share of groups in which all are equal.
    """
    totals_N = (rewards_NK * weights_K.to(rewards_NK.device)).nansum(dim=1)
    totals_N[rewards_NK.isnan().all(dim=1)] = torch.nan
    spread = nanstd(totals_N) if scale == "batch" else nanstd(totals_N.view(-1, G), dim=1)
    metrics = {}
    for name, column in zip(names, rewards_NK.T, strict=True):
        metrics[f"rewards/{name}/mean"] = column.nanmean().item()
        metrics[f"rewards/{name}/std"] = nanstd(column).item()
    return metrics | {
        "reward": totals_N.nanmean().item(),
        "reward_std": nanstd(totals_N).item(),
        "frac_reward_zero_std": spread.isclose(torch.zeros_like(spread)).float().mean().item(),
    }
