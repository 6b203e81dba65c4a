"""what a user reads before training."""

import json
import re
from dataclasses import asdict, fields

import numpy as np
import pytest
from helpers import PRINTED_DIGITS, assert_close
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import stationary_distribution
from ipsrl.core.floor import presence
from ipsrl.errors import InvalidInput
from ipsrl.grids import HyperGrid
from ipsrl.theory.advice import Advice, advise, parse_rewards
from ipsrl.theory.groups import needed_group_size

TWO_TO_ONE = np.array([1.0] * 6 + [2.0] * 2)


def test_advice_is_an_object_of_plain_values():
    advice = advise(np.array([1.0, 1.0, 0.1]), 16)
    names = [
        "distribution", "target", "floor_l1", "extinct", "needed_group_size",
        "wrong_as_published", "estimator", "recommendation",
    ]  # fmt: skip
    assert [field.name for field in fields(Advice)] == names
    assert json.loads(json.dumps(asdict(advice))) == asdict(advice)
    assert type(advice.floor_l1) is float
    assert type(advice.needed_group_size) is int
    assert sum(advice.distribution) == pytest.approx(1)


@pytest.mark.parametrize(("size", "floor"), [(16, 1.071), (64, 0.429), (256, 0.220), (1024, 0.004)])
def test_advice_predicts_the_floor_table(size, floor):
    advice = advise(HyperGrid(2, 8).rewards, size)
    assert abs(advice.floor_l1 - floor) < PRINTED_DIGITS
    needed = advice.needed_group_size
    assert 256 < needed < 1024  # the total L1 passes .1 between these
    assert (f"at least {needed}" in advice.recommendation) == (size < needed)


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [(4, 0.011, 0.467), (8, 0.068, 0.297), (16, 0.091, 0.228), (32, 0.099, 0.204), (64, 0.1, 0.2)],
)
def test_advice_predicts_the_two_to_one_table(size, low, high):
    predicted = advise(TWO_TO_ONE, size).distribution
    assert np.abs(predicted - np.array([low] * 6 + [high] * 2)).max() < PRINTED_DIGITS


@pytest.mark.parametrize("size", [4, 8, 16, 64])
def test_the_extinct_are_those_below_c_over_g(size):
    rewards = np.array([2.0, 0.02, 0.0, 0.1, 0.3, 1.0, 3.0])
    advice = advise(rewards, size)
    p = np.array(advice.distribution)
    best = np.argmax(rewards)
    c = rewards[best] * presence(p[best], size) / p[best]
    assert advice.extinct == [i for i, r in enumerate(rewards) if 0 < r < c / size]
    assert (p[advice.extinct] == 0).all()
    told = f"{len(advice.extinct)} of 6 rewarded outcomes will die out"
    assert (told in advice.recommendation) == bool(advice.extinct)


def test_a_sufficient_group_is_told_so():
    advice = advise(np.ones(4), 16)
    assert_close(np.array(advice.distribution), np.full(4, 0.25))
    assert (advice.extinct, advice.floor_l1) == ([], pytest.approx(0, abs=1e-9))
    assert "Group frequency is enough" in advice.recommendation
    assert "likelihood" not in advice.recommendation


@pytest.mark.parametrize(
    ("outcomes", "size", "tokens", "estimator"),
    [
        (4, 8, 1, "group"), (8, 16, 300, "group"), (8, 16, None, "group"),
        (8, 8, 1, "likelihood"), (8, 8, 300, "replay"), (128, 8, 4, "likelihood"),
        (128, 8, 10, "likelihood"), (512, 16, 4, "likelihood"), (128, 8, 300, "replay"),
        (128, 8, None, None),
    ],
)  # fmt: skip
def test_the_estimator_goes_by_outcomes_per_sample_and_length(outcomes, size, tokens, estimator):
    """As measured in docs/choosing.md and docs/rivals.md."""
    advice = advise(np.ones(outcomes), size, answer_tokens=tokens)
    assert advice.estimator == estimator
    assert ("Group frequency is enough" in advice.recommendation) == (estimator == "group")
    if estimator in ("likelihood", "replay"):
        assert f"or estimator='{estimator}'." in advice.recommendation
    with pytest.raises(InvalidInput, match="answer_tokens is 0"):
        advise(np.ones(outcomes), size, answer_tokens=0)
    if estimator is None:
        assert "likelihood if" in advice.recommendation


@pytest.mark.parametrize(
    ("outcomes", "tokens", "visits", "estimator", "told"),
    [
        (512, 4, 1, "likelihood", "or estimator='likelihood'"),
        (128, 300, 1, "group", "No estimator looks beyond a group of long texts"),
        (128, 300, 2, "replay", "or estimator='replay'"),
        (4, 300, 1, "group", "Group frequency is enough"),
        (8, 300, 1, "group", "34% of the groups of 8 miss one of 8 equal outcomes"),
        (128, None, 1, None, "short answers (for"),
    ],
)
def test_the_estimator_goes_by_visits_too(outcomes, tokens, visits, estimator, told):
    advice = advise(np.ones(outcomes), 8, answer_tokens=tokens, visits=visits)
    assert advice.estimator == estimator
    assert told in advice.recommendation
    with pytest.raises(InvalidInput, match="visits is 0"):
        advise(np.ones(outcomes), 8, visits=0)


