"""The effect of a finite group on IPS, in closed form.

Within one group an outcome that is present contributes its reward once, however often it was drawn,
so the expected update of outcome i under group-frequency scaling is

    r_i f(p_i) - p_i sum_j r_j f(p_j),    f(p) = E[min(1, n / (eps G))],   n ~ Binomial(N, p)

with N = G without a baseline, and N = G - 1 with the mean of the group as baseline.  It rests
where r_i f(p_i) / p_i = C for every outcome.  Because f(p)/p is bounded, by N for small eps, every
outcome with r_i < C/N goes extinct.

Where only right samples are scaled (`Group.success`), a wrong outcome contributes r_w p_w N/G, and
lives only where that is C p_w.  docs/theory.md has the proofs; these are our results, not the
paper's.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ipsrl.core.arrays import Array, as_mask, check_clip, check_same_shape, is_count, to_numpy
from ipsrl.errors import InvalidInput


def presence(
    p: Array, group_size: int, *, eps: float = 0.0, baseline: Literal["none", "mean"] = "none"
) -> np.ndarray:
    """Expected contribution of an outcome to its group, in units of its reward.

        f(p) = E[min(1, n / (eps G))],   n ~ Binomial(N, p);   for eps <= 1/G:  f(p) = 1 - (1 - p)^N

    Args:
      p: probabilities [...].
      group_size: G >= 1.
      eps: clip of the group frequency.
      baseline: "none", N = G; "mean", N = G - 1.  GRPO subtracts the mean and divides by the
        standard deviation, which together come close to "none" (docs/theory.md).
    Returns:
      f from 0 to 1 [...], float64.
    Raises:
      InvalidInput: for p outside [0, 1], or a group or a clip that cannot be.
    """
    trials = _trials(group_size, eps, baseline)
    p = to_numpy(p, float)
    if not ((p >= 0) & (p <= 1 + 1e-3)).all():  # 1e-3: as `check_distribution` rounds
        raise InvalidInput("p has values outside [0, 1]. Pass probabilities, not counts.")
    log_miss = np.log1p(-np.minimum(p, 1 - 1e-16))
    if clip_is_noop(group_size, eps):
        return -np.expm1(trials * log_miss)
    log_p = np.log(np.maximum(p, 1e-300))
    # Counts that the clip still scales down, and what each lacks.
    n = np.arange(min(math.ceil(eps * group_size), trials + 1))
    lacking = 1 - n / (eps * group_size)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((trials - n[1:] + 1) / n[1:]))])
    f = np.empty(p.size)
    chunk = max(1, 1_000_000 // len(n))  # 8 MB of probabilities at a time
    for start in range(0, p.size, chunk):
        part = slice(start, start + chunk)
        hit, miss = log_p.reshape(-1, 1)[part], log_miss.reshape(-1, 1)[part]
        f[part] = 1 - np.exp(log_choose + n * hit + (trials - n) * miss) @ lacking
    return np.clip(f.reshape(p.shape), 0.0, 1.0)


def stationary_distribution(
    rewards: Array,
    group_size: int,
    *,
    eps: float = 0.0,
    baseline: Literal["none", "mean"] = "none",
    success: Array | None = None,
    counts: Array | None = None,
) -> np.ndarray:
    """The distribution at which group-frequency IPS settles if every outcome starts above 0.

        r_i f(p_i) / p_i = C for the survivors, p_i = 0 for the rest, sum p = 1

    As G grows it tends to `target_distribution`.  With `success` this holds of right outcomes, and
    those wrong ones survive that earn most, if r_w N/G > C without them; then C = r_w N/G, and the
    right ones leave them 1 - sum p.  How wrong ones of equal reward divide that among themselves
    depends on the start, which is uniform here: in equal parts.

    Args:
      rewards: rewards of all outcomes [K], >= 0 where right, and at least one of those positive.
      group_size: G >= 1.
      eps: clip of the group frequency.
      baseline: see `presence`.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
      counts: how many outcomes each entry stands for [K], which have its reward; None for one each.
    Returns:
      the probability of one outcome of each entry [K], float64.
    Raises:
      InvalidInput: for non-finite rewards, negative ones of right outcomes or none above 0 of them,
        counts below 1, or a group or clip that cannot be.
    """
    rewards, right, counts = _checked(rewards, success, counts)
    trials = _trials(group_size, eps, baseline)
    rewards = rewards / rewards.max()  # only ratios matter, and products could overflow
    levels, which = np.unique(rewards[right], return_inverse=True)
    count = np.bincount(which, weights=counts[right], minlength=len(levels))
    wrong = np.where(right, 0.0, rewards)

    def settled(c: float) -> np.ndarray:
        """Probability of one outcome per reward level at constant C: invert f(p)/p = C / r."""
        low, high = np.zeros(len(levels)), np.ones(len(levels))
        for _ in range(50):
            middle = (low + high) / 2
            gain = levels * presence(middle, group_size, eps=eps, baseline=baseline)
            low, high = np.where(gain > c * middle, (middle, high), (low, middle))
        return np.where(high < 1e-14, 0.0, (low + high) / 2)  # 2^-50 is 1e-15: never left zero

    # C is at least the reward of wrong outcomes; at a tie 1e-12 makes them die out.
    c_low = (1 - 1e-12) * float(wrong.max()) * trials / group_size
    p = settled(c_low)
    left = 1 - count @ p
    if left <= 1e-12:  # rounding: 50 halvings leave 1e-15 of every level
        left = 0.0
        c_high = float(levels.max()) * trials / max(1.0, eps * group_size)
        for _ in range(60):
            c = (c_low + c_high) / 2
            if count @ settled(c) > 1:
                c_low = c
            else:
                c_high = c
        p = settled(c_high)
        if not p.any():  # f(p)/p is constant in groups of one: equal rewards rest anywhere
            p = settled(c_low)
        p = p / (count @ p)
    alive = (wrong > 0) & (wrong == wrong.max())
    distribution = np.where(alive, left / max(1, counts[alive].sum()), 0.0)
    distribution[right] = p[which]
    return distribution


def target_distribution(
    rewards: Array, *, success: Array | None = None, counts: Array | None = None
) -> np.ndarray:
    """The limit of IPS for large groups: r / sum r for right outcomes, 0 for wrong ones [K].

    Args:
      rewards: rewards of all outcomes [K], >= 0 where right.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
      counts: how many outcomes each entry stands for [K]; None for one each.
    Raises:
      InvalidInput: see `stationary_distribution`.
    """
    rewards, right, counts = _checked(rewards, success, counts)
    # Their sum could overflow; a division by a power of two is exact.
    wanted = np.where(right, np.ldexp(rewards, -np.frexp(rewards.max())[1]), 0.0)
    return wanted / (counts * wanted).sum()


def floor_l1(
    rewards: Array,
    group_size: int,
    *,
    eps: float = 0.0,
    baseline: Literal["none", "mean"] = "none",
    success: Array | None = None,
) -> float:
    """Total L1 between `stationary_distribution` and `target_distribution`.

    More training does not get below it; a larger group or another estimator does.
    """
    settings = {"eps": eps, "baseline": baseline}
    stationary = stationary_distribution(rewards, group_size, success=success, **settings)
    return float(np.abs(stationary - target_distribution(rewards, success=success)).sum())


def clip_is_noop(group_size: int, eps: float) -> bool:
    """True if eps <= 1/G: no share of a group lies below the clip, so it changes nothing."""
    return eps * group_size <= 1 + 1e-12  # 1e-12: rounding, as in 0.1 * 10


def minority_survives(group_size: int, reward_ratio: float, *, eps: float = 0.0) -> bool:
    """True if the lesser of two outcomes survives beside one with `reward_ratio` times its reward.

    (G - 1) / max(1, eps G) > R_max / R_min        (mean baseline)
    """
    _trials(group_size, eps, "none")
    if not reward_ratio >= 1:
        raise InvalidInput(
            f"reward_ratio is {reward_ratio}, but it is the greater reward over the lesser: "
            "at least 1."
        )
    return (group_size - 1) / max(1.0, eps * group_size) > reward_ratio


def _trials(group_size: int, eps: float, baseline: str) -> int:
    """Check the settings, and return N of the binomial distribution."""
    check_clip(eps)
    if baseline not in ("none", "mean"):
        raise InvalidInput(f"baseline is {baseline!r}. Use 'none' or 'mean'.")
    trials = group_size if baseline == "none" else group_size - 1
    if not is_count(trials):
        raise InvalidInput(
            f"group_size is {group_size}, which gives no signal with baseline {baseline!r}. "
            "A group has at least 1 member, and 2 to be compared with their mean."
        )
    return int(trials)


def _checked(
    rewards: Array, success: Array | None, counts: Array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check and return rewards, which outcomes are right, and how many outcomes each stands for."""
    rewards = to_numpy(rewards, float)
    right = np.ones(rewards.shape, bool) if success is None else to_numpy(as_mask(success))
    check_same_shape("rewards and success", rewards, right)
    counts = np.ones(rewards.shape) if counts is None else to_numpy(counts, float)
    check_same_shape("rewards and counts", rewards, counts)
    if not ((counts >= 1) & np.isfinite(counts)).all():
        raise InvalidInput(
            "counts has values below 1 or not finite. Name how many outcomes have each reward, and "
            "leave out rewards that no outcome has."
        )
    finite = np.isfinite(rewards).all() and (rewards[right] >= 0).all()
    if not finite or (success is None and rewards.max(initial=0) == 0):
        raise InvalidInput(
            "rewards must be finite and non-negative, with at least one above 0: "
            "they define the distribution that IPS should reach."
        )
    if not (rewards[right] > 0).any():
        raise InvalidInput(
            "no outcome is both right and rewarded, so none is scaled, and training ends on the "
            "best of the wrong ones. Lower the threshold of success, or reward right outcomes."
        )
    return rewards, right, counts
