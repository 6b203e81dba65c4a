"""Inverse probability scaling: a terminal reward divided by the probability of its outcome.

Maximising expected return multiplies the update of an outcome by its own probability, so frequent
outcomes grow until they are alone.  Division by p removes that multiplier (paper, section 4).
"""

from __future__ import annotations

import math

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    check_clip,
    check_has_group,
    check_ids,
    check_rewards,
    check_same_shape,
    holds,
    narrowed,
    overflowing,
    stop_gradient,
    widened,
)
from ipsrl.core.outcomes import has_outcome
from ipsrl.core.probability import group_frequency
from ipsrl.errors import InvalidInput


def ips_weights(p: Array, *, eps: float = 0.0, alpha: float = 1.0) -> Array:
    """Weight of a terminal reward whose outcome has probability p.

        w = max(p, eps)^(-alpha)

    alpha = 1 makes outcomes settle in proportion to their reward r, alpha in proportion to
    r^(1/alpha); alpha = 0 is plain expected return.  eps bounds the weight by eps^(-alpha); where p
    is a share of G samples, eps <= 1/G does nothing.  Source: the paper, Eq. 3 and 9.

    Args:
      p: probabilities in (0, 1] [...].
      eps: lower clip of p, in [0, 1].
      alpha: exponent >= 0.
    Returns:
      weights >= 1 [...], in the dtype of p.
    Raises:
      InvalidInput: for p outside (0, 1], eps outside [0, 1], a negative alpha, or weights that the
        dtype of p cannot hold.  Under `jax.jit` and `vmap` those are infinite.
    """
    xp, p = as_arrays(p)
    p = as_float(xp, "p", p)
    if not holds(p <= 1 + 1e-4):  # 1e-4: float32 sums of a policy's probabilities
        raise InvalidInput(
            "p has values above 1, so it is not a probability. Pass p(outcome) (a share, not a "
            "count); for the ratio P_F / P_B, which may exceed 1, use ips_rewards(..., p=ratio)."
        )
    with overflowing():
        return narrowed(xp, "weights", _weights(widened(xp, p), eps, alpha), p.dtype)


def ips_rewards(
    rewards: Array,
    ids: Array,
    *,
    eps: float = 0.0,
    alpha: float = 1.0,
    mask: Array | None = None,
    p: Array | None = None,
) -> Array:
    """Rewards scaled by the inverse probability of their outcomes.

        r~_g = r_g / max(p^(o_g), eps)^alpha

    A sample without an outcome (id -1) keeps its reward, which may be negative; a sample outside
    the mask gets 0.  No gradient flows through r~ (sg in Eq. 3).  Rewards of 16 bits are scaled in
    float32 and rounded once.  Source: the paper, Eq. 9.

    Args:
      rewards: terminal rewards [..., G], >= 0 where there is an outcome.
      ids: outcome ids [..., G], from `outcome_ids`; the last axis is the group.
      eps: lower clip of p^, in [0, 1].
      alpha: exponent >= 0, see `ips_weights`.
      mask: True where a sample exists [..., G]; None for all.
      p: p^ from another estimator [..., G]; None counts within the group.
    Returns:
      scaled rewards [..., G], in the dtype of the rewards.
    Raises:
      InvalidInput: for negative, complex or non-finite rewards, arrays that are not aligned, or
        scaled rewards that their dtype cannot hold.  Under `jax.jit` and `vmap` nothing is known of
        values: bad ones are computed with, and those that are too large are infinite or NaN.
    """
    xp, rewards, ids, mask, p = as_arrays(rewards, ids, as_mask(mask), p)
    rewards = as_float(xp, "rewards", rewards)
    check_has_group("rewards", rewards)
    check_ids(ids)
    check_same_shape("rewards and ids", rewards, ids)
    if mask is not None:
        check_same_shape("rewards and mask", rewards, mask)
        rewards = xp.where(mask, rewards, xp.zeros_like(rewards))
    scaled = has_outcome(ids) if mask is None else mask & has_outcome(ids)
    check_rewards(rewards, scaled)
    if p is None:
        p = group_frequency(ids, mask=mask)
    check_same_shape("rewards and p", rewards, p)
    p = widened(xp, as_float(xp, "p", p))
    wide = widened(xp, rewards)
    with overflowing():
        weights = _weights(xp.where(scaled, p, xp.ones_like(p)), eps, alpha)
        wide = wide * xp.astype(weights, wide.dtype)
        return stop_gradient(narrowed(xp, "scaled rewards", wide, rewards.dtype))


def check_exponent(alpha: float) -> None:
    """Refuse an alpha that cannot be an exponent of 1/p."""
    if not 0 <= alpha < math.inf:
        raise InvalidInput(
            f"alpha is {alpha}, which gives no sensible weight. "
            "Use a finite alpha >= 0; 1 is the paper's."
        )


def _weights(p: Array, eps: float, alpha: float) -> Array:
    xp, p = as_arrays(p)
    check_clip(eps)
    check_exponent(alpha)
    if not holds((p > 0) & (p < math.inf)):
        raise InvalidInput(
            "p has values that are 0, negative or not finite, so the weight 1/p is not defined. "
            "A sampled outcome has p > 0: count the sample itself, or smooth the estimate."
        )
    p = xp.clip(p, min=eps) if eps > 0 else p
    return 1 / p if alpha == 1 else p**-alpha
