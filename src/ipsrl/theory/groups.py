"""Effects of a finite group: expected updates, a simulation, and the group size that is needed.

The closed form itself (presence, stationary distribution, floor) is in `ipsrl.core.floor`, because
training reports it too.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ipsrl.core.arrays import check_distribution, check_rewards, check_same_shape
from ipsrl.core.estimators import Estimator
from ipsrl.core.floor import (
    presence,
    stationary_distribution,
    target_distribution,
)
from ipsrl.core.group import Group
from ipsrl.core.methods import Method
from ipsrl.errors import InvalidInput, MissingExtra

LARGEST_GROUP = 2**16


def expected_update(
    p: np.ndarray,
    rewards: np.ndarray,
    group_size: int,
    *,
    estimator: Literal["group", "exact"] = "group",
    eps: float = 0.0,
    baseline: Literal["none", "mean"] = "mean",
    success: np.ndarray | None = None,
) -> np.ndarray:
    """Expected gradient of mean_g A_g log p(o_g) with respect to the logits of a softmax bandit.

        u_i = r_i f(p_i) - p_i sum_j r_j f(p_j)

    with f = `presence` for the group frequency, and f(p) = min(1, p / eps), times (G - 1)/G for the
    mean as baseline, for exact probabilities: then u = r - p R without a clip (Theorem 4.1).  A
    wrong outcome, which is not scaled, has f(p) = p, times the same (G - 1)/G.
    Advantages are not divided by a standard deviation.

    Args:
      p: current distribution [K].
      rewards: r [K], >= 0 where right.
      group_size: G.
      estimator: how p^ is obtained.
      eps: clip of p^.
      baseline: what a reward is compared with.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
    Returns:
      u [K].
    Raises:
      InvalidInput: for p that is not a distribution, bad rewards, or settings that cannot be.
    """
    p, rewards = np.asarray(p, float), np.asarray(rewards, float)
    check_same_shape("p and rewards", p, rewards)
    check_distribution("p", p)
    right = np.ones(p.shape, bool) if success is None else np.asarray(success, bool)
    check_same_shape("p and success", p, right)
    check_rewards(rewards, right)
    if baseline not in ("none", "mean") or not 0 <= eps <= 1:
        raise InvalidInput(
            f"baseline is {baseline!r} and eps {eps}. Use 'none' or 'mean', and eps in [0, 1]."
        )
    others = (group_size - 1) / group_size if baseline == "mean" else 1.0
    if estimator == "group":
        f = presence(p, group_size, eps=eps, baseline=baseline)
    elif estimator == "exact":
        f = (np.minimum(1.0, p / eps) if eps > 0 else np.ones_like(p)) * others
    else:
        raise InvalidInput(f"estimator is {estimator!r}. Use 'group' or 'exact'.")
    gain = rewards * np.where(right, f, p * others)
    return gain - p * gain.sum()


def simulate(
    rewards: np.ndarray,
    group_size: int,
    method: Method,
    *,
    success: np.ndarray | None = None,
    estimator: Estimator | None = None,
    start: np.ndarray | None = None,
    paid: float = 1.0,
    lr: float = 0.02,
    iterations: int = 20_000,
    averaged: int | None = None,
    groups: int = 16,
    seeds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Train a softmax bandit with a method of the library, and return its resting distribution.

    Args:
      rewards: r [K], of positive sum, to which they are normalised: the scale "none" needs a unit.
      group_size: G.
      method: what makes advantages of a group.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
      estimator: of p(outcome); None leaves it to the method, which counts within the group.
      start: first distribution, positive [K]; uniform if None.
      paid: probability that a sample gets its reward, else 0: a verifier that errs.
      lr: step of plain gradient ascent.
      iterations: steps.
      averaged: of how many steps at the end the distributions are averaged; half if None.
      groups: groups per step.
      seeds: independent runs, side by side.
      seed: the first of them.
    Returns:
      average distribution of each seed [seeds, K].
    Raises:
      MissingExtra: without JAX.
    """
    jax, jnp = _jax()
    averaged = (iterations + 1) // 2 if averaged is None else averaged
    begin, step = _bandit(rewards, group_size, method, success, estimator, start, paid, lr, groups)

    def averaging(carry, key):
        policy, total, i = carry
        policy, p = step(policy, key)
        return (policy, total + jnp.where(i >= iterations - averaged, p, 0.0), i + 1), None

    def one(key):
        keys = jax.random.split(key, iterations)
        (_, total, _), _ = jax.lax.scan(averaging, (begin, jnp.zeros(len(rewards)), 0), keys)
        return total / total.sum()

    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + seeds))
    return np.asarray(jax.jit(jax.vmap(one))(keys))


