"""What a finite group does in expectation, what it does when drawn, and what a user is told."""

import itertools
import json
import re
from dataclasses import asdict, fields

import numpy as np
import pytest
from helpers import ENUMERATION, PRINTED_DIGITS, SIGMAS, assert_close

from ipsrl import group_advantage, ips_rewards, stationary_distribution
from ipsrl.core.floor import presence
from ipsrl.errors import InvalidInput
from ipsrl.grids import HyperGrid
from ipsrl.theory.groups import (
    Advice,
    advise,
    expected_update,
    needed_group_size,
    parse_rewards,
    simulate,
)

P, R = np.array([0.5, 0.3, 0.2]), np.array([1.0, 2.0, 0.7])
TWO_TO_ONE = np.array([1.0] * 6 + [2.0] * 2)


def by_enumeration(p, rewards, size, *, estimator, eps, baseline):
    """E[mean_g A_g (e_{o_g} - p)] over every group, by the functions that train."""
    total = np.zeros(len(p))
    for group in itertools.product(range(len(p)), repeat=size):
        ids = np.array(group)
        known = p[ids] if estimator == "exact" else None
        scaled = ips_rewards(rewards[ids], ids, p=known, eps=eps)
        advantages = group_advantage(scaled, baseline=baseline, scale="none").advantages
        total += p[ids].prod() * (advantages @ (np.eye(len(p))[ids] - p)) / size
    return total


