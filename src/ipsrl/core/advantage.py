"""Group-relative advantage: a reward compared with the other answers to the same prompt."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    as_weights,
    check_has_group,
    check_same_shape,
    holds,
    narrowed,
    overflowing,
    widened,
)
from ipsrl.errors import InvalidInput


class GroupAdvantage(NamedTuple):
    """Advantages [..., G], and True for groups [...] whose rewards are all equal (no signal)."""

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
    weights: Array | None = None,
) -> GroupAdvantage:
    """Advantage of each sample over its group.

        A_g = w_g (r_g - b_g) / (std + std_eps)

    The baseline b is the mean of the group (GRPO), the mean of its other members (RLOO), or 0.  The
    scale is the standard deviation of the group (GRPO), of the whole batch, or 1 (Dr. GRPO).
    TRL: the defaults.  verl: `std_eps=1e-6`.  A group of one has deviation 0 and advantage 0 under
    either baseline (verl passes its reward on).  Rewards of any size that their dtype holds are
    right: squares neither overflow nor vanish; 16 bits are computed in float32 and rounded once.
    Source: GRPO (2402.03300); Dr. GRPO (2503.20783); RLOO (2402.14740).

    Args:
      rewards: rewards [..., G]; the last axis is the group.
      baseline: what a reward is compared with.
      scale: unit of the difference.
      std_eps: added to the standard deviation, in units of reward; >= 0.
      ddof: the variance divides by (samples - ddof): 1 as in PyTorch, 0 as in NumPy.
      mask: True where a sample exists [..., G] (ragged groups); None for all.
      weights: w >= 0 [..., G], probability of a sample under the policy over that under its
        sampler; mean and deviation are then weighted.  None if the policy drew all samples.
    Returns:
      advantages [..., G], 0 outside the mask, and the flag of zero-variance groups [...].
    Raises:
      InvalidInput: for complex or non-finite rewards, an unknown setting, a mask that is not
        aligned, or advantages that the dtype cannot hold (65504 against -65504 in float16 without
        a scale).  Under `jax.jit` and `vmap` nothing is known of values: a non-finite reward makes
        its group NaN, or the batch under the scale "batch", and what is too large is infinite.
    """
    if baseline not in ("mean", "leave-one-out", "none") or scale not in ("group", "batch", "none"):
        raise InvalidInput(
            f"group_advantage got baseline={baseline!r} and scale={scale!r}. Use baseline 'mean', "
            "'leave-one-out' or 'none', and scale 'group', 'batch' or 'none'."
        )
    if not 0 <= std_eps < math.inf or ddof not in (0, 1):
        raise InvalidInput(
            f"group_advantage got std_eps={std_eps!r} and ddof={ddof!r}. Add a finite std_eps >= 0 "
            "to the standard deviation (1e-4 in TRL), and divide by samples - ddof with 0 or 1."
        )
    if weights is not None and baseline == "leave-one-out":
        raise InvalidInput(
            "group_advantage got weights with baseline='leave-one-out', whose mean without a "
            "sample is not defined for weights. Use baseline='mean'."
        )
    xp, rewards, mask, weights = as_arrays(rewards, as_mask(mask), weights)
    rewards = as_float(xp, "rewards", rewards)
    check_has_group("rewards", rewards)
    dtype, rewards = rewards.dtype, widened(xp, rewards)
    if mask is None:
        present = xp.ones_like(rewards)
    else:
        check_same_shape("rewards and mask", rewards, mask)
        present = xp.astype(mask, rewards.dtype)
        rewards = xp.where(mask, rewards, xp.zeros_like(rewards))
    if weights is not None:
        given = as_weights(xp, weights, "rewards", rewards, mask)
        present = present * xp.astype(given, rewards.dtype, copy=False)
    if not holds(xp.isfinite(rewards)):
        raise InvalidInput(
            "rewards have NaN or infinite values, which would spread to the whole group. "
            "Mask those samples (mask=...), or give them a finite reward."
        )
    low = xp.min(xp.where(present > 0, rewards, xp.inf), axis=-1)
    high = xp.max(xp.where(present > 0, rewards, -xp.inf), axis=-1)
    zero_variance = ~(high > low)  # also an empty group; a standard deviation would round
    if 0 in rewards.shape:  # a batch of no groups
        return GroupAdvantage(xp.astype(rewards, dtype), zero_variance)

    with overflowing():
        advantages = _compared(xp, rewards, present, baseline, scale, std_eps, ddof)
        if baseline != "none":
            # Rounding of the mean leaves some 1e-8, which division by std_eps would amplify.
            advantages = xp.where(zero_variance[..., None], xp.zeros_like(advantages), advantages)
        advantages = narrowed(xp, "advantages", advantages, dtype)
    return GroupAdvantage(advantages, zero_variance)


def _compared(
    xp: Any, rewards: Array, present: Array, baseline: str, scale: str, std_eps: float, ddof: int
) -> Array:
    axis = None if scale == "batch" else -1
    unit = _unit(xp, rewards, axis)
    rewards = rewards / unit
    size = xp.sum(present, axis=-1, keepdims=True)
    total = xp.sum(rewards * present, axis=-1, keepdims=True)
    centred = rewards - total / _or_one(xp, size)
    if baseline == "mean":
        advantages = centred * present
    elif baseline == "leave-one-out":
        # r - mean of the others = (r - mean) G / (G - 1)
        advantages = centred * present * size / _at_least_one(xp, size - 1)
    else:
        advantages = rewards * present

    if scale == "none":
        return advantages * unit
    count, deviations = size, centred
    if scale == "batch":
        count = xp.sum(present)
        deviations = rewards - xp.sum(rewards * present) / _or_one(xp, count)
    squares = xp.sum(present * deviations**2, axis=axis, keepdims=True)
    std = xp.sqrt(squares / _at_least_one(xp, count - ddof))
    return advantages / (std + std_eps / unit)


def _unit(xp: Any, values: Array, axis: int | None) -> Array:
    """A divisor of values with which squares of their differences neither overflow nor vanish.

    1 where the largest is between 3e-12 and 3e11 in float32 (4e-93 and 2e92 in float64): ordinary
    values keep all their bits.
    """
    largest = xp.max(xp.abs(values), axis=axis, keepdims=True)
    most = float(xp.finfo(values.dtype).max)
    limit = most**0.3  # two neighbours of 1 / limit differ by 2^-62 in float32: a normal square
    ordinary = (largest == 0) | ((largest >= 1 / limit) & (largest <= limit))
    # XLA multiplies by the reciprocal, which must be a normal number too.
    unit = xp.clip(largest, min=8 / most, max=most / 8)
    return xp.where(ordinary, xp.ones_like(largest), unit)


def _or_one(xp: Any, size: Array) -> Array:
    """The size, which weights may make less than 1; 1 for an empty group."""
    return xp.where(size > 0, size, xp.ones_like(size))


def _at_least_one(xp: Any, count: Array) -> Array:
    return xp.where(count > 1, count, xp.ones_like(count))
