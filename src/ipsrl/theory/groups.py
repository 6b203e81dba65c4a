"""Will IPS-GRPO work with my group size?  Expected updates, a simulation, and advice in advance.

The closed form itself (presence, stationary distribution, floor) is in `ipsrl.core.floor`, because
training reports it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ipsrl.core.arrays import check_distribution, check_rewards, check_same_shape
from ipsrl.core.floor import (
    clip_is_noop,
    presence,
    stationary_distribution,
    target_distribution,
)
from ipsrl.core.group import Group
from ipsrl.core.methods import Method
from ipsrl.errors import InvalidInput

LARGEST_GROUP = 2**16
MOST_OUTCOMES = 10_000


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
    lr: float = 0.02,
    iterations: int = 20_000,
    averaged: int | None = None,
    groups: int = 16,
    seeds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Train a softmax bandit with the method that trains everything else, and see where it stays.

    Args:
      rewards: r [K], of positive sum, to which they are normalised: the scale "none" needs a unit.
      group_size: G.
      method: what makes advantages of a group.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
      lr: step of plain gradient ascent.
      iterations: steps.
      averaged: of how many steps at the end the distributions are averaged; half if None.
      groups: groups per step.
      seeds: independent runs, side by side.
      seed: the first of them.
    Returns:
      average distribution of each seed [seeds, K].
    """
    import jax
    import jax.numpy as jnp

    right = None if success is None else jnp.asarray(success)
    averaged = (iterations + 1) // 2 if averaged is None else averaged
    r = jnp.asarray(np.asarray(rewards, float) / np.sum(rewards), jnp.float32)

    def step(carry, key):
        theta, total, i = carry
        p = jax.nn.softmax(theta)
        ids = jax.random.categorical(key, theta, shape=(groups, group_size))
        known = None if right is None else right[ids]
        advantages, _ = method(Group(rewards=r[ids], ids=ids, success=known))
        drawn = jnp.zeros_like(p).at[ids.reshape(-1)].add(advantages.reshape(-1))
        theta = theta + lr * (drawn / ids.size - p * advantages.mean())
        return (theta, total + jnp.where(i >= iterations - averaged, p, 0.0), i + 1), None

    def one(key):
        zeros = jnp.zeros(len(r))
        keys = jax.random.split(key, iterations)
        (_, total, _), _ = jax.lax.scan(step, (zeros, zeros, 0), keys)
        return total / total.sum()

    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + seeds))
    return np.asarray(jax.jit(jax.vmap(one))(keys))


