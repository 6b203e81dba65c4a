"""Answers from logged completions to the three questions of `ipsrl advise`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ipsrl.core.outcomes import NO_OUTCOME, outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.llm.completions import Completions
from ipsrl.llm.grouping import group_numbers
from ipsrl.llm.outcomes.answer import last_message
from ipsrl.theory.advice import MOST_OUTCOMES

CHARACTERS = 4  # characters of a token in English text, about


@dataclass(frozen=True)
class Logged:
    """A typical prompt of a log: the one with the median number of right answers.

    Attributes:
      rewards: mean rewards of its outcomes [K]; of right ones that were never sampled, the mean of
        those that were.
      success: whether most samples of the outcome are right [K].
      group_size: the commonest, G.
      visits: groups that a prompt has had, mean over the prompts.
      answer_tokens: of a completion, estimated from its characters; None without texts.
      prompts: with a right answer.
      seen: right answers of the typical prompt that were sampled.
      right: `richness` of them.
    """

    rewards: list[float]
    success: list[bool]
    group_size: int
    visits: float
    answer_tokens: float | None
    prompts: int
    seen: int
    right: int


def richness(counts: np.ndarray) -> int:
    """Lower bound on the number of kinds, from those that were sampled.

        D + f1 (f1 - 1) / (2 (f2 + 1)),   f1, f2 = kinds seen once, and twice

    Source: Chao 1984, in the form without bias.  A sampler that follows its rewards makes it low.

    Args:
      counts: samples of each kind that was seen [D], >= 1.
    Returns:
      a whole number >= D.
    """
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return len(counts) + once * (once - 1) // (2 * (twice + 1))


def typical(
    rows: Completions,
    keys: Sequence[Hashable | None],
    *,
    group_size: int | None = None,
    success_above: float | None = None,
) -> Logged:
    """Answer the three questions from a log.

    Args:
      rows: completions with rewards.
      keys: outcome key of each, None for none.
      group_size: cut the completions of a prompt at a step into groups of this size; see
        `group_numbers`.
      success_above: rewards above this are right; above 0 if None.  An outcome is right if most of
        its completions are.
    Returns:
      the typical prompt.
    Raises:
      InvalidInput: for a log without rewards or without a right outcome; or see `group_numbers`.
    """
    if rows.rewards is None:
        raise InvalidInput(
            "the completions have no reward, so none is known to be right. Name the column of the "
            "rewards: --reward NAME."
        )
    ids_R = outcome_ids(keys)
    prompt_R, group_R = group_numbers(rows.prompts, rows.steps, group_size)
    groups = int(group_R.max()) + 1
    used = (ids_R != NO_OUTCOME) & np.isfinite(rows.rewards)
    threshold = 0.0 if success_above is None else success_above
    _, outcome_S = np.unique(ids_R[used], return_inverse=True)
    pair_S = prompt_R[used] * (outcome_S.max(initial=0) + 1) + outcome_S
    _, first_O, which_S, counts_O = np.unique(
        pair_S, return_index=True, return_inverse=True, return_counts=True
    )
    reward_O = np.bincount(which_S, rows.rewards[used]) / np.maximum(counts_O, 1)
    right_O = np.bincount(which_S, rows.rewards[used] > threshold) > counts_O / 2
    prompt_O = prompt_R[used][first_O]
    known = np.unique(prompt_O[right_O])
    if not len(known):
        raise InvalidInput(
            f"no outcome has most of its rewards above {threshold:g}, so none is right. Lower "
            "--success-above, or check the outcome on a completion that you know."
        )
    right_P = np.array([richness(counts_O[right_O & (prompt_O == p)]) for p in known])
    middle = np.argsort(right_P, kind="stable")[(len(known) - 1) // 2]
    mine = prompt_O == known[middle]
    seen = int((mine & right_O).sum())
    others = min(int(right_P[middle]) - seen, MOST_OUTCOMES - int(mine.sum()))
    unseen = [float(reward_O[mine & right_O].mean())] * others
    lengths = [len(last_message(text)) for text in rows.completions]
    return Logged(
        rewards=reward_O[mine].tolist() + unseen,
        success=right_O[mine].tolist() + [True] * others,
        group_size=int(np.bincount(np.bincount(group_R)).argmax()),
        visits=groups / (int(prompt_R.max()) + 1),
        answer_tokens=max(1.0, float(np.median(lengths)) / CHARACTERS) if lengths else None,
        prompts=len(known),
        seen=seen,
        right=int(right_P[middle]),
    )
