"""Group-relative advantage: a reward compared with the other answers to the same prompt."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    check_has_group,
    check_same_shape,
    holds,
)
from ipsrl.errors import InvalidInput


class GroupAdvantage(NamedTuple):
    """Advantages [..., G], and True for groups [...] whose rewards are all equal: no signal."""

    advantages: Array
    zero_variance: Array


def group_advantage(
    rewards: Array,
    *,
    baseline: Literal["mean", "leave-one-out", "none"] = "mean",
    scale: Literal["group", "batch", "none"] = "group",
    std_eps: float = 1e-4,
    ddof: int = 1,
    mask: Array | None = None,
) -> GroupAdvantage:
    """Advantage of each sample over its group.

        A_g = (r_g - b_g) / (std + std_eps)

    The baseline b is the mean of the group (GRPO), the mean of its other members (RLOO), or 0.  The
    scale is the standard deviation of the group (GRPO), of the whole batch, or 1 (Dr. GRPO).
    TRL: the defaults.  verl: `std_eps=1e-6`.  A group of one has deviation 0 and advantage 0 under
    either baseline (verl passes its reward on).
    Source: GRPO (2402.03300); Dr. GRPO (2503.20783); RLOO (2402.14740).

    Args:
      rewards: rewards [..., G]; the last axis is the group.
      baseline: what a reward is compared with.
      scale: what the difference is measured in.
      std_eps: added to the standard deviation, in units of reward.
      ddof: the variance divides by (samples - ddof): 1 as in PyTorch, 0 as in NumPy.
      mask: True where a sample exists [..., G] (ragged groups); None for all.
    Returns:
      advantages [..., G], 0 outside the mask, and the flag of zero-variance groups [...].
    Raises:
      InvalidInput: for non-finite rewards, an unknown setting, or a mask that is not aligned.
    """
    if baseline not in ("mean", "leave-one-out", "none") or scale not in ("group", "batch", "none"):
        raise InvalidInput(
            f"group_advantage got baseline={baseline!r} and scale={scale!r}. Use baseline 'mean', "
            "'leave-one-out' or 'none', and scale 'group', 'batch' or 'none'."
        )
    xp, rewards, mask = as_arrays(rewards, as_mask(mask))
    rewards = as_float(xp, rewards)
    check_has_group("rewards", rewards)
    if mask is None:
        present = xp.ones_like(rewards)
    else:
        check_same_shape("rewards and mask", rewards, mask)
        present = xp.astype(mask, rewards.dtype)
        rewards = xp.where(mask, rewards, xp.zeros_like(rewards))
    if not holds(xp.isfinite(rewards)):
        raise InvalidInput(
            "rewards have NaN or infinite values, which would spread to the whole group. "
            "Mask those samples (mask=...), or give them a finite reward."
        )
    size = xp.sum(present, axis=-1, keepdims=True)
    total = xp.sum(rewards, axis=-1, keepdims=True)
    centred = (rewards - total / _at_least_one(xp, size)) * present
    low = xp.min(xp.where(present > 0, rewards, xp.inf), axis=-1)
    high = xp.max(xp.where(present > 0, rewards, -xp.inf), axis=-1)
    zero_variance = ~(high > low)  # also an empty group; a standard deviation would round

    if baseline == "mean":
        advantages = centred
    elif baseline == "leave-one-out":
        # r - mean of the others = (r - mean) G / (G - 1)
        advantages = centred * size / _at_least_one(xp, size - 1)
    else:
        advantages = rewards

    if scale == "group":
        variance = xp.sum(centred**2, axis=-1, keepdims=True) / _at_least_one(xp, size - ddof)
        advantages = advantages / (xp.sqrt(variance) + std_eps)
    elif scale == "batch":
        count = xp.sum(present)
        deviations = (rewards - xp.sum(rewards) / _at_least_one(xp, count)) * present
        variance = xp.sum(deviations**2) / _at_least_one(xp, count - ddof)
        advantages = advantages / (xp.sqrt(variance) + std_eps)
    if baseline != "none":
        # Rounding of the mean leaves some 1e-8, which division by std_eps would amplify.
        advantages = xp.where(zero_variance[..., None], xp.zeros_like(advantages), advantages)
    return GroupAdvantage(advantages, zero_variance)


def _at_least_one(xp, count: Array) -> Array:
    return xp.where(count > 1, count, xp.ones_like(count))