def test_replay_is_told_in_visits():
    """Where larger groups are enough, as many visits are: they count together."""
    advice = advise(np.array([1.0, 1.0, 0.1]), 8, answer_tokens=300)
    needed = advice.needed_group_size
    assert (advice.estimator, needed) == ("replay", 20)
    assert "Over 3 visits it counts like groups of 20." in advice.recommendation


def test_a_million_outcomes_are_solved_by_level():
    """The same for each outcome of a level as for the level's own count, and no slower."""
    rewards = np.tile([1.0, 1.0, 0.5], 300_000)
    advice = advise(rewards, 64, success_above=0.7)
    p = np.array(advice.distribution)
    np.testing.assert_allclose(p, np.where(rewards == 1, 1 / 600_000, 0), rtol=1e-9)
    # f(p)/p is 64 for all of them, so that under IPS too the best are alone
    assert advice.wrong_as_published == 0
    few, many = np.array([1.0, 0.1]), np.array([1.0] * 40 + [0.1] * 200)
    p = stationary_distribution(few, 128, counts=np.array([40, 200]))
    assert_close(np.repeat(p, [40, 200]), stationary_distribution(many, 128), tolerance=1e-9)
    by_level = needed_group_size(few, counts=np.array([40, 200]))
    assert by_level == needed_group_size(many) == advise(many, 128).needed_group_size
    with pytest.raises(InvalidInput, match="1000001 outcomes"):
        advise(np.ones(1_000_001), 8)
    with pytest.raises(InvalidInput, match="10001 different rewards.*Round them"):
        advise(np.linspace(1, 2, 10_001), 8)


@pytest.mark.parametrize(
    ("rewards", "size", "eps", "told"),
    [
        ([1.0, 1.0, 0.1], 8, 0.0, "likelihood if .* else replay"),
        ([1.0, 1.0, 0.1], 8, 0.1, r"eps = 0\.1: lower it|eps = 0\.1 has no effect"),
        ([1.0, 2.0], 16, 0.05, r"eps = 0\.05 has no effect .*1/G = 0\.0625"),
        ([1.0] * 20, 4, 0.0, r"20 outcomes and groups of 4 .*= 0\.015"),  # 4 * 3 / (2 * 400)
    ],
    ids=["estimator", "eps", "no-effect", "large"],
)
def test_each_sentence_of_the_advice(rewards, size, eps, told):
    assert re.search(told, advise(np.array(rewards), size, eps=eps).recommendation)


@pytest.mark.parametrize(
    ("rewards", "size", "eps", "told"),
    [
        ([-1.0, -1.0], 8, 0.0, "right and rewarded"),
        ([0.0, 0.0], 8, 0.0, "at least one above 0"),
        ([], 8, 0.0, "at least one above 0"),
        ([1.0, np.nan], 8, 0.0, "finite"),
        ([1.0, 2.0], 0, 0.0, "group_size is 0"),
        ([1.0, 2.0], 8, 2.0, "eps is 2"),
    ],
)
def test_impossible_questions_are_refused(rewards, size, eps, told):
    with pytest.raises(InvalidInput, match=told):
        advise(np.array(rewards), size, eps=eps)


@pytest.mark.parametrize("rewards", [[1e308, 1e308], [1e-320, 1.0]], ids=str)
def test_rewards_at_the_ends_of_float64_keep_their_meaning(rewards):
    """Only their ratios matter."""
    advice = advise(np.array(rewards), 8)
    target = np.array(rewards) / max(rewards)
    target /= target.sum()
    distance = np.abs(np.array(advice.distribution) - target).sum()
    assert advice.floor_l1 == pytest.approx(distance, abs=1e-9)


def test_advice_of_wrong_answers_that_earn_something():
    rewards = np.array([1.2] + [0.2] * 9)  # correct + .2 for the format
    advice = advise(rewards, 16, success_above=1.0)
    as_published = stationary_distribution(rewards, 16)
    assert advice.wrong_as_published == pytest.approx(1 - as_published[0])
    assert (advice.distribution, advice.target) == ([1, *[0] * 9], [1, *[0] * 9])
    assert (advice.floor_l1, advice.extinct) == (0, [])
    assert "1 of 10 outcomes are right" in advice.recommendation
    assert "wrong ones keep a probability of 0.460: write success=1 in TRL" in advice.recommendation
    without = advise(rewards, 16)
    assert without.wrong_as_published is None
    assert "success" not in without.recommendation


