"""Advice on group size: will IPS-GRPO work, and which estimator of p(outcome) does it need?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipsrl.core.floor import clip_is_noop, stationary_distribution, target_distribution
from ipsrl.errors import InvalidInput
from ipsrl.theory.choice import COUNTED, SHORT_ANSWER, choose
from ipsrl.theory.groups import LARGEST_GROUP, needed_group_size

MOST_OUTCOMES, MOST_LEVELS = 1_000_000, 10_000


@dataclass(frozen=True)
class Advice:
    """The predicted effect of group-frequency IPS on these rewards.

    Attributes:
      distribution: predicted stationary distribution [K].
      target: the limit for large groups [K].
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


def advise(
    rewards: np.ndarray,
    group_size: int,
    *,
    eps: float = 0.0,
    target_l1: float = 0.1,
    success_above: float | None = None,
    success: Sequence[bool] | None = None,
    answer_tokens: float | None = None,
    visits: float | None = None,
) -> Advice:
    """Predict whether IPS-GRPO will keep all outcomes, and say what to change if not.

    Args:
      rewards: r of every outcome of one prompt [K], >= 0 where right.
      group_size: G.
      eps: clip of the group frequency.
      target_l1: total L1 that is good enough.
      success_above: outcomes with a reward above this are right, and only they are scaled; None
        for all, or for those above 0 if a reward is below 0, which IPS cannot scale.
      success: which outcomes are right [K], where rewards are means of samples, some of them
        above `success_above` and some not.
      answer_tokens: usual length of a completion of a language model; None if it is not one, or
        not known.
      visits: how often training sees a prompt; None for several times.
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
    for name, value, least in (("answer_tokens", answer_tokens, "a completion has at least one"),
                               ("visits", visits, "a prompt is seen at least once")):  # fmt: skip
        if value is not None and not value >= 1:
            raise InvalidInput(f"{name} is {value}, and {least}. Leave it out if you do not know.")
    if success_above is None and (rewards < 0).any():
        success_above = 0.0
    kinds = rewards
    if success_above is not None:
        kinds = rewards + 1j * (rewards > success_above if success is None else np.array(success))
    # Outcomes of one reward that are all right, or all wrong, rest at one probability.
    found, which, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    levels, right = found.real, None if success_above is None else found.imag > 0
    if len(levels) > MOST_LEVELS:
        raise InvalidInput(
            f"{len(levels)} different rewards take too long to predict. Round them, so that at "
            f"most {MOST_LEVELS} differ: outcomes with equal rewards are solved at once."
        )
    p = stationary_distribution(levels, group_size, eps=eps, success=right, counts=counts)
    target = target_distribution(levels, success=right, counts=counts)
    floor = float(counts @ np.abs(p - target))
    needed = needed_group_size(levels, eps=eps, target_l1=target_l1, success=right, counts=counts)
    extinct = np.flatnonzero(((target > 0) & (p == 0))[which]).tolist()
    kept = int(counts[target > 0].sum())

    published = None
    if right is not None and levels.min() >= 0:
        as_published = stationary_distribution(levels, group_size, eps=eps, counts=counts)
        published = float((counts * as_published)[~right].sum())
    short = None if answer_tokens is None else answer_tokens <= SHORT_ANSWER
    back = visits is None or visits >= 2
    enough = floor <= target_l1 and not extinct
    estimator = choose(kept / group_size, short=short, back=back, counts=enough)

    said = []
    if success_above is not None:
        said.append(f"{counts[right].sum()} of {len(rewards)} outcomes are right.")
        said.append(_on_wrong_outcomes(success_above, published))
    if extinct:
        what = "rewarded" if right is None else "right"
        said.append(f"{len(extinct)} of {kept} {what} outcomes will die out.")
    outlook, *change = _on_counts(floor, kept, group_size, needed, eps, enough=enough)
    said += [outlook, *(text + _or_estimator(estimator, back=back) for text in change)]
    if estimator == "replay" and needed is not None and needed > group_size:
        said.append(
            f"Over {math.ceil(needed / group_size)} visits it counts like groups of {needed}."
        )
    if eps > 0 and clip_is_noop(group_size, eps):
        said.append(f"eps = {eps:g} has no effect at or below 1/G = {1 / group_size:.3g}.")
    if kept > group_size:
        said.append(
            f"With {kept} outcomes and groups of {group_size} most weights are equal: the "
            f"force towards the target shrinks like G(G - 1) / (2 K^2) = "
            f"{group_size * (group_size - 1) / (2 * kept**2):.2g}."
        )
    told = (floor, extinct, needed, published, estimator, " ".join(said))
    return Advice(p[which].tolist(), target[which].tolist(), *told)


def _on_wrong_outcomes(success_above: float, as_published: float | None) -> str:
    say = f"success={success_above:g} in TRL, and success_above = {success_above:g} elsewhere"
    if as_published is None:
        return f"Without success IPS refuses rewards below 0: write {say}, and wrong ones die out."
    if as_published == 0:
        return "Wrong ones die out with success, and also without."
    return (
        f"Without success, as published, wrong ones keep a probability of {as_published:.3f}: "
        f"write {say}, and they die out."
    )


def _on_counts(
    floor: float, kept: int, group_size: int, needed: int | None, eps: float, *, enough: bool
) -> list[str]:
    """What the group's count does; and, where it is not enough, what to change, to be continued."""
    if enough and kept <= COUNTED * group_size:
        return [f"Group frequency is enough: total L1 about {floor:.3f}."]
    if enough:
        lost = (
            f"In expectation all outcomes are kept, but {(1 - 1 / kept) ** group_size:.0%} of the "
            f"groups of {group_size} miss one of {kept} equal outcomes, so some are lost by chance."
        )
        return [lost, f"Use groups of at least {math.ceil(kept / COUNTED)}"]
    ends = f"Group frequency ends at a total L1 of about {floor:.3f}."
    if needed is not None:
        return [ends, f"Use groups of at least {needed}"]
    if eps > 0:
        return [ends, f"No group is large enough with eps = {eps:g}: lower it"]
    return [ends, f"No group of up to {LARGEST_GROUP} is enough: use more"]