def needed_group_size(
    rewards: np.ndarray,
    *,
    eps: float = 0.0,
    target_l1: float = 0.1,
    success: np.ndarray | None = None,
) -> int | None:
    """Smallest G at which all that have a target survive, within `target_l1` of it.

    Args:
      rewards: r >= 0 [K].
      eps: clip of the group frequency.
      target_l1: total L1 that is good enough.
      success: True for the outcomes that are right, and so scaled [K]; None for all.
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
    target = target_distribution(rewards, success=success)

    def enough(group_size: int) -> bool:
        p = stationary_distribution(rewards, group_size, eps=eps, success=success)
        alive = (p[target > 0] > 0).all()
        return bool(alive and np.abs(p - target).sum() <= target_l1)

    def smallest(low: int, high: int) -> int:
        """By bisection between a size that is not enough and one that is."""
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


@dataclass(frozen=True)
class Advice:
    """What group-frequency IPS will do to these rewards.

    Attributes:
      distribution: predicted stationary distribution [K].
      target: what it tends to as groups grow [K].
      floor_l1: total L1 between the two.
      extinct: indices of the outcomes with a target that die out.
      needed_group_size: smallest sufficient G at this eps; None if there is none.
      wrong_as_published: probability that wrong outcomes keep if they are scaled like right ones;
        None if nothing says which are wrong, or one has a reward below 0, which cannot be scaled.
        Unscaled they keep none (docs/theory.md).
      estimator: of p(outcome), by its name; None where it depends on the length of answers, and
        that was not given.
      recommendation: what to do, in a few sentences.
    """

    distribution: list[float]
    target: list[float]
    floor_l1: float
    extinct: list[int]
    needed_group_size: int | None
    wrong_as_published: float | None
    estimator: str | None
    recommendation: str


SHORT_ANSWER = 10
"""Tokens of a completion up to which its likelihood is near that of its outcome."""


def advise(
    rewards: np.ndarray,
    group_size: int,
    *,
    eps: float = 0.0,
    target_l1: float = 0.1,
    success_above: float | None = None,
    answer_tokens: int | None = None,
) -> Advice:
    """Predict whether IPS-GRPO will keep all outcomes, and say what to change if not.

    Args:
      rewards: r of every outcome of one prompt [K], >= 0 where right.
      group_size: G.
      eps: clip of the group frequency.
      target_l1: total L1 that is good enough.
      success_above: outcomes with a reward above this are right, and only they are scaled; all if
        None.
      answer_tokens: usual length of a completion of a language model; None if it is not one, or
        not known.
    Returns:
      the advice.
    Raises:
      InvalidInput: for rewards, a group or a clip that cannot be, or if no outcome is right.
    """
    rewards = np.asarray(rewards, float)
    if group_size == 1:
        raise InvalidInput("group_size is 1, which has nothing to be compared with. Use 2 or more.")
    if rewards.size > MOST_OUTCOMES or group_size > LARGEST_GROUP:
        raise InvalidInput(
            f"{rewards.size} outcomes in groups of {group_size} take too long to predict. Use at "
            f"most {MOST_OUTCOMES} outcomes and groups of {LARGEST_GROUP}: fewer outcomes with the "
            "same ratio of rewards show the same."
        )
    if answer_tokens is not None and answer_tokens < 1:
        raise InvalidInput(
            f"answer_tokens is {answer_tokens}, and a completion has at least one. Leave it out if "
            "you do not know it."
        )
    success = None if success_above is None else rewards > success_above
    p = stationary_distribution(rewards, group_size, eps=eps, success=success)
    target = target_distribution(rewards, success=success)
    floor = float(np.abs(p - target).sum())
    needed = needed_group_size(rewards, eps=eps, target_l1=target_l1, success=success)
    extinct = np.flatnonzero((target > 0) & (p == 0)).tolist()
    kept = int((target > 0).sum())

    said = []
    published = None
    if success is not None:
        say = f"success={success_above:g} in TRL, and success_above = {success_above:g} elsewhere"
        said.append(f"{success.sum()} of {len(rewards)} outcomes are right.")
        if rewards.min() >= 0:
            as_published = stationary_distribution(rewards, group_size, eps=eps)
            published = float(as_published[~success].sum())
        if published is None:
            said.append(
                "Without success IPS refuses rewards below 0: "
                f"write {say}, with which wrong ones die out."
            )
        elif published > 0:
            said.append(
                f"Without success, as published, wrong ones keep a probability of {published:.3f}: "
                f"write {say}, with which they die out."
            )
        else:
            said.append("Wrong ones die out with success, and also without.")
    if extinct:
        what = "rewarded" if success is None else "right"
        said.append(f"{len(extinct)} of {kept} {what} outcomes will die out.")
    estimator = None
    if answer_tokens is not None:
        # Measured: docs/llm.md.  Longer texts have likelihoods that say nothing of their outcome,
        # and far too many answers are known from earlier visits only.
        short = answer_tokens <= SHORT_ANSWER and kept <= 16 * group_size
        estimator = "likelihood" if short else "replay"
    if floor <= target_l1 and not extinct and kept <= group_size:
        estimator = "group"
        said.append(f"Group frequency is enough: total L1 about {floor:.3f}.")
    elif floor <= target_l1 and not extinct:
        said.append(
            f"In the mean they rest at the target, but a group of {group_size} shows at most "
            f"{group_size} of {kept} outcomes, so chance removes some for good."
        )
        said.append("Use larger groups")
    else:
        said.append(f"Group frequency ends at a total L1 of about {floor:.3f}.")
        if needed is not None:
            said.append(f"Use groups of at least {needed}")
        elif eps > 0:
            said.append(f"No group is large enough with eps = {eps:g}: lower it")
        else:
            said.append(f"No group of up to {LARGEST_GROUP} is enough: use more")
    if estimator is None:
        said[-1] += (
            ", or estimate p otherwise: by likelihood where an outcome has one trajectory, a "
            "backward policy or short answers, else by replay (for a language model, give "
            "--answer-tokens to be told which)."
        )
    elif estimator != "group":
        said[-1] += f", or estimator={estimator!r}."
    if eps > 0 and clip_is_noop(group_size, eps):
        said.append(f"eps = {eps:g} has no effect at or below 1/G = {1 / group_size:.3g}.")
    if kept > group_size:
        said.append(
            f"With {kept} outcomes and groups of {group_size} most weights are equal: the "
            f"force towards the target shrinks like G(G - 1) / (2 K^2) = "
            f"{group_size * (group_size - 1) / (2 * kept**2):.2g}."
        )
    told = (floor, extinct, needed, published, estimator, " ".join(said))
    return Advice(p.tolist(), target.tolist(), *told)


def parse_rewards(text: str | None, outcomes: int | None, ratio: float) -> np.ndarray:
    """Rewards [K] as a user names them: a list, or a number of outcomes and R_max / R_min.

    Raises:
      InvalidInput: if neither or both are given, or they name no rewards.
    """
    if (text is None) == (outcomes is None):
        raise InvalidInput(
            "name the outcomes once: --rewards 1,1,0.1 or --outcomes 500 --reward-ratio 20."
        )
    if text is not None:
        if ratio != 1:
            raise InvalidInput(
                "--reward-ratio goes with --outcomes; --rewards has its own. Leave one out."
            )
        try:
            return np.array([float(part) for part in text.split(",")])
        except ValueError:
            raise InvalidInput(
                f"--rewards {text!r} is not a list of numbers. Write it as 1,1,0.1."
            ) from None
    if outcomes is None or not 1 <= outcomes <= MOST_OUTCOMES or not 1 <= ratio < np.inf:
        raise InvalidInput(
            f"{outcomes} outcomes with a reward ratio of {ratio} cannot be predicted. Use 1 to "
            f"{MOST_OUTCOMES} outcomes, and the largest reward over the smallest, at least 1."
        )
    return np.geomspace(1.0, 1 / ratio, outcomes)
