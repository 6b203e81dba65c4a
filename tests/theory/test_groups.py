"""What a finite group does in expectation, and what it does when drawn."""

import itertools

import numpy as np
import pytest
from helpers import ENUMERATION, PRINTED_DIGITS, SIGMAS, assert_close

from ipsrl import Exact, GroupFrequency, Replay, stationary_distribution
from ipsrl.core.group import Group
from ipsrl.core.methods import GRPO, IPS
from ipsrl.errors import InvalidInput
from ipsrl.theory.groups import expected_update, needed_group_size, simulate, trace

P, R = np.array([0.5, 0.3, 0.2]), np.array([1.0, 2.0, 0.7])
TWO_TO_ONE = np.array([1.0] * 6 + [2.0] * 2)


def by_enumeration(p, rewards, size, *, estimator, eps, baseline, success=None):
    """E[mean_g A_g (e_{o_g} - p)] over every group, by the method that trains."""
    total = np.zeros(len(p))
    method = IPS(eps=eps, baseline=baseline, scale="none")
    for group in itertools.product(range(len(p)), repeat=size):
        ids = np.array(group)
        known = p[ids] if estimator == "exact" else None
        right = None if success is None else success[ids]
        evidence = Group(rewards=rewards[ids], ids=ids, p=known, success=right)
        advantages = method(evidence).advantages
        total += p[ids].prod() * (advantages @ (np.eye(len(p))[ids] - p)) / size
    return total


