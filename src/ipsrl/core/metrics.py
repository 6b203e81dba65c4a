"""Measures of a distribution over outcomes, and of the samples found so far.

Distributions are on the last axis.  Distances are between the policy's distribution and its target;
those of 16 bits are computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    check_distribution,
    check_ids,
    check_same_shape,
    holds,
    is_count,
    to_numpy,
    widened,
)
from ipsrl.core.outcomes import has_outcome
from ipsrl.errors import InvalidInput


def total_l1(p: Array, target: Array) -> Array:
    """Total L1 distance, sum_o |p(o) - target(o)|, in [0, 2].

    Args:
      p: distributions [..., K].
      target: distributions [..., K].
    Returns:
      distances [...].
    Raises:
      InvalidInput: for different numbers of outcomes, or values that are not a distribution.
    """
    xp, p, target = _pair(p, target)
    return xp.sum(xp.abs(p - target), axis=-1)


def mean_l1(p: Array, target: Array) -> Array:
    """Mean L1 distance per outcome, `total_l1` / K: what Table 1 of the paper reports."""
    _, p, target = _pair(p, target)
    return total_l1(p, target) / p.shape[-1]


def total_variation(p: Array, target: Array) -> Array:
    """Total variation distance, `total_l1` / 2, in [0, 1]."""
    return total_l1(p, target) / 2


def kl_divergence(p: Array, q: Array) -> Array:
    """KL(p || q) = sum_o p log(p / q) in nats; infinite where q = 0 < p.

    Args:
      p: distributions [..., K].
      q: distributions [..., K].
    Returns:
      divergences [...].
    """
    xp, p, q = _pair(p, q)
    one = xp.ones_like(p)
    log_ratio = xp.log(xp.where(p > 0, p, one)) - xp.log(xp.where(q > 0, q, one))
    terms = xp.where(p > 0, p * log_ratio, xp.zeros_like(p))
    return xp.sum(xp.where((p > 0) & (q <= 0), xp.inf * one, terms), axis=-1)


def jensen_shannon(p: Array, q: Array) -> Array:
    """Jensen-Shannon divergence, KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, in [0, log 2]."""
    _, p, q = _pair(p, q)
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2


def entropy(p: Array) -> Array:
    """Entropy -sum_o p log p in nats, with 0 log 0 = 0; p [..., K], result [...]."""
    xp, p = as_arrays(p)
    check_distribution("p", p)
    p = widened(xp, as_float(xp, "p", p))
    return -xp.sum(xp.where(p > 0, p * xp.log(xp.where(p > 0, p, xp.ones_like(p))), 0.0), axis=-1)


def effective_outcomes(p: Array) -> Array:
    """exp(entropy): the number of equally likely outcomes with the same entropy, in [1, K]."""
    xp, p = as_arrays(p)
    return xp.exp(entropy(p))


def coverage(p: Array, target: Array, *, share: float = 0.1) -> Array:
    """Fraction of the target's outcomes that get at least `share` of their target probability.

    Coverage alone misleads: all modes can be covered at a total L1 above 1.

    Args:
      p: distributions [..., K], or masses of modes.
      target: distributions [..., K].
      share: an outcome counts from p(o) >= share * target(o) on; >= 0.
    Returns:
      fractions [...] in [0, 1].
    Raises:
      InvalidInput: for different numbers of outcomes, masses below 0 or NaN, a target without any
        outcome, or a share that cannot be.
    """
    xp, p, target = as_arrays(p, target)
    p = widened(xp, as_float(xp, "p", p))
    target = widened(xp, as_float(xp, "target", target))
    _check_outcomes(p, target)
    if not 0 <= share < math.inf:
        raise InvalidInput(f"share is {share}. Use a part of the target probability, such as 0.1.")
    if not (holds(p >= 0) and holds(target >= 0) and holds(xp.any(target > 0, axis=-1))):
        raise InvalidInput(
            "p or target has values that are negative or NaN, or target is 0 everywhere, so no "
            "outcome can be covered. Pass distributions."
        )
    wanted = target > 0
    found = xp.astype((p >= share * target) & wanted, p.dtype)
    return xp.sum(found, axis=-1) / xp.sum(xp.astype(wanted, p.dtype), axis=-1)


def recovery(found: Iterable[Hashable | None], admissible: Iterable[Hashable]) -> float:
    """Fraction of the admissible outcomes found, |found and admissible| / |admissible|.

    Source: HypoSpace (2510.15614).

    Args:
      found: outcome keys, repeated or not; None for none.
      admissible: the keys that count, at least one.
    Returns:
      a fraction in [0, 1].
    Raises:
      InvalidInput: if nothing is admissible.
    """
    wanted = set(admissible)
    if not wanted:
        raise InvalidInput(
            "no outcome is admissible, so the recovered share is not defined. "
            "Leave out tasks without a solution."
        )
    return len(wanted.intersection(found)) / len(wanted)


def expected_distinct(
    counts: Array, samples: Sequence[int], *, total: int | None = None
) -> np.ndarray:
    """Expected number of different outcomes among m of N samples, over all orders.

        E = sum_o 1 - C(N - n_o, m) / C(N, m)

    Args:
      counts: samples n_o > 0 of each outcome [K].
      samples: numbers m, 1 <= m <= N.
      total: N, at least sum_o n_o: with samples whose outcomes do not count; the sum if not given.
    Returns:
      expectations, float64, one per m.
    Raises:
      InvalidInput: for an m that cannot be drawn.
    """
    counts = to_numpy(counts, np.int64)
    N, m = int(counts.sum()) if total is None else total, np.asarray(samples, np.int64)[:, None]
    counts, times = np.unique(counts, return_counts=True)  # far fewer than outcomes
    if m.size and not 1 <= m.min() <= m.max() <= N:
        raise InvalidInput(
            f"samples are {list(samples)}, but there are {N}. Ask for 1 to {N} of them."
        )
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, N + 1)))])
    others = N - counts  # [K]
    missable = others >= m  # [m, K]
    log_missed = (
        log_factorial[others]
        - log_factorial[np.where(missable, others - m, 0)]
        - log_factorial[N]
        + log_factorial[N - m]
    )
    return np.where(missable, -np.expm1(log_missed), 1.0) @ times


def distinct_yield(rewards: Array, ids: Array, *, threshold: float) -> int:
    """Number of distinct outcomes with a reward above the threshold (the paper, Table 3: yield).

    Args:
      rewards: raw rewards [N].
      ids: outcome ids [N]; -1 does not count.
      threshold: rewards must exceed it.
    """
    return len(_first_hits(rewards, ids, threshold))


def oracle_burden(rewards: Array, ids: Array, *, threshold: float, count: int = 100) -> int | None:
    """Calls spent until `count` distinct outcomes are above the threshold (Table 3: OB100).

    Args:
      rewards: raw rewards in the order of the calls [N].
      ids: outcome ids [N]; -1 does not count.
      threshold: rewards must exceed it.
      count: how many outcomes are asked for.
    Returns:
      a number of calls, or None if N calls were not enough.
    """
    if not is_count(count):
        raise InvalidInput(f"count is {count}; ask for a whole number of outcomes, at least one.")
    hits = _first_hits(rewards, ids, threshold)
    return int(hits[int(count) - 1]) + 1 if len(hits) >= count else None


def sampling_floor(p: Array, samples: int, *, counts: Array | None = None) -> float:
    """Total L1 that a *perfect* sampler of p scores when measured with N samples.

        E sum_o |n_o / N - p_o|,   n_o ~ Binomial(N, p_o)
        E |n - N p| = 2 m C(N, m) p^m (1 - p)^(N - m + 1),   m = floor(N p) + 1   (de Moivre)

    A sampled distance near this floor says nothing against the policy.

    Args:
      p: a distribution [K].
      samples: N >= 1.
      counts: how many outcomes have each p [K]; None for one.
    Returns:
      the expected total L1.
    Raises:
      InvalidInput: for N < 1, or values that are not a distribution.
    """
    p = to_numpy(p, float)
    times = np.ones_like(p) if counts is None else to_numpy(counts, float)
    if not is_count(samples) or p.ndim != 1 or times.shape != p.shape:
        raise InvalidInput(
            f"sampling_floor got {samples} samples of a distribution of shape {p.shape}, with "
            f"counts of shape {times.shape}. Pass a whole number of samples, at least 1, and one "
            "distribution [K], with as many counts."
        )
    check_distribution("p" if counts is None else "p, times counts,", p * times)
    samples, inside = int(samples), (p > 0) & (p < 1)
    p, times = p[inside], times[inside]
    m = np.floor(samples * p).astype(int) + 1
    m = np.minimum(m, samples)  # N p = N - small rounds to m = N + 1 at most
    log_factorial = _log_factorials(samples)
    log_choose = log_factorial[samples] - log_factorial[m] - log_factorial[samples - m]
    log_term = log_choose + m * np.log(p) + (samples - m + 1) * np.log1p(-p)
    return float(times @ (2 * m * np.exp(log_term)) / samples)


@lru_cache(maxsize=1)  # seeds are measured one after another
def _log_factorials(largest: int) -> np.ndarray:
    """log n! of n from 0 on."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 1)))])


