"""Diagnosis of a run: did it collapse onto few outcomes, and when?

A group is the completions of one prompt at one step.  Its effective outcomes are exp(entropy) of
their shares: between 1, all the same, and the number of different ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from ipsrl.core.arrays import Array, check_has_group, check_ids, to_numpy
from ipsrl.core.metrics import expected_distinct
from ipsrl.core.outcomes import NO_OUTCOME, outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.llm.completions import Completions
from ipsrl.llm.grouping import group_numbers
from ipsrl.llm.success import WrongAnswers, reward_levels, wrong_answers

TOP = 8  # outcomes that are followed over time
WINDOWS = 12  # spans of steps, at most, in which they are counted
CONCENTRATED = 1.5  # effective outcomes: two outcomes at 86 : 14
FIRST_STEPS = 3
FEWEST_STEPS = 10

Verdict = Literal["collapsed", "started collapsed", "did not collapse", "too few steps"]


@dataclass(frozen=True)
class Diagnosis:
    """The outcomes of a run over its steps.  Lists over steps have None where nothing is known."""

    rows: int
    prompts: int
    visits: float
    """Steps at which a prompt was seen, mean over the prompts."""
    groups: int
    group_size: int
    """The most frequent size; groups may be ragged."""
    alone: int
    """Groups of one completion, of which the verdict says nothing."""
    reward_name: str | None
    steps: list[int]
    effective: list[float | None]
    """Mean effective outcomes per group, of the groups with an outcome; and so the next two."""
    distinct_share: list[float | None]
    """Different outcomes of a group over its completions."""
    top_share: list[float | None]
    """Share of the most frequent outcome of a group."""
    valid_share: list[float | None]
    """Completions with an outcome."""
    reward: list[float | None]
    inert_groups: float
    """Share of groups in which all outcomes differ."""
    coverage: dict[str, dict[str, list[float]]]
    """`expected_distinct` of a prompt in the first and the last quarter of the steps."""
    top_outcomes: list[str]
    """The most frequent outcomes of all, in this order."""
    top_starts: list[int]
    """First step of each window."""
    top_shares: list[list[float]]
    """Share of each top outcome in each window, of the completions with an outcome."""
    verdict: Verdict
    collapsed_at: int | None
    """Step of the collapse."""
    start: float
    end: float
    """Effective outcomes in the first steps and in the last, of groups with several outcomes, see
    `diagnose_completions`."""
    reward_levels: list[float]
    """The rewards above 0 if they are few and far apart, see `reward_levels`."""
    wrong: WrongAnswers | None
    """What wrong outcomes would keep under IPS; None where nothing says which are wrong."""

    def json(self) -> str:
        """The diagnosis as JSON, which `ipsrl.report.collapse` draws."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"


def outcome_statistics(ids_PG: Array) -> dict[str, float]:
    """Numbers of outcomes in the groups of a batch; means over the groups.

        effective = exp(-sum_o q_o log q_o),   q_o = share of outcome o in the group

    Rows without an outcome are left out, and so are groups that have none; if no group has any,
    all but `no_outcome` are 0.

    Args:
      ids_PG: outcome ids [P, G] of P groups; -1 for none.
    Returns:
      distinct: different outcomes of a group.
      effective: equally frequent outcomes with the same entropy, 1 <= effective <= distinct.
      inert_groups: share of groups in which all outcomes differ, and there are several.
      single_outcome_groups: share of groups with one outcome.
      no_outcome: share of rows without.
    Raises:
      InvalidInput: for ids that are not ids, or not [P, G].
    """
    ids_PG = to_numpy(ids_PG)
    check_has_group("ids", ids_PG)
    check_ids(ids_PG)
    if ids_PG.ndim != 2:
        raise InvalidInput(
            f"ids have shape {ids_PG.shape}, but one row per group is needed. "
            "Reshape them to (groups, group_size)."
        )
    P, G = ids_PG.shape
    of = _per_group(_sorted_runs(np.repeat(np.arange(P), G), ids_PG.reshape(-1)), P)
    groups = max(np.count_nonzero(of.valid), 1)
    return {
        "distinct": float(of.distinct.sum()) / groups,
        "effective": float(of.effective.sum()) / groups,
        "inert_groups": np.count_nonzero((of.distinct == of.valid) & (of.valid > 1)) / groups,
        "single_outcome_groups": np.count_nonzero(of.distinct == 1) / groups,
        "no_outcome": np.count_nonzero(ids_PG == NO_OUTCOME) / max(ids_PG.size, 1),
    }