@pytest.mark.parametrize("eps", [0.0, 0.25, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("baseline", ["none", "mean"])
@pytest.mark.parametrize("estimator", ["group", "exact"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_expected_update_is_the_mean_over_all_groups(size, estimator, baseline, eps):
    settings = {"estimator": estimator, "eps": eps, "baseline": baseline}
    for rewards in (R, np.array([1.0, 0.0, 3.0])):
        ours = expected_update(P, rewards, size, **settings)
        assert_close(ours, by_enumeration(P, rewards, size, **settings), tolerance=ENUMERATION)


def test_a_group_of_one_has_no_signal_beside_its_own_mean():
    assert_close(expected_update(P, R, 1, estimator="exact", baseline="mean"), np.zeros(3))
    with pytest.raises(InvalidInput, match="group_size is 1.*no signal"):
        expected_update(P, R, 1, baseline="mean")


def test_exact_probabilities_give_theorem_4_1():
    update = expected_update(P, R, 8, estimator="exact", baseline="none")
    assert_close(update, R - P * R.sum())
    assert_close(expected_update(R / R.sum(), R, 8, estimator="exact"), np.zeros(3))


def test_by_hand():
    # G = 2, mean: N = 1, f(p) = p, so IPS on groups of two is expected return:
    # p = (1/2, 1/2), r = (1, 3): gain (1/2, 3/2), total 2, u = (1/2 - 1, 3/2 - 1)
    update = expected_update(np.array([0.5, 0.5]), np.array([1.0, 3.0]), 2, baseline="mean")
    assert_close(update, np.array([-0.5, 0.5]))


def test_unknown_estimators_are_refused():
    with pytest.raises(InvalidInput, match="'magic'.*'group' or 'exact'"):
        expected_update(P, R, 4, estimator="magic")


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("baseline", ["none", "mean"])
@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_stationary_distribution_is_not_moved(size, baseline, eps):
    for rewards in (R, TWO_TO_ONE, np.array([0.02, 1.0, 0.0, 2.5])):
        rest = stationary_distribution(rewards, size, eps=eps, baseline=baseline)
        update = expected_update(rest, rewards, size, eps=eps, baseline=baseline)
        # Bisections of p and C to about 1e-15; where p < eps, f(p)/p is nearly flat, and p loses
        # six digits more.
        assert np.abs(update).max() < 1e-8
        elsewhere = 0.9 * rest + 0.1 / len(rest)
        moved = expected_update(elsewhere, rewards, size, eps=eps, baseline=baseline)
        assert np.abs(moved).max() > 1e-4


# --- simulation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "factor"), [("none", 1.0), ("mean", 1.0), ("leave-one-out", 4 / 3)]
)
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_one_simulated_step_is_the_expected_update(baseline, factor, eps):
    """Two iterations: the average over the second half is the policy after one step from uniform.

    log p has then moved by lr u, up to a common shift; over many seeds the mean of u is exact.
    """
    lr, seeds = 0.5, 20_000
    p = simulate(
        R, 4, eps=eps, baseline=baseline, scale="none", lr=lr, iterations=2, groups=2, seeds=seeds
    )
    log_p = np.log(p.astype(float))
    drawn = (log_p - log_p.mean(-1, keepdims=True)) / lr
    uniform = np.full(3, 1 / 3)
    form = "none" if baseline == "none" else "mean"
    expected = factor * expected_update(uniform, R / R.sum(), 4, eps=eps, baseline=form)
    error = drawn.std(0, ddof=1) / np.sqrt(seeds)
    assert (np.abs(drawn.mean(0) - expected) < SIGMAS * error).all()
    # and this is enough to see a wrong one
    assert (error < np.abs(expected).max() / 30).all()


@pytest.mark.parametrize(
    ("baseline", "low", "high"), [("none", 0.068, 0.297), ("mean", 0.060, 0.319)]
)
def test_training_stays_where_the_closed_form_says(baseline, low, high):
    """Six outcomes of reward 1 and two of 2, G = 8; the numbers are printed in docs/theory.md."""
    predicted = stationary_distribution(TWO_TO_ONE, 8, baseline=baseline)
    expected = np.array([low] * 6 + [high] * 2)
    assert np.abs(predicted - expected).max() < 2 * PRINTED_DIGITS  # .0605 is printed as .060
    seeds = 8
    p = simulate(
        TWO_TO_ONE, 8, baseline=baseline, scale="none", lr=0.2, iterations=6000, seeds=seeds
    )
    assert p.shape == (seeds, 8)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    better = p[:, 6:].sum(-1)
    error = better.std(ddof=1) / np.sqrt(seeds)
    assert abs(better.mean() - predicted[6:].sum()) < SIGMAS * error
    assert error < 0.002  # 2 * .297 and 2 * .319 lie further apart, and the target .4 further still


def test_a_simulation_is_repeated_by_its_seed():
    settings = {"iterations": 20, "seeds": 3, "groups": 2}
    first = simulate(R, 4, seed=5, **settings)
    np.testing.assert_array_equal(first, simulate(R, 4, seed=5, **settings))
    shifted = simulate(R, 4, seed=6, **settings)
    # batched float32 sums may differ in the last bits
    np.testing.assert_allclose(first[1:], shifted[:-1], rtol=1e-5)
    assert (first[0] != first[1]).any()
    np.testing.assert_allclose(simulate(1000 * R, 4, seed=5, **settings), first, rtol=1e-4)


def test_a_single_iteration_gives_a_distribution():
    p = simulate(R, 4, iterations=1, seeds=2)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)


# --- the group that is needed ---------------------------------------------------------------------


def enough(rewards, size, *, eps, target_l1):
    p = stationary_distribution(rewards, size, eps=eps)
    return (p[rewards > 0] > 0).all() and np.abs(p - rewards / rewards.sum()).sum() <= target_l1


@pytest.mark.parametrize(
    ("rewards", "eps", "target_l1"),
    [
        ([1.0, 2.0], 0.0, 0.1),
        ([1.0, 2.0], 0.0, 0.001),
        (TWO_TO_ONE, 0.0, 0.1),
        (TWO_TO_ONE, 0.0, 0.01),
        ([1.0, 1.0, 0.1], 0.0, 0.1),
        ([1.0, 1.0, 0.1, 0.0], 0.02, 0.1),
        ([1.0, 0.5, 0.25], 0.1, 0.05),
    ],
)
def test_the_needed_group_is_the_smallest(rewards, eps, target_l1):
    rewards = np.array(rewards)
    needed = needed_group_size(rewards, eps=eps, target_l1=target_l1)
    assert needed is not None
    assert needed > 1
    sufficient = [enough(rewards, n, eps=eps, target_l1=target_l1) for n in range(1, needed + 1)]
    assert sufficient == [False] * (needed - 1) + [True]


@pytest.mark.parametrize(
    ("rewards", "eps", "target_l1", "sizes"),
    [
        (np.array([1.0] * 6 + [1.1] * 2), 0.2, 0.11, {5, 6}),
        (np.array([1.0, 1.2, 1.4]), 0.4, 0.3, {3}),
    ],
)
def test_under_a_clip_a_larger_group_may_be_worse(rewards, eps, target_l1, sizes):
    """Above 1/G the clip bites harder as G grows, so only a window of sizes is enough."""
    brute = {n for n in range(1, 33) if enough(rewards, n, eps=eps, target_l1=target_l1)}
    assert brute == sizes
    assert needed_group_size(rewards, eps=eps, target_l1=target_l1) == min(sizes)


def test_groups_of_one_are_never_called_enough():
    """With equal rewards they rest anywhere, and beside their own mean they have no signal."""
    needed = needed_group_size(np.ones(5))
    assert needed is not None
    assert needed >= 2


def test_no_group_helps_when_the_clip_lies_above_the_least_share():
    """Target shares 10/21, 10/21, 1/21 and eps = .2: the least one cannot be told from .2."""
    assert needed_group_size(np.array([1.0, 1.0, 0.1]), eps=0.2) is None


@pytest.mark.parametrize("target_l1", [0.0, -1.0, np.nan])
def test_an_unreachable_distance_is_refused(target_l1):
    with pytest.raises(InvalidInput, match="target_l1"):
        needed_group_size(R, target_l1=target_l1)


# --- advice ---------------------------------------------------------------------------------------


def test_advice_is_an_object_of_plain_values():
    advice = advise(np.array([1.0, 1.0, 0.1]), 16)
    names = ["distribution", "floor_l1", "extinct", "needed_group_size", "recommendation"]
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
    ("rewards", "size", "eps", "told"),
    [
        ([1.0, 1.0, 0.1], 8, 0.0, "by likelihood .* else by replay"),
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
        ([1.0, -1.0], 8, 0.0, "non-negative"),
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


# --- rewards as a user names them -----------------------------------------------------------------


def test_rewards_are_a_list_or_a_ratio():
    np.testing.assert_array_equal(parse_rewards("1, 1,0.1", None, 1.0), [1, 1, 0.1])
    np.testing.assert_array_equal(parse_rewards("2", None, 1.0), [2])
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
        ("", None, 1.0, "no list of numbers"),
        ("1,", None, 1.0, "no list of numbers"),
        ("a,b", None, 1.0, "'a,b' is no list"),
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