def _check_outcomes(p: Array, q: Array) -> None:
    if p.ndim == 0 or q.ndim == 0 or p.shape[-1] != q.shape[-1]:
        raise InvalidInput(
            f"the distributions have shapes {tuple(p.shape)} and {tuple(q.shape)}. "
            "List the same outcomes in the same order on the last axis of both."
        )


def _pair(p: Array, q: Array) -> tuple:
    xp, p, q = as_arrays(p, q)
    _check_outcomes(p, q)
    check_distribution("the first argument", p)
    check_distribution("the second argument", q)
    p, q = as_float(xp, "the first argument", p), as_float(xp, "the second argument", q)
    return xp, widened(xp, p), widened(xp, q)


def _first_hits(rewards: Array, ids: Array, threshold: float) -> np.ndarray:
    """Positions at which a new outcome exceeds the threshold, ascending."""
    xp, rewards, ids = as_arrays(to_numpy(rewards), to_numpy(ids))
    rewards = as_float(xp, "rewards", rewards)
    check_same_shape("rewards and ids", rewards, ids)
    if rewards.ndim != 1 or math.isnan(threshold):
        raise InvalidInput(
            f"rewards have shape {rewards.shape} and the threshold is {threshold}. Pass the "
            "samples in the order of the calls [N], and a number."
        )
    if ids.size:  # an empty list has no dtype of its own
        check_ids(ids)
    good = np.flatnonzero((rewards > threshold) & has_outcome(ids))
    _, first = np.unique(ids[good], return_index=True)
    return np.sort(good[first])
