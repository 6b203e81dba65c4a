"""The share of wrong answers that earn something under IPS, from the outcomes of a run.

IPS as published scales every outcome, so wrong ones settle in proportion to what they earn.  With
`success_above` only right ones are scaled, and wrong ones die out (docs/theory.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipsrl.core.floor import stationary_distribution
from ipsrl.core.group import Group
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.core.probability import group_frequency
from ipsrl.errors import InvalidInput

_PROMPTS = 50  # largest number of predictions: each takes a tenth of a second
_LEVELS = 4  # largest number of rewards above 0: more are a scale, such as a score


@dataclass(frozen=True)
class WrongAnswers:
    """A prediction of the share of wrong outcomes; means over the prompts."""

    success_above: float
    prompts: int
    """Number of prompts with a right outcome, up to 50 of them, evenly chosen."""
    target: float
    """Share of wrong outcomes in r / sum r, which IPS tends to as groups grow."""
    kept: float
    """Probability that wrong outcomes have where IPS rests with groups of this size."""


def wrong_answers(
    prompt_R: np.ndarray,
    ids_R: np.ndarray,
    rewards_R: np.ndarray,
    group_size: int,
    success_above: float,
) -> WrongAnswers:
    """Predict the share that IPS without success gives to the wrong outcomes of a run.

    Args:
      prompt_R: numbers of the prompts [R].
      ids_R: outcome ids [R], each of which is an outcome.
      rewards_R: finite rewards [R]; the reward of an outcome is the mean over its rows.
      group_size: G.
      success_above: a reward above this is right, and so is an outcome if most of its rows are.
    Returns:
      the prediction.
    Raises:
      InvalidInput: if an outcome has a negative mean reward, or none is right and rewarded.
    """
    _, outcome_R = np.unique(ids_R, return_inverse=True)
    outcomes = outcome_R.max(initial=0) + 1
    pair_O, which_R = np.unique(prompt_R * outcomes + outcome_R, return_inverse=True)
    prompt_O = pair_O // outcomes
    reward_O = np.bincount(which_R, rewards_R) / np.bincount(which_R)
    if (reward_O < 0).any():
        raise InvalidInput(
            f"an outcome has a mean reward of {reward_O.min():g}, and IPS as published takes none "
            "below 0, so its share of wrong answers cannot be predicted. Leave out "
            "--success-above; where a run sets success_above, wrong answers may earn less than 0."
        )
    # Not by the mean, which rounding may lift above a reward that equals the threshold.
    right_O = np.bincount(which_R, rewards_R > success_above) / np.bincount(which_R) > 0.5
    known = np.unique(prompt_O[right_O & (reward_O > 0)])
    if not len(known):
        most = f"the largest is {rewards_R.max():g}" if len(rewards_R) else "none has a reward"
        raise InvalidInput(
            f"no outcome has most of its rewards above {success_above:g} ({most}), so none is "
            "right. Lower --success-above."
        )
    known = known[np.linspace(0, len(known) - 1, min(len(known), _PROMPTS)).round().astype(int)]
    target, kept = np.zeros(len(known)), np.zeros(len(known))
    for i, prompt in enumerate(known):
        rewards, right = reward_O[prompt_O == prompt], right_O[prompt_O == prompt]
        target[i] = rewards[~right].sum() / rewards.sum()
        if target[i] > 0:
            kept[i] = stationary_distribution(rewards, group_size)[~right].sum()
    return WrongAnswers(success_above, len(known), float(target.mean()), float(kept.mean()))


def reward_levels(rewards_R: np.ndarray) -> list[float]:
    """The rewards above 0 if they are 2 to 4 and the least is at most half of the largest.

    Rewards look like this with a format reward beside one for the answer, or with partial credit.
    """
    levels = np.unique(rewards_R[rewards_R > 0].round(6))  # 6: sums of columns in float32
    clear = 2 <= len(levels) <= _LEVELS and levels[0] <= levels[-1] / 2
    return levels.tolist() if clear else []


def warning_of_wrong(
    group: Group, best: float, rewards_NK: np.ndarray, names: Sequence[str]
) -> str | None:
    """Say what to write if likely wrong answers would be kept in proportion.

    Likely wrong is what earns at most half of the best: a format reward, or partial credit.

    Args:
      group: total rewards and outcome ids [P, G].
      best: largest total reward so far.
      rewards_NK: rewards of each function, 0 for none.
      names: of the reward functions.
    Returns:
      a sentence if they have more than a tenth of the target, r / sum r; else None.
    """
    totals_N = group.rewards.reshape(-1)
    wrong_N, right_N = (totals_N > 0) & (totals_N <= best / 2), totals_N > best / 2
    if not (wrong_N.any() and right_N.any()):
        return None
    share = wrong_share(group, wrong_N.reshape(group.rewards.shape))
    if share <= 0.1:
        return None
    telling = [
        name
        for name, wrong, right in zip(
            names, rewards_NK[wrong_N].T, rewards_NK[right_N].T, strict=True
        )
        if (wrong <= 0).all() and (right > 0).all()
    ]
    by_name = f"success={telling}, or " if telling and len(names) > 1 else ""
    most = totals_N[wrong_N].max()
    between = f"{(most + totals_N[right_N].min()) / 2:.3g}"
    return (
        f"Outcomes that earn at most half of the best reward ({most:g} of {best:g}) have "
        f"{share:.0%} of the target of IPS, r / sum r, and so of the answers after training. If "
        f"they are wrong, say what is right: {by_name}success={between} for total rewards above "
        f"that (train llm: --success-above {between}). If they are to be kept in proportion, write "
        "success=0."
    )


def wrong_share(group: Group, wrong_PG: np.ndarray) -> float:
    """Share of the target of IPS, r / sum r, that wrong outcomes have.

    Each outcome of a group is counted once, as its scaled rewards add up to G r.

    Args:
      group: total rewards and outcome ids [P, G]; rewards below 0 are not scaled.
      wrong_PG: True where a completion is wrong.
    Returns:
      the mean over the groups with a right outcome that earns something; 0 if there is none.
    """
    earns_PG = (group.ids != NO_OUTCOME) & (group.rewards > 0)
    scaled_PG = np.where(earns_PG, group.rewards, 0.0) / group_frequency(group.ids)
    right_P, all_P = np.where(wrong_PG, 0.0, scaled_PG).sum(-1), scaled_PG.sum(-1)
    known_P = right_P > 0
    return float((1 - right_P[known_P] / all_P[known_P]).mean()) if known_P.any() else 0.0