def _or_estimator(estimator: str | None, *, back: bool) -> str:
    """The end of the sentence that says which groups to use instead."""
    if estimator is None:
        return (
            ", or another estimator: likelihood if an outcome has one trajectory, a backward "
            f"policy or short answers{', else replay' if back else ''} (for a language model, "
            "--answer-tokens decides)."
        )
    if estimator == "group":
        return ". No estimator looks beyond a group of long texts whose prompt is seen once."
    return f", or estimator={estimator!r}."


def parse_rewards(text: str | None, outcomes: int | None, ratio: float) -> np.ndarray:
    """Rewards [K] as a user names them: a list, or a number of outcomes and R_max / R_min.

    Args:
      text: numbers with commas between; 0.1x500 is 500 times 0.1.
      outcomes: how many there are, if there is no list.
      ratio: of the largest reward to the smallest, between which they are spread evenly in log.
    Returns:
      rewards [K].
    Raises:
      InvalidInput: if neither or both are given, or they name no rewards.
    """
    if (text is None) == (outcomes is None):
        raise InvalidInput(
            "name the outcomes once: --rewards 1,1,0.1 or --outcomes 500 --reward-ratio 20 or "
            "--from completions.parquet."
        )
    if text is not None:
        if ratio != 1:
            raise InvalidInput(
                "--reward-ratio goes with --outcomes; --rewards has its own. Leave one out."
            )
        parts = [part.partition("x") for part in text.split(",")]
        try:
            levels = np.array([float(reward) for reward, _, _ in parts])
            times = [int(number) if times else 1 for _, times, number in parts]
        except ValueError:
            raise InvalidInput(
                f"--rewards {text!r} is not a list of numbers. Write it as 1,1,0.1, or as "
                "1x20,0.1x500 where many are equal."
            ) from None
        if min(times) < 1 or sum(times) > MOST_OUTCOMES:
            raise InvalidInput(
                f"--rewards {text!r} names {sum(times)} outcomes, or one less than once. Name each "
                f"reward at least once, and at most {MOST_OUTCOMES} outcomes."
            )
        return np.repeat(levels, times)
    most = MOST_OUTCOMES if ratio == 1 else MOST_LEVELS
    if outcomes is None or not 1 <= outcomes <= most or not 1 <= ratio < np.inf:
        raise InvalidInput(
            f"{outcomes} outcomes with a reward ratio of {ratio} cannot be predicted. Use 1 to "
            f"{MOST_LEVELS} outcomes ({MOST_OUTCOMES} if their rewards are equal), and the largest "
            "reward over the smallest, at least 1."
        )
    return np.geomspace(1.0, 1 / ratio, outcomes)