def trace(
    rewards: np.ndarray,
    group_size: int,
    method: Method,
    *,
    every: int,
    points: int,
    success: np.ndarray | None = None,
    estimator: Estimator | None = None,
    start: np.ndarray | None = None,
    paid: float = 1.0,
    lr: float = 0.02,
    groups: int = 1,
    seeds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Run `simulate`, and return the distributions on the way as well.

    Args:
      every: steps between two of them.
      points: how many there are, the first of which is the start.
    Returns:
      distributions [seeds, points, K].
    Raises:
      MissingExtra: without JAX.
    """
    jax, jnp = _jax()
    begin, step = _bandit(rewards, group_size, method, success, estimator, start, paid, lr, groups)

    def some(policy, keys):
        policy, p = jax.lax.scan(step, policy, keys)
        return policy, p[0]

    def one(key):
        keys = jax.random.split(key, every * points).reshape(points, every)
        return jax.lax.scan(some, begin, keys)[1]

    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + seeds))
    return np.asarray(jax.jit(jax.vmap(one))(keys))


def _jax() -> tuple[Any, Any]:
    try:
        import jax
        import jax.numpy as jnp
    except ModuleNotFoundError as error:
        raise MissingExtra("grids", error.name or "jax") from None
    return jax, jnp


def _bandit(
    rewards: np.ndarray,
    group_size: int,
    method: Method,
    success: np.ndarray | None,
    estimator: Estimator | None,
    start: np.ndarray | None,
    paid: float,
    lr: float,
    groups: int,
) -> tuple[Any, Any]:
    """Initial logits and state, and a step of them by a key, which returns p before the step."""
    jax, jnp = _jax()
    right = None if success is None else jnp.asarray(success)
    r = jnp.asarray(np.asarray(rewards, float) / np.sum(rewards), jnp.float32)
    zeros = jnp.zeros(len(r))
    theta = zeros if start is None else jnp.log(jnp.asarray(start, jnp.float32))

    def evidence(ids, log_p):
        known = None if right is None else right[ids]
        p, log_p = jnp.exp(log_p)[ids], log_p[ids]
        return Group(r[ids], ids, success=known, p=p, log_pf=log_p, samples=ids, trajectories=ids)

    def step(policy, key):
        theta, state = policy
        p = jax.nn.softmax(theta)
        ids = jax.random.categorical(key, theta, shape=(groups, group_size))
        group = evidence(ids, jax.nn.log_softmax(theta))
        if paid < 1:
            fate = jax.random.bernoulli(jax.random.fold_in(key, 1), paid, ids.shape)
            group = group._replace(rewards=group.rewards * fate)
        if estimator is None:
            group = group._replace(p=None)
        else:
            if (stored := estimator.stored(state)) is not None:
                group = group._replace(history_log_pf=jax.nn.log_softmax(theta)[stored])
            p_hat, state = estimator(group, state)
            group = group._replace(p=p_hat)
        advantages, _ = method(group)
        drawn = jnp.zeros_like(p).at[ids.reshape(-1)].add(advantages.reshape(-1))
        theta = theta + lr * (drawn / ids.size - p * advantages.mean())
        return (theta, state), p

    none = jnp.zeros((groups, group_size), int)
    state = () if estimator is None else estimator.init(evidence(none, zeros))
    return (theta, state), step


def needed_group_size(
    rewards: np.ndarray,
    *,
    eps: float = 0.0,
    target_l1: float = 0.1,
    success: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> int | None:
    """Smallest G at which all outcomes with a target survive, within `target_l1` of it.

    Args:
      rewards: r >= 0 [K].
      eps: clip of the group frequency.
      target_l1: total L1 that is good enough.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
      counts: how many outcomes each entry stands for [K]; None for one each.
    Returns:
      G >= 2, or None if no group of up to 2^16 is enough: eps above the least target probability,
      or a wrong outcome that earns well above all right ones together.
    Raises:
      InvalidInput: for a target that cannot be reached, or rewards that cannot be.
    """
    if not target_l1 > 0:
        raise InvalidInput(
            f"target_l1 is {target_l1}, which no finite group reaches. Use a positive distance, "
            "such as 0.1."
        )
    target = target_distribution(rewards, success=success, counts=counts)
    each = np.ones(target.shape) if counts is None else counts

    def enough(group_size: int) -> bool:
        p = stationary_distribution(rewards, group_size, eps=eps, success=success, counts=counts)
        alive = (p[target > 0] > 0).all()
        return bool(alive and (each * np.abs(p - target)).sum() <= target_l1)

    def smallest(low: int, high: int) -> int:
        """Find the smallest size that is enough by bisection between these two."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    low = 1  # a group of one has nothing to be compared with
    if eps > 0:
        edge = min(max(2, int(1 / eps)), LARGEST_GROUP)  # the largest group without effect of eps
        if enough(edge):
            return smallest(1, edge)
        # Beyond it, more may be worse: only a window of sizes near 1/eps may be enough.
        low = edge + 8
        for group_size in range(edge + 1, low + 1):
            if enough(group_size):
                return group_size
        # For large groups f(p) tends to min(1, p / eps), which keeps target shares >= eps only.
        if eps > target[target > 0].min():
            return None
    high = 2 * low
    while high <= LARGEST_GROUP:
        if enough(high):
            return smallest(low, high)
        low, high = high, 2 * high
    return None
