"""Ties and drift: the movement of a policy with equal rewards, and what holds it.

Equal rewards give the logits of a softmax policy no direction, only noise, whose covariance per
step is c (diag p - p p').  A random walk of logits concentrates p: docs/theory.md derives how fast.
IPS pulls back, so that the walk ends in a spread around equal parts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ipsrl.core.arrays import check_distribution
from ipsrl.core.floor import presence
from ipsrl.errors import InvalidInput


def tie_noise(group_size: int, lr: float, *, paid: float) -> float:
    """Noise of GRPO per step if every outcome is paid 1 with the same probability, else 0.

        c = lr^2 / G * (G - 1) / G * (1 - v^G - (1 - v)^G),   v = paid

    lr^2 / G times the mean square of the advantage: the standard deviation of G members, by G - 1,
    leaves (G - 1)/G, and a group that is paid alike has none.  With v = 1 nothing moves at all.

    Args:
      group_size: G >= 2.
      lr: step of gradient ascent on mean_g A_g log p(o_g).
      paid: v, probability that a sample gets its reward.
    Returns:
      c, so that the covariance of a step of the logits is c (diag p - p p').
    Raises:
      InvalidInput: for a group or a probability that cannot be.
    """
    _check(group_size, lr)
    if not 0 <= paid <= 1:
        raise InvalidInput(f"paid is {paid}. Use a probability, such as 0.5.")
    mixed = 1 - paid**group_size - (1 - paid) ** group_size
    return lr**2 * (group_size - 1) / group_size**2 * mixed


def concentration_rate(p: np.ndarray) -> np.ndarray:
    """Rate at which noise alone concentrates a policy, per step and unit of `tie_noise`.

        d E[S2] / dt = c (2 S3 - S2^2 - 6 S4 + 8 S2 S3 - 3 S2^3),   Sn = sum_o p_o^n

    1 / S2 is the effective number of outcomes.  From K equal parts the rate is (K - 1) / K^3, so
    their number falls by a part of c / K per step: the time of the collapse is K / c.

    Args:
      p: distributions [..., K].
    Returns:
      rates [...].
    """
    check_distribution("p", p)
    s2, s3, s4 = ((np.asarray(p, float) ** n).sum(-1) for n in (2, 3, 4))
    return 2 * s3 - s2**2 - 6 * s4 + 8 * s2 * s3 - 3 * s2**3


def rarity_rate(p: np.ndarray) -> np.ndarray:
    """Rate at which noise alone makes outcomes rare, per step and unit of `tie_noise`.

        d E[sum_o 1/p_o] / dt = c/2 ((S2 - S3) sum_o 1/p_o + K - 3 + 2 K S2)

    For two outcomes it is c (2 - 4 p_1 p_2): between c and 2c for ever, so the rarer of them
    becomes rare like 1 / (c t), and is never gone.

    Args:
      p: positive distributions [..., K].
    Returns:
      rates [...].
    """
    check_distribution("p", p)
    p = np.asarray(p, float)
    s2, s3, outcomes = (p**2).sum(-1), (p**3).sum(-1), p.shape[-1]
    return ((s2 - s3) * (1 / p).sum(-1) + outcomes - 3 + 2 * outcomes * s2) / 2


def drift(p: np.ndarray, rewards: np.ndarray, *, paid: float) -> np.ndarray:
    """Speed of the logits under GRPO with unequal rewards in large groups, per step and unit of lr.

        d theta_i = p_i v (r_i - V) / sigma
        V = sum_o p_o r_o,   sigma^2 = v sum_o p_o r_o^2 - (v V)^2

    Theorem 3.1 over the standard deviation.  Neither G nor lr is in it: log-ratios move in
    proportion to lr t, while noise moves them in proportion to the square root of lr^2 t / G.

    Args:
      p: distribution [K].
      rewards: r [K], paid with probability v, else 0.
      paid: v.
    Returns:
      rates of the logits [K]; 0 where all rewards are the same and paid.
    """
    check_distribution("p", p)
    V = p @ rewards
    sigma = np.sqrt(max(paid * (p @ rewards**2) - (paid * V) ** 2, 0.0))
    return p * paid * (rewards - V) / sigma if sigma > 0 else np.zeros(p.shape)


def resting_variance(
    outcomes: int, group_size: int, lr: float, *, estimator: Literal["group", "exact"]
) -> float:
    """Variance of log p around equal shares, at which IPS rests if all outcomes earn r = 1 / K.

        Var log(p_o K) = lr D / (2 F)
        exact:  D = r^2 (K - 1) / G,                        F = r
        group:  D = r^2 (1 - 1/K) (f (1 - f) - cov),        F = r (f - f' / K)
                f = 1 - (1 - 1/K)^G,  f' = G (1 - 1/K)^(G-1),
                cov = (1 - 2/K)^G - (1 - 1/K)^(2G)

    D is the variance of one logit in a step, F the force per unit of log p; no baseline and no
    standard deviation, as in `expected_update`.

    Args:
      outcomes: K >= 2.
      group_size: G.
      lr: step, small enough that lr F is far below 1.
      estimator: of p(outcome).
    Returns:
      the variance of one log p.
    """
    _check(group_size, lr)
    K, r = outcomes, 1 / outcomes
    if estimator == "exact":
        return lr * r * (K - 1) / (2 * group_size)
    f = float(presence(1 / K, group_size))
    miss = 1 - 1 / K
    covariance = (1 - 2 / K) ** group_size - miss ** (2 * group_size)
    noise = r**2 * miss * (f * (1 - f) - covariance)
    force = r * (f - group_size * miss ** (group_size - 1) / K)
    return lr * noise / (2 * force)


def _check(group_size: int, lr: float) -> None:
    if not (group_size >= 2 and lr > 0):
        raise InvalidInput(
            f"group_size is {group_size} and lr {lr}. Use at least 2 members and a positive step."
        )
