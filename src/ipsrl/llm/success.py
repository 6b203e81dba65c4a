"""What wrong answers that earn something would keep under IPS, from the outcomes of a run.

IPS as published scales every outcome, so wrong ones settle in proportion to what they earn.  With
`success_above` only right ones are scaled, and wrong ones die out (docs/theory.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipsrl.core.floor import stationary_distribution
from ipsrl.errors import InvalidInput

_PROMPTS = 50  # that are predicted, at most: each takes a tenth of a second
_LEVELS = 4  # rewards above 0, at most: more are a scale, such as a score


@dataclass(frozen=True)
class WrongAnswers:
    """Outcomes most of whose completions are not above the threshold.  Means over the prompts."""

    success_above: float
    prompts: int
    """Prompts of which a right outcome was seen, up to 50 of them, evenly chosen."""
    target: float
    """Share of r / sum r, which IPS tends to as groups grow, that wrong outcomes have."""
    kept: float
    """Probability that wrong outcomes have where IPS rests with groups of this size."""


def wrong_answers(
    prompt_R: np.ndarray,
    ids_R: np.ndarray,
    rewards_R: np.ndarray,
    group_size: int,
    success_above: float,
) -> WrongAnswers:
    """Predict what IPS without success makes of the wrong outcomes that a run has sampled.

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
            "below 0, so what it would leave wrong answers cannot be told. Leave out "
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
    """The rewards above 0 where they are 2 to 4, the least at most half of the largest; else none.

    So look a reward for the format beside one for the answer, and partial credit.
    """
    levels = np.unique(rewards_R[rewards_R > 0].round(6))  # 6: sums of columns in float32
    clear = 2 <= len(levels) <= _LEVELS and levels[0] <= levels[-1] / 2
    return levels.tolist() if clear else []