@pytest.mark.parametrize("eps", [0.0, 0.25, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("baseline", ["none", "mean"])
@pytest.mark.parametrize("estimator", ["group", "exact"])
@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("success", [None, np.array([True, False, True])], ids=["all", "some"])
def test_the_expected_update_is_the_mean_over_all_groups(size, estimator, baseline, eps, success):
    settings = {"estimator": estimator, "eps": eps, "baseline": baseline, "success": success}
    few = [R, np.array([1.0, 0.0, 3.0])]
    for rewards in few if success is None else [*few, np.array([1.0, -2.0, 3.0])]:
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
    some = np.array([True, True, False, False])
    for rewards, success in (
        (R, None),
        (TWO_TO_ONE, None),
        (np.array([0.02, 1.0, 0.0, 2.5]), None),
        (np.array([0.5, 1.0, 0.2, 0.8]), some),  # wrong ones die out
        (np.array([0.5, 1.0, 0.2, 1.7]), some),  # the better one lives
    ):
        settings = {"eps": eps, "baseline": baseline, "success": success}
        rest = stationary_distribution(rewards, size, **settings)
        update = expected_update(rest, rewards, size, **settings)
        # Bisections of p and C to about 1e-15; where p < eps, f(p)/p is nearly flat, and p loses
        # six digits more.
        assert np.abs(update).max() < 1e-8
        elsewhere = 0.9 * rest + 0.1 / len(rest)
        moved = expected_update(elsewhere, rewards, size, **settings)
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
    method = IPS(eps=eps, baseline=baseline, scale="none")
    p = simulate(R, 4, method, lr=lr, iterations=2, groups=2, seeds=seeds)
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
    method = IPS(baseline=baseline, scale="none")
    p = simulate(TWO_TO_ONE, 8, method, lr=0.2, iterations=6000, seeds=seeds)
    assert p.shape == (seeds, 8)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    better = p[:, 6:].sum(-1)
    error = better.std(ddof=1) / np.sqrt(seeds)
    assert abs(better.mean() - predicted[6:].sum()) < SIGMAS * error
    assert error < 0.002  # 2 * .297 and 2 * .319 lie further apart, and the target .4 further still


def test_a_simulation_is_repeated_by_its_seed():
    settings = {"iterations": 20, "seeds": 3, "groups": 2}
    first = simulate(R, 4, IPS(), seed=5, **settings)
    np.testing.assert_array_equal(first, simulate(R, 4, IPS(), seed=5, **settings))
    shifted = simulate(R, 4, IPS(), seed=6, **settings)
    # batched float32 sums may differ in the last bits
    np.testing.assert_allclose(first[1:], shifted[:-1], rtol=1e-5)
    assert (first[0] != first[1]).any()
    np.testing.assert_allclose(simulate(1000 * R, 4, IPS(), seed=5, **settings), first, rtol=1e-4)


def test_a_trace_is_the_simulation_on_its_way():
    settings = {"seeds": 3, "groups": 2, "lr": 0.3, "start": P}
    way = trace(R, 4, IPS(), every=1, points=9, **settings)
    assert way.shape == (3, 9, 3)
    np.testing.assert_allclose(way[:, 0], np.tile(P, (3, 1)), rtol=1e-5)
    for steps in (3, 9):  # the policy before the last of them; batched float32 sums
        end = simulate(R, 4, IPS(), iterations=9, averaged=9 - steps + 1, **settings)
        np.testing.assert_allclose(way[:, steps - 1 :].mean(1), end, rtol=1e-5)
    apart = trace(R, 4, IPS(), every=4, points=2, **settings)
    assert apart.shape == (3, 2, 3)
    assert (apart[:, 1] != apart[:, 0]).all()


def test_an_estimator_of_the_simulation_is_the_one_that_trains():
    """With exact p the mean of one step is `expected_update`, and a replay of one batch counts."""
    lr, seeds = 0.5, 5_000
    settings = {"every": 1, "points": 2, "lr": lr, "seeds": seeds, "start": P}
    method = IPS(scale="none")
    p = trace(R, 4, method, estimator=Exact(), **settings).astype(float)
    moved = np.log(p[:, 1] / p[:, 0]) / lr
    drawn = moved - moved.mean(-1, keepdims=True)
    expected = expected_update(P, R / R.sum(), 4, estimator="exact")
    error = drawn.std(0, ddof=1) / np.sqrt(seeds)
    assert (np.abs(drawn.mean(0) - expected) < SIGMAS * error).all()
    counted = expected_update(P, R / R.sum(), 4)
    assert (np.abs(expected - counted) > 2 * SIGMAS * error).any()  # these can be told apart
    settings |= {"points": 20, "seeds": 3}
    count = trace(R, 4, IPS(), estimator=GroupFrequency(), **settings)
    np.testing.assert_allclose(count, trace(R, 4, IPS(), **settings), rtol=1e-5)
    np.testing.assert_allclose(
        count, trace(R, 4, IPS(), estimator=Replay(1), **settings), rtol=1e-5
    )
    longer = trace(R, 4, IPS(), estimator=Replay(4), **settings)
    np.testing.assert_allclose(longer[:, :2], count[:, :2], rtol=1e-5)  # there is no history yet
    assert (np.abs(longer[:, 5:] - count[:, 5:]) > 1e-3).any()


def test_history_is_weighed_by_the_policy_of_now():
    """Replay of many batches of a policy that moves fast rests where exact p rests: at r / Z."""
    settings = {"every": 400, "points": 6, "lr": 0.3, "seeds": 10, "start": P}
    p = trace(R, 4, IPS(scale="none"), estimator=Replay(64), **settings)[:, 3:].mean((0, 1))
    counted = trace(R, 4, IPS(scale="none"), **settings)[:, 3:].mean((0, 1))
    # .05: noise of the last steps
    assert np.abs(p - R / R.sum()).max() < 0.05 < np.abs(counted - R / R.sum()).max()


def test_a_verifier_that_errs_pays_its_part():
    """Without baseline the mean step is that of all rewards, times the part that is paid."""
    settings = {"every": 1, "points": 2, "lr": 0.5, "seeds": 5_000, "start": P}
    moved = []
    for paid in (1.0, 0.25):
        p = trace(R, 4, GRPO(scale="none", baseline="none"), paid=paid, **settings).astype(float)
        step = np.log(p[:, 1] / p[:, 0])
        moved.append(step - step.mean(-1, keepdims=True))
    error = moved[1].std(0, ddof=1) / np.sqrt(5_000)
    assert (np.abs(moved[1].mean(0) - moved[0].mean(0) / 4) < SIGMAS * error).all()
    assert (np.abs(moved[0].mean(0)) > 2 * SIGMAS * error).any()


def test_a_single_iteration_gives_a_distribution():
    p = simulate(R, 4, IPS(), iterations=1, seeds=2)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)


# Ten answers; wrong ones earn something.  Rewards, and which are right.
ONE, THREE = np.arange(10) < 1, np.arange(10) < 3
CASES = {
    "correct + .2 format": (np.where(ONE, 1.2, 0.2), ONE),
    "wrong .1": (np.where(ONE, 1.0, 0.1), ONE),
    "three correct + 1 format": (np.where(THREE, 2.0, 1.0), THREE),
}


@pytest.mark.parametrize("name", CASES)
def test_without_success_wrong_answers_keep_what_the_closed_form_says(name):
    """No standard deviation, which the closed form does not cover; G = 16, from uniform."""
    rewards, right = CASES[name]
    method, seeds = IPS(scale="none"), 4
    p = simulate(rewards, 16, method, lr=1.0, iterations=1200, seeds=seeds)
    wrong = p[:, ~right].sum(-1)
    expected = stationary_distribution(rewards, 16, baseline="mean")[~right].sum()
    error = wrong.std(ddof=1) / np.sqrt(seeds)
    # .002: a step of 1 has a bias of second order, .0006 with 4000 steps and 8 seeds
    assert abs(wrong.mean() - expected) < SIGMAS * error + 0.002
    # and this tells the rest point from the target: they are .112 to .259 apart
    assert error < 0.004


def test_with_success_the_right_answers_share_everything():
    rewards, right = CASES["three correct + 1 format"]
    p = simulate(rewards, 16, IPS(), success=right, lr=0.2, iterations=600, averaged=300, seeds=4)
    # d log p_w/dt is proportional to p_w: wrong ones fall like 1/t and are not gone.
    assert (p[:, ~right].sum(-1) < 0.02).all()
    np.testing.assert_allclose(p[:, right], 1 / 3, atol=0.05)  # noise of a step, see docs/theory.md
    without = simulate(rewards, 16, GRPO(), lr=0.2, iterations=600, averaged=300, seeds=4)
    assert (without[:, right].min(-1) < 0.25).all()  # what success keeps, GRPO loses


def test_a_wrong_answer_that_earns_more_than_all_right_ones_lives():
    """A verifier that disagrees with the reward: C = r_w, and right ones leave the rest."""
    rewards, success = np.array([1.0, 0.8, 2.5, 1.0]), np.array([True, True, False, False])
    predicted = stationary_distribution(rewards, 16, baseline="mean", success=success)
    assert predicted[2] > 0.2
    method, seeds = IPS(scale="none"), 4
    p = simulate(rewards, 16, method, success=success, lr=1.0, iterations=2000, seeds=seeds)
    error = p.std(0, ddof=1) / np.sqrt(seeds)
    # .02: the lesser wrong one falls like 1/t, and is not gone
    assert (np.abs(p.mean(0) - predicted) < SIGMAS * error + 0.02).all()
    assert (error < 0.01).all()


def test_with_one_right_answer_success_is_grpo():
    """A group has two rewards then, and a standard deviation takes their size away."""
    rewards, success = CASES["correct + .2 format"]
    settings = {"lr": 0.2, "iterations": 151, "averaged": 1, "groups": 8, "seeds": 4}
    ours = simulate(rewards, 16, IPS(), success=success, **settings)
    grpo = simulate(rewards, 16, GRPO(), **settings)
    # std_eps beside the deviation .1 of rewards of sum 1: a part in a thousand of each step
    np.testing.assert_allclose(ours, grpo, atol=0.005)
    assert (ours[:, 0] > 0.95).all()


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