@given(
    st.lists(st.floats(0, 5), min_size=2, max_size=6).filter(lambda rewards: max(rewards) > 0),
    st.integers(2, 32),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_below_a_threshold_on_the_reward_nothing_lives(rewards, size, eps):
    """C >= the best reward, for f(p) >= p; and that is a right one."""
    rewards = np.array(rewards)
    threshold = np.sort(rewards)[len(rewards) // 2]
    threshold = threshold if threshold < rewards.max() else 0.0
    right = rewards > threshold
    p = stationary_distribution(rewards, size, eps=eps, success=right)
    assert (p[~right] == 0).all()


def test_penalties_of_wrong_answers_need_success():
    advice = advise(np.array([1.0, 1.0, -0.5]), 8, success_above=0.0)
    assert advice.wrong_as_published is None
    assert_close(np.array(advice.distribution), np.array([0.5, 0.5, 0.0]))
    assert "refuses rewards below 0: write success=0 in TRL" in advice.recommendation


def test_right_outcomes_keep_their_floor():
    """.1 below C/G = 2.3/16 dies out beside two of 1, whatever wrong ones earn."""
    advice = advise(np.array([1, 1, 0.1, 0.05, 0.05]), 16, success_above=0.05)
    assert advice.extinct == [2]
    assert "1 of 3 right outcomes will die out" in advice.recommendation
    assert advice.needed_group_size == needed_group_size(np.array([1, 1, 0.1]))
    assert "die out with success, and also without" in advice.recommendation


@pytest.mark.parametrize("threshold", [1.2, 5.0, np.nan])
def test_a_threshold_above_all_rewards_is_refused(threshold):
    with pytest.raises(InvalidInput, match="no outcome is both right and rewarded"):
        advise(np.array([1.2, 0.2]), 8, success_above=threshold)


def test_no_group_is_enough_for_a_wrong_outcome_above_the_sum_of_right_ones():
    right = np.array([True, True, False])
    assert needed_group_size(np.array([1.0, 1.0, 2.5]), success=right) is None
    needed = needed_group_size(np.array([1.0, 1.0, 1.9]), success=right)
    assert needed is not None
    # it dies out iff 2 (1 - 2^-G) > 1.9, and .1 of total L1 is lost a little before
    assert needed in (4, 5)


# --- rewards as a user names them -----------------------------------------------------------------


def test_rewards_are_a_list_or_a_ratio():
    np.testing.assert_array_equal(parse_rewards("1, 1,0.1", None, 1.0), [1, 1, 0.1])
    np.testing.assert_array_equal(parse_rewards("2", None, 1.0), [2])
    np.testing.assert_array_equal(parse_rewards("1x2, 0.5,2 x 3", None, 1.0), [1, 1, 0.5, 2, 2, 2])
    spread = parse_rewards(None, 500, 20.0)
    assert spread.shape == (500,)
    assert spread[0] / spread[-1] == pytest.approx(20)
    np.testing.assert_allclose(spread[1:] / spread[:-1], 20 ** (-1 / 499))
    np.testing.assert_array_equal(parse_rewards(None, 3, 1.0), [1, 1, 1])
    np.testing.assert_array_equal(parse_rewards(None, 1, 5.0), [1])


@pytest.mark.parametrize(
    ("text", "outcomes", "ratio", "told"),
    [
        (None, None, 1.0, "--rewards 1,1,0.1 or --outcomes"),
        ("1,2", 2, 1.0, "name the outcomes once"),
        ("", None, 1.0, "not a list of numbers"),
        ("1,", None, 1.0, "not a list of numbers"),
        ("a,b", None, 1.0, "'a,b' is not a list"),
        ("1x0", None, 1.0, "at least once"),
        ("1x-2,1", None, 1.0, "at least once"),
        ("1x2.5", None, 1.0, "1x20,0.1x500"),
        ("1x", None, 1.0, "1x20,0.1x500"),
        ("1x600000,2x600000", None, 1.0, "at most 1000000"),
        (None, 1_000_001, 1.0, "1000000 if their rewards are equal"),
        (None, 10_001, 2.0, "Use 1 to 10000 outcomes"),
        (None, 0, 1.0, "Use 1 to 10000 outcomes"),
        (None, -3, 1.0, "Use 1 to 10000 outcomes"),
        (None, 3, 0.5, "ratio of 0.5"),
        (None, 3, np.nan, "ratio of nan"),
        (None, 3, np.inf, "ratio of inf"),
    ],
)
def test_unclear_rewards_are_refused(text, outcomes, ratio, told):
    with pytest.raises(InvalidInput, match=told):
        parse_rewards(text, outcomes, ratio)


def test_negative_rewards_are_those_of_wrong_outcomes():
    """IPS cannot scale them, so the advice is that of a reward above 0, and says what to write."""
    rewards = np.array([1.0, 1.0, -1.0])
    advice = advise(rewards, 8)
    assert advice == advise(rewards, 8, success_above=0.0)
    assert advice.target == [0.5, 0.5, 0.0]
    assert "IPS refuses rewards below 0: write success=0 in TRL" in advice.recommendation


def test_what_is_right_need_not_follow_from_a_mean():
    """Two of three samples above .8 make an outcome right whose mean is below."""
    advice = advise(np.array([2 / 3, 0.4]), 8, success_above=0.8, success=[True, False])
    assert advice.target == [1.0, 0.0]
    assert "1 of 2 outcomes are right" in advice.recommendation
