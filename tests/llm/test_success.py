"""What wrong answers that earn something would keep, and which rewards make one ask."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from llm_logs import FORMAT, diagnosed, log_of, rewarded

from ipsrl import Group, stationary_distribution
from ipsrl.errors import InvalidInput
from ipsrl.llm.success import reward_levels, wrong_answers, wrong_share
from ipsrl.llm.summary import summary


def test_what_wrong_answers_would_keep(tmp_path: Path) -> None:
    d = diagnosed(tmp_path, rewarded(FORMAT), success_above=0.2)
    assert d.wrong is not None
    assert (d.wrong.success_above, d.wrong.prompts, d.group_size) == (0.2, 2, 4)
    assert d.wrong.target == pytest.approx(0.6 / 1.8)
    # f(p)/p <= 4: .2 * 4 = .8 < C, for C >= 1.2.  In groups of 4 wrong ones die out anyway.
    assert d.wrong.kept == 0
    assert "33% of the target" in summary(d)
    assert "keep a probability of 0% in groups of 4" in summary(d)
    assert "Train with success_above" not in summary(d)


def test_more_than_a_tenth_is_told_what_to_do(tmp_path: Path) -> None:
    rewards = {"right": 2.0, "b": 1.0, "c": 1.0, "d": 0.0}
    d = diagnosed(tmp_path, rewarded(rewards), success_above=1.5)
    assert d.wrong is not None
    assert d.wrong.target == pytest.approx(1 / 2)
    expected = stationary_distribution(list(rewards.values()), 4)[1:].sum()
    assert d.wrong.kept == pytest.approx(expected)
    assert expected > 0.1
    assert f"keep a probability of {expected:.0%} in groups of 4" in summary(d)
    assert (
        "Train with success=1.5 (train llm: --success-above 1.5): then only right answers"
        in summary(d)
    )
    assert json.loads(d.json())["wrong"] == dataclasses.asdict(d.wrong)


def test_the_mean_is_of_prompts_with_a_right_answer(tmp_path: Path) -> None:
    """p0 has a wrong answer that earns half, p1 one that earns nothing, p2 no right one."""
    of = {"p0": {"a": 1.0, "b": 0.5}, "p1": {"a": 1.0, "b": 0.0}, "p2": {"a": 0.5, "b": 0.5}}
    rows = [
        {**row, "reward": of[row["prompt"]][row["outcome"]]}
        for row in log_of(lambda t: "ab", 12, prompts=3)
    ]
    d = diagnosed(tmp_path, rows, success_above=0.5)
    assert d.wrong is not None
    assert d.wrong.prompts == 2
    assert d.wrong.target == pytest.approx((1 / 3 + 0) / 2)
    # G = 2: f(p)/p = 2 - p, and 1 (2 - p) = .5 (2 - (1 - p)) has no p < 1: the wrong one dies out
    assert d.wrong.kept == 0


def test_most_completions_of_an_outcome_decide_whether_it_is_right(tmp_path: Path) -> None:
    """A mean of .2 thrice is 0.20000000000000004 / 3, and no reason to call it right."""
    assert sum([0.2] * 3) / 3 > 0.2
    rows = rewarded({"a": 1.0, "b": 0.2, "c": 0.2}, steps=3)
    d = diagnosed(tmp_path, rows, success_above=0.2)
    assert d.wrong is not None
    assert d.wrong.target == pytest.approx(0.4 / 1.4)


def test_rows_without_outcome_or_reward_have_no_part(tmp_path: Path) -> None:
    rows = rewarded(FORMAT)
    more = [
        {**rows[0], "outcome": None, "reward": 5.0},
        {**rows[1], "outcome": "never scored", "reward": None},
    ]
    d = diagnosed(tmp_path, [*rows, *more], success_above=0.2)
    assert d.wrong == diagnosed(tmp_path, rows, success_above=0.2).wrong


@pytest.mark.parametrize(
    ("rewards", "levels"),
    [
        ([0.0, 0.2, 1.2], [0.2, 1.2]),
        ([1.0, 0.5, 0.25, 0.1], [0.1, 0.25, 0.5, 1.0]),
        ([0.0, 1.0], []),  # right or wrong
        ([1.0, 0.95, 0.9], []),  # near one another
        ([0.1, 0.3, 0.5, 0.7, 1.0], []),  # a scale
        ([-1.0, 1.0], []),
        ([], []),
    ],
)
def test_levels_of_rewards(rewards: list[float], levels: list[float]) -> None:
    assert reward_levels(np.array(rewards * 3)) == levels
    in_float32 = np.array(rewards, np.float32).astype(float)
    assert reward_levels(in_float32) == levels


@pytest.mark.parametrize(
    ("rewards", "above", "message"),
    [
        (FORMAT, 1.2, r"above 1.2 \(the largest is 1.2\).*Lower --success-above"),
        (FORMAT, math.nan, "above nan"),
        ({"a": 0.0, "b": 0.0}, -1.0, r"above -1 \(the largest is 0\)"),
        ({"a": 1.0, "b": -1.0}, 0.5, "mean reward of -1.*Leave out --success-above"),
    ],
)
def test_a_threshold_that_says_nothing(
    tmp_path: Path, rewards: dict[str, float], above: float, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        diagnosed(tmp_path, rewarded(rewards), success_above=above)


def test_a_threshold_without_rewards_is_refused(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "reward"} for row in rewarded(FORMAT)]
    with pytest.raises(InvalidInput, match="no reward.*--reward NAME"):
        diagnosed(tmp_path, rows, success_above=0.5)


def test_many_prompts_take_the_time_of_fifty(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prompts, rewards = np.repeat(np.arange(400), 20), rng.choice([0.2, 1.0], 8000)
    ids = rng.integers(0, 5, 8000) + 2**60  # ids are hashes
    rewards = np.where(ids == 2**60, 1.0, rewards)
    w = wrong_answers(prompts, ids, rewards, 8, 0.5)
    assert w.prompts == 50
    assert 0 < w.target < 1


def test_share_of_wrong_outcomes_by_hand() -> None:
    """Two right ones of 1.2 and three wrong ones of .2, however often: .6 of 3."""
    ids = np.array([[1, 1, 1, 2, 3, 3, 4, 5]])
    rewards = np.array([[1.2, 1.2, 1.2, 1.2, 0.2, 0.2, 0.2, 0.2]])
    wrong = rewards < 1
    assert wrong_share(Group(rewards, ids), wrong) == pytest.approx(0.2)
    # without an outcome or a positive reward there is no share
    unread = np.where(ids == 5, -1, ids)
    assert wrong_share(Group(rewards, unread), wrong) == pytest.approx(0.4 / 2.8)
    penalty = np.where(ids == 5, -9.0, rewards)
    assert wrong_share(Group(penalty, ids), wrong) == pytest.approx(0.4 / 2.8)


def test_a_group_without_a_right_outcome_says_nothing_of_wrong_ones() -> None:
    group = Group(np.array([[0.2, 0.2], [0.2, 0.6]]), np.array([[1, 2], [1, 2]]))
    assert wrong_share(group, group.rewards < 0.5) == pytest.approx(0.25)
    assert wrong_share(group, group.rewards < 1) == 0.0