def diagnose_completions(
    rows: Completions,
    keys: Sequence[Hashable | None],
    *,
    group_size: int | None = None,
    success_above: float | None = None,
) -> Diagnosis:
    """Diagnose the outcomes of a run.

    Groups are the completions of a prompt at a step, see `group_numbers`.  The effective outcomes
    of a step are averaged over its groups with two outcomes or more, for one cannot be compared,
    and over windows of w = max(3, steps / 20) steps.  With `start` the mean of the first 3 steps,
    the run collapsed if the windows stay, from some step to the end, below

        max(1.5, start / 2)

    The middle of the first of these windows is the step of the collapse.  A run with start < 1.5
    started collapsed.  With fewer than 10 steps with such groups the verdict is "too few steps".

    Args:
      rows: completions; without steps, in the order in which they were logged.
      keys: outcome key of each, None for none.
      group_size: cut the completions of a prompt at a step into groups of this size; needed where
        these are several groups.
      success_above: rewards above this are right, see `wrong_answers`; None if unknown.
    Returns:
      the diagnosis, the same for every order of the rows if steps tell the groups.
    Raises:
      InvalidInput: for keys that are not keys; if no group has two completions with an outcome; for
        `success_above` without rewards; or see `group_numbers` and `wrong_answers`.
    """
    if len(keys) != len(rows.prompts):
        raise InvalidInput(
            f"there are {len(keys)} keys for {len(rows.prompts)} completions. Name one for each."
        )
    ids_R = outcome_ids(keys)
    if not (ids_R != NO_OUTCOME).any():
        raise InvalidInput(
            f"none of the {len(ids_R)} completions has an outcome: all keys are None. "
            "Check the outcome function on a completion that you know."
        )
    prompt_R, group_R = group_numbers(rows.prompts, rows.steps, group_size)
    if success_above is not None and rows.rewards is None:
        raise InvalidInput(
            "the completions have no reward, so none is above --success-above. Name the column of "
            "the rewards: --reward NAME."
        )
    rewards_R = np.full(len(ids_R), np.nan) if rows.rewards is None else rows.rewards
    steps_R = group_R if rows.steps is None else rows.steps  # without, every group is one
    # Sums of floats depend on their order, which must not be that of the rows.
    order = np.lexsort((rewards_R, ids_R, group_R))
    prompt_R, group_R, ids_R = prompt_R[order], group_R[order], ids_R[order]
    rewards_R = rewards_R[order]
    steps_T, step_R = np.unique(steps_R[order], return_inverse=True)
    T, size_P, groups = len(steps_T), np.bincount(group_R), int(group_R[-1]) + 1
    per_group = _per_group(_runs(group_R, ids_R), groups)
    has, compared = per_group.valid > 0, per_group.valid > 1
    if not compared.any():
        raise InvalidInput(
            f"none of the {groups} groups has two completions with an outcome, so no two can be "
            "compared. Check the outcome function on a completion that you know."
        )
    step_P = step_R[np.searchsorted(group_R, np.arange(groups))]

    def over_groups(values_P: np.ndarray) -> list[float | None]:
        return _means(step_P[has], values_P[has], T)

    scored, valid_R = np.isfinite(rewards_R), ids_R != NO_OUTCOME
    both = scored & valid_R
    verdict, collapsed_at, start, end = _judge(
        steps_T, step_P[compared], per_group.effective[compared]
    )
    outcomes, windows, shares = _top(ids_R[valid_R], step_R[valid_R], T)
    prompts = int(prompt_R.max()) + 1
    quarter, size = max(1, T // 4), int(np.bincount(size_P).argmax())
    return Diagnosis(
        rows=len(ids_R),
        prompts=prompts,
        visits=len(np.unique(prompt_R * T + step_R)) / prompts,
        groups=groups,
        group_size=size,
        alone=int((size_P == 1).sum()),
        reward_name=rows.reward_name,
        steps=steps_T.tolist(),
        effective=over_groups(per_group.effective),
        distinct_share=over_groups(per_group.distinct / size_P),
        top_share=over_groups(per_group.largest / np.maximum(per_group.valid, 1)),
        valid_share=_means(step_R, valid_R, T),
        reward=_means(step_R[scored], rewards_R[scored], T),
        inert_groups=_mean((per_group.distinct == per_group.valid)[has] & compared[has]),
        coverage={
            "first": _coverage(prompt_R, ids_R, step_R < quarter),
            "last": _coverage(prompt_R, ids_R, step_R >= T - quarter),
        },
        # Equal keys may be written differently, such as True and 1.
        top_outcomes=[min(str(keys[row]) for row in order[ids_R == one]) for one in outcomes],
        top_starts=[int(steps_T[window[0]]) for window in windows],
        top_shares=shares.tolist(),
        verdict=verdict,
        collapsed_at=collapsed_at,
        start=start,
        end=end,
        reward_levels=reward_levels(rewards_R[both]),
        wrong=None
        if success_above is None
        else wrong_answers(prompt_R[both], ids_R[both], rewards_R[both], size, success_above),
    )


class _Runs(NamedTuple):
    """The outcomes of groups: number of the group, id, and number of rows, one entry for each."""

    group: np.ndarray
    ids: np.ndarray
    n: np.ndarray


def _runs(group_R: np.ndarray, ids_R: np.ndarray) -> _Runs:
    """Count rows by group and outcome; they must be sorted by group, then by id."""
    kept = ids_R != NO_OUTCOME
    group_R, ids_R = group_R[kept], ids_R[kept]
    # Equal outcomes of a group lie side by side.
    starts = np.ones(len(ids_R), bool)
    starts[1:] = (ids_R[1:] != ids_R[:-1]) | (group_R[1:] != group_R[:-1])
    first = np.flatnonzero(starts)
    return _Runs(group_R[first], ids_R[first], np.diff(first, append=len(ids_R)))


def _sorted_runs(group_R: np.ndarray, ids_R: np.ndarray) -> _Runs:
    """`_runs` of rows in any order."""
    order = np.lexsort((ids_R, group_R))
    return _runs(group_R[order], ids_R[order])


class _PerGroup(NamedTuple):
    """Rows with an outcome, different and effective outcomes, and rows of the most frequent one."""

    valid: np.ndarray
    distinct: np.ndarray
    effective: np.ndarray
    largest: np.ndarray


def _per_group(runs: _Runs, groups: int) -> _PerGroup:
    distinct = np.bincount(runs.group, minlength=groups)
    valid = np.bincount(runs.group, runs.n, groups)
    largest = np.zeros(groups)
    np.maximum.at(largest, runs.group, runs.n)
    # -sum_o (n_o / n) log(n_o / n) = log n - (sum_o n_o log n_o) / n
    size = np.maximum(valid, 1)
    entropy = np.log(size) - np.bincount(runs.group, runs.n * np.log(runs.n), groups) / size
    # Rounding must not leave the bounds.
    effective = np.clip(np.exp(entropy), np.minimum(distinct, 1), distinct)
    return _PerGroup(valid, distinct, effective, largest)


def _judge(
    steps_T: np.ndarray, step_P: np.ndarray, effective_P: np.ndarray
) -> tuple[Verdict, int | None, float, float]:
    """Verdict, step of the collapse, start and end; the rule is in `diagnose_completions`."""
    groups_T = np.bincount(step_P, minlength=len(steps_T))
    known = groups_T > 0
    steps_T, groups_T = steps_T[known], groups_T[known]
    total_T = np.bincount(step_P, effective_P)[known[: step_P.max() + 1]]
    T = len(steps_T)
    width = min(T, max(FIRST_STEPS, math.ceil(T / 20)))
    window = np.ones(width)
    means = np.convolve(total_T, window, "valid") / np.convolve(groups_T, window, "valid")
    # Not the first window: a fast collapse is over before it ends.
    start = float(total_T[:FIRST_STEPS].sum() / groups_T[:FIRST_STEPS].sum())
    end = float(means[-1])
    if start < CONCENTRATED:
        return "started collapsed", None, start, end
    if T < FEWEST_STEPS:
        return "too few steps", None, start, end
    above = np.flatnonzero(means >= max(CONCENTRATED, start / 2))
    first = int(above[-1]) + 1 if above.size else 0
    if first == len(means):
        return "did not collapse", None, start, end
    return "collapsed", int(steps_T[first + width // 2]), start, end


def _top(
    ids_R: np.ndarray, step_R: np.ndarray, T: int
) -> tuple[list[int], list[np.ndarray], np.ndarray]:
    """The most frequent ids [K], windows of step numbers, and shares [K, windows]."""
    ids_K, outcome_R, counts_K = np.unique(ids_R, return_inverse=True, return_counts=True)
    order = np.argsort(-counts_K, kind="stable")[:TOP]
    windows = np.array_split(np.arange(T), min(T, WINDOWS))
    window_R = np.repeat(np.arange(len(windows)), [len(window) for window in windows])[step_R]
    totals = np.maximum(np.bincount(window_R, minlength=len(windows)), 1)
    shares = [np.bincount(window_R[outcome_R == k], minlength=len(windows)) for k in order]
    return ids_K[order].tolist(), windows, np.array(shares) / totals


def _coverage(prompt_R: np.ndarray, ids_R: np.ndarray, chosen_R: np.ndarray) -> dict[str, Any]:
    """Mean of `expected_distinct` over prompts with at least the median of completions.

    One set of prompts for all N, or the curve might fall.
    """
    runs = _sorted_runs(prompt_R[chosen_R], ids_R[chosen_R])
    if not len(runs.n):
        return {"samples": [], "distinct": []}
    first = np.flatnonzero(np.diff(runs.group, prepend=-1))
    totals = np.add.reduceat(runs.n, first)
    size = int(np.sort(totals)[len(totals) // 2])
    samples = [2**k for k in range(size.bit_length())]
    curves = [
        expected_distinct(counts, samples)
        for counts, total in zip(np.split(runs.n, first[1:]), totals, strict=True)
        if total >= size
    ]
    return {"samples": samples, "distinct": np.mean(curves, axis=0).tolist()}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _means(step_N: np.ndarray, values_N: np.ndarray, T: int) -> list[float | None]:
    """Mean of the values of each step, None for a step without values."""
    totals, counts = np.bincount(step_N, values_N, T), np.bincount(step_N, minlength=T)
    return [float(total / n) if n else None for total, n in zip(totals, counts, strict=True)]
