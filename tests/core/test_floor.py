import itertools
import math
import os

import numpy as np
import pytest
from helpers import ENUMERATION, PRINTED_DIGITS, assert_close, peak_memory, steps
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ipsrl import (
    floor_l1,
    group_advantage,
    ips_rewards,
    minority_survives,
    stationary_distribution,
)
from ipsrl.core.floor import clip_is_noop, presence, target_distribution
from ipsrl.core.group import Group
from ipsrl.core.methods import IPS
from ipsrl.errors import InvalidInput


def hypergrid_rewards(dimensions, side):
    """Rewards of the hyper-grid with R0 = .1, in integers up to the last step.

    With a = |2 x - (side - 1)|:  |x/(side-1) - 1/2| > 1/4  iff  2 a > side - 1,  and
    3/10 < |x/(side-1) - 1/2| < 4/10  iff  3 (side - 1) < 5 a < 4 (side - 1).
    """
    n = side - 1
    a = [abs(2 * x - n) for x in range(side)]
    outer = [2 * v > n for v in a]
    ring = [3 * n < 5 * v < 4 * n for v in a]
    cells = itertools.product(range(side), repeat=dimensions)
    tenths = [1 + 5 * all(outer[x] for x in c) + 20 * all(ring[x] for x in c) for c in cells]
    return np.array(tenths) / 10


GRIDS = {"8x8": (2, 8), "16x16": (2, 16), "20x20": (2, 20), "8^3": (3, 8), "8^4": (4, 8)}
FLOORS = {
    "8x8": {16: 1.071, 64: 0.429, 256: 0.220, 1024: 0.004},
    "16x16": {16: 1.683, 64: 0.585, 256: 0.585, 1024: 0.138},
    "20x20": {16: 1.318, 64: 1.318, 256: 0.492, 1024: 0.412},
    "8^3": {16: 1.581, 64: 0.903, 256: 0.903, 1024: 0.342},
    "8^4": {16: 1.854, 64: 1.854, 256: 1.348, 1024: 1.348},
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("size", [16, 64, 256, 1024])
def test_floor_of_the_hyper_grids(grid, size):
    floor = floor_l1(hypergrid_rewards(*GRIDS[grid]), size)
    assert abs(floor - FLOORS[grid][size]) < PRINTED_DIGITS


@pytest.mark.parametrize(
    ("eps", "floor"), [(0.004, 0.230), (0.01, 0.429), (0.02, 0.429), (0.05, 0.805), (0.1, 1.071)]
)
def test_floor_under_a_clip(eps, floor):
    assert abs(floor_l1(hypergrid_rewards(2, 8), 256, eps=eps) - floor) < PRINTED_DIGITS


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [(4, 0.011, 0.467), (8, 0.068, 0.297), (16, 0.091, 0.228), (32, 0.099, 0.204), (64, 0.1, 0.2)],
)
def test_two_to_one_rewards(size, low, high):
    p = stationary_distribution(np.array([1.0] * 6 + [2.0] * 2), size)
    assert np.abs(p - np.array([low] * 6 + [high] * 2)).max() < PRINTED_DIGITS


# The closed form is the expected update.


def expected_update(rewards, p, size, *, eps, baseline):
    """E sum_g A_g grad log p(o_g) with respect to the logits, over all groups of this size."""
    total = np.zeros(len(p))
    for group in itertools.product(range(len(p)), repeat=size):
        ids = np.array(group)
        scaled = ips_rewards(rewards[ids], ids, eps=eps)
        advantages = group_advantage(scaled, baseline=baseline, scale="none").advantages
        total += p[ids].prod() * (advantages @ (np.eye(len(p))[ids] - p))
    return total


def closed_form(rewards, p, size, *, eps):
    f = presence(p, size, eps=eps)
    return rewards * f - p * (rewards @ f)


P, R = np.array([0.5, 0.3, 0.2]), np.array([1.0, 2.0, 0.7])


@pytest.mark.parametrize("eps", [0.0, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_expected_update_without_baseline(size, eps):
    """G [r f(p) - p sum r f(p)], over all 9, 27 and 81 groups."""
    update = expected_update(R, P, size, eps=eps, baseline="none")
    assert_close(update, size * closed_form(R, P, size, eps=eps), tolerance=ENUMERATION)


@pytest.mark.parametrize(("baseline", "factor"), [("mean", 1.0), ("leave-one-out", 1.5)])
@pytest.mark.parametrize("eps", [0.0, 0.5, 0.8])
def test_expected_update_with_a_baseline_of_the_group(baseline, factor, eps):
    """A baseline from the group takes one member away: the closed form of G - 1, times G.

    With w(n) = min(1, n/(eps G)), the baseline is sum_j r_j w(n_j) and multiplies n_i.  From
    E[n_i w(n_j)] = G p_i E[w(m)], m ~ Binomial(G - 1, p_j), and E[n_i w(n_i)] = G p_i E[w(1 + m)]
    every r_i (E[w(n_i)] - p_i E[w(1 + m)]) = r_i (1 - p_i) E[w(m)].  Leave-one-out: G/(G - 1) more.
    """
    update = expected_update(R, P, 3, eps=eps, baseline=baseline)
    f = presence(P, 3, eps=eps, baseline="mean")
    assert_close(update, factor * 3 * (R * f - P * (R @ f)), tolerance=ENUMERATION)


def test_a_baseline_decides_over_small_groups():
    """Two-to-one, G = 4: the lesser dies out with the mean as baseline, and not without.

    N = 3: the six outcomes of .1 need C < .1 N = .3, but the two of .2 alone rest at p = 1/2 with
    C = .2 (1 - 1/8) / (1/2) = .35.
    """
    rewards = np.array([0.1] * 6 + [0.2] * 2)
    with_mean = stationary_distribution(rewards, 4, baseline="mean")
    assert_close(with_mean, np.array([0.0] * 6 + [0.5] * 2))
    assert stationary_distribution(rewards, 4).min() > 0.01
    with pytest.raises(InvalidInput, match="2 to be compared"):
        stationary_distribution(rewards, 1, baseline="mean")


# Presence.


@pytest.mark.parametrize(
    ("size", "eps"), [(1, 0), (4, 0), (4, 0.25), (5, 0.3), (16, 0.5), (9, 1.0)]
)
def test_presence_against_the_binomial_sum(size, eps):
    p = np.array([0.0, 1e-9, 0.03, 0.5, 0.97, 1.0])
    expected = [
        sum(
            math.comb(size, n) * q**n * (1 - q) ** (size - n) * min(1, n / max(eps * size, 1))
            for n in range(1, size + 1)
        )
        for q in p
    ]
    assert_close(presence(p, size, eps=eps), np.array(expected))


def test_presence_of_rare_outcomes_is_relatively_exact():
    # 1 - (1 - p)^G = G p (1 - ...): a difference from 1 would leave nothing of p = 1e-20
    assert abs(presence(np.array(1e-20), 8) / 8e-20 - 1) < 1e-12


def test_presence_of_a_large_group_does_not_overflow():
    f = presence(np.array([0.0, 1e-6, 0.1, 0.2, 0.5, 1.0]), 65_536, eps=0.2)
    # Far below the clip f = p / eps; far above it f = 1.
    assert_close(f[[0, 1, 2]], [0, 5e-6, 0.5], tolerance=1e-9)
    assert_close(f[4:], [1, 1], tolerance=1e-9)
    assert 0.99 < f[3] < 1


def test_larger_groups_take_no_more_steps():
    """Nor a bit of memory that grows faster than the group."""
    rewards, p = [0.1] * 6 + [0.3] * 2, np.array([0.0, 1e-6, 0.1, 0.5, 1.0])
    for run in (
        lambda size: presence(p, size, eps=0.2),
        lambda size: floor_l1(rewards, size, eps=0.2),
    ):
        run(8)  # the first call imports
        assert steps(lambda run=run: run(4096)) <= 1.2 * steps(lambda run=run: run(64))
        assert peak_memory(lambda run=run: run(4096)) < 8 * 8 * 4096  # a few arrays of it
    # 60 halvings for the constant, 60 for p within each, and some 25 steps for a value of f; where
    # `make mutation` looks, its switch takes several more in every call.
    most = 5_000_000 if "MUTANT_UNDER_TEST" in os.environ else 500_000
    assert steps(lambda: floor_l1(rewards, 4096, eps=0.2)) < most


# The stationary distribution.


@pytest.mark.parametrize(("size", "eps"), [(4, 0.0), (16, 0.0), (64, 0.0), (16, 0.2)])
def test_it_is_a_rest_point(size, eps):
    r = np.array([0.05, 1.0, 1.0, 2.0, 3.5])
    p = stationary_distribution(r, size, eps=eps)
    assert abs(p.sum() - 1) < ENUMERATION
    assert np.abs(closed_form(r, p, size, eps=eps)).max() < 1e-9  # bisection to 2^-60, then 1e-12 C


@pytest.mark.parametrize(("size", "eps"), [(4, 0.0), (8, 0.0), (16, 0.0), (64, 0.0), (32, 0.2)])
def test_outcomes_below_c_over_g_go_extinct_and_no_others(size, eps):
    r = np.array([0.02, 0.1, 0.3, 1.0, 2.0, 3.0])
    p = stationary_distribution(r, size, eps=eps)
    alive = p > 0
    c = (r[alive] * presence(p[alive], size, eps=eps) / p[alive]).max()
    limit = c / min(size, 1 / eps if eps else size)
    # An outcome at the limit itself (r = 1 under eps = .2) is kept out of the comparison.
    clear = np.abs(r / limit - 1) > 1e-3
    assert (alive == (r >= limit))[clear].all()
    assert clear.sum() >= 5
    assert alive.any()
    if size == 4:
        assert not alive.all()


def test_equal_rewards_give_uniform():
    for size, eps in [(1, 0.0), (2, 0.0), (16, 0.0), (16, 0.5)]:
        p = stationary_distribution(np.full(7, 0.3), size, eps=eps)
        assert_close(p, np.full(7, 1 / 7))
        assert floor_l1(np.full(7, 0.3), size, eps=eps) < 1e-12


def test_groups_of_one_give_everything_to_the_best():
    assert_close(stationary_distribution([1.0, 3.0, 2.0], 1), np.array([0, 1, 0]))


def test_large_groups_reach_the_target():
    r = np.array([1.0, 2.0, 5.0])
    floors = [floor_l1(r, size) for size in (4, 8, 16, 32, 64, 128)]
    assert floors == sorted(floors, reverse=True)
    assert floors[0] > 0.1
    assert floors[-1] < 1e-6


def test_a_clip_only_raises_the_floor():
    r = np.array([0.1] * 6 + [2.0] * 2)
    floors = [floor_l1(r, 64, eps=eps) for eps in (0.0, 1 / 64, 0.05, 0.1, 0.3, 1.0)]
    assert floors[0] == floors[1]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(floors))
    assert floors[-1] > floors[0] + 0.1


def test_order_and_unit_of_rewards_do_not_matter():
    r = np.array([0.5, 1.0, 2.0, 4.0])
    p = stationary_distribution(r, 8)
    assert_close(stationary_distribution(r[::-1], 8), p[::-1])
    np.testing.assert_allclose(stationary_distribution(1000 * r, 8), p, atol=1e-9)


def test_two_outcomes_by_hand():
    # G = 2: f(p)/p = 2 - p.  At rest 1 (2 - p1) = 1.5 (2 - p2) = 1.5 (1 + p1), so p1 = .5/2.5 = .2
    assert_close(stationary_distribution([1.0, 1.5], 2), np.array([0.2, 0.8]), tolerance=1e-9)


@pytest.mark.promise(number=4)
@pytest.mark.parametrize("rewards", [[], [0.0, 0.0], [1.0, -1.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_bad_rewards_are_refused(rewards):
    with pytest.raises(InvalidInput, match="finite and non-negative, with at least one above 0"):
        stationary_distribution(rewards, 8)


def test_bad_groups_and_clips_are_refused():
    with pytest.raises(InvalidInput, match="group_size is 0.*at least 1 member"):
        stationary_distribution([1.0, 2.0], 0)
    for size in (1.5, -1, math.nan, math.inf):
        with pytest.raises(InvalidInput, match=f"group_size is {size}"):
            presence(0.5, size)
    for eps in (-0.1, 1.5, math.nan):
        with pytest.raises(InvalidInput, match=f"eps is {eps}"):
            stationary_distribution([1.0, 2.0], 4, eps=eps)
    with pytest.raises(InvalidInput, match="baseline is 'median'.*'none' or 'mean'"):
        presence(0.5, 4, baseline="median")


@pytest.mark.parametrize("p", [-0.1, 1.1, 3.0, math.nan, math.inf])
def test_presence_of_what_is_not_a_probability_is_refused(xp, p):
    with pytest.raises(InvalidInput, match=r"outside \[0, 1\]"):
        presence(xp.floats([0.5, p]), 8)


def test_complex_numbers_are_refused(xp):
    wrong = xp.of([0.5, 0.5j], "complex64")
    for function in (presence, stationary_distribution, floor_l1):
        with pytest.raises(InvalidInput, match="complex64.*real numbers"):
            function(wrong, 8)


def test_the_floor_of_rewards_whose_sum_overflows():
    r = np.array([1.0, 0.5, 0.25])
    assert_close(floor_l1(1.7e308 * r, 8), floor_l1(r, 8))
    assert floor_l1(r, 8) > 0.01


# Success: only right outcomes are scaled.

RIGHT = np.array([True, True, False])


@pytest.mark.parametrize("eps", [0.0, 0.5, 0.8])
@pytest.mark.parametrize(("baseline", "trials"), [("none", 3), ("mean", 2)])
def test_expected_update_with_success(baseline, trials, eps):
    """A wrong outcome brings a group r_w p_w N/G, whatever the clip: by the method, all 27 groups.

    The baseline takes one member away from any contribution w(n), so also from w(n) = n/G.
    """
    method = IPS(eps=eps, baseline=baseline, scale="none")
    total = np.zeros(3)
    for group in itertools.product(range(3), repeat=3):
        ids = np.array(group)
        evidence = Group(rewards=R[ids], ids=ids, success=RIGHT[ids])
        total += P[ids].prod() * (method(evidence).advantages @ (np.eye(3)[ids] - P))
    f = presence(P, 3, eps=eps, baseline=baseline)
    gain = R * np.where(RIGHT, f, P * trials / 3)
    assert_close(total, 3 * (gain - P * gain.sum()), tolerance=ENUMERATION)


REWARDS = st.lists(st.floats(0.01, 5), min_size=2, max_size=6)
SOLVING = hypothesis_settings(max_examples=25)  # of .1 to .4 s, new ones in every run
SETTINGS = st.fixed_dictionaries(
    {"eps": st.sampled_from([0.0, 0.1]), "baseline": st.sampled_from(["none", "mean"])}
)


@SOLVING
@given(REWARDS, st.integers(2, 32), SETTINGS)
def test_success_of_all_is_no_success(rewards, size, settings):
    every = np.ones(len(rewards), bool)
    p = stationary_distribution(rewards, size, success=every, **settings)
    np.testing.assert_array_equal(p, stationary_distribution(rewards, size, **settings))


@SOLVING
@given(REWARDS, st.integers(1, 3), st.integers(2, 32), SETTINGS)
def test_wrong_outcomes_without_reward_change_nothing(rewards, wrong, size, settings):
    """They are not scaled, but there is nothing to scale."""
    all_rewards = [*rewards, *[0.0] * wrong]
    right = [True] * len(rewards) + [False] * wrong
    p = stationary_distribution(all_rewards, size, success=right, **settings)
    assert_close(p, stationary_distribution(all_rewards, size, **settings))


@SOLVING
@given(REWARDS, REWARDS, st.integers(2, 32), SETTINGS, st.floats(1e-3, 1e3))
def test_with_success_it_is_a_rest_point_that_nothing_leaves(right, wrong, size, settings, unit):
    """u = 0; nobody who is absent grows; and only the ratios of rewards matter."""
    r, success = np.array(right + wrong), np.arange(len(right + wrong)) < len(right)
    p = stationary_distribution(r, size, success=success, **settings)
    assert abs(p.sum() - 1) < ENUMERATION
    f = presence(p, size, **settings)
    trials = size - (settings["baseline"] == "mean")
    gain = r * np.where(success, f, p * trials / size)
    # Bisections of p and C to about 1e-15; where p < eps, f(p)/p is flatter than 1 by up to 1e6
    # (eps G = 3.2), and p loses as many digits.
    assert np.abs(gain - p * gain.sum()).max() < 1e-7
    most = r * np.where(success, trials / max(1, settings["eps"] * size), trials / size)
    assert (most[p == 0] <= gain.sum() * (1 + 1e-6)).all()
    rescaled = stationary_distribution(unit * r, size, success=success, **settings)
    assert np.abs(rescaled - p).max() < 1e-6  # as above: r / max r is rounded


@SOLVING
@given(REWARDS, st.lists(st.floats(-5, 0), min_size=1, max_size=3), st.integers(2, 32), SETTINGS)
def test_a_penalty_is_as_good_as_no_reward(rewards, penalties, size, settings):
    """Wrong outcomes may earn less than 0, which is not scaled; right ones rest where they did."""
    right = [True] * len(rewards) + [False] * len(penalties)
    p = stationary_distribution(rewards + penalties, size, success=right, **settings)
    alone = stationary_distribution(rewards, size, **settings)
    assert_close(p, np.append(alone, np.zeros(len(penalties))))


def test_wrong_outcomes_die_out_below_what_right_ones_bring():
    """Two right ones of 1, G = 3: at p = (1/2, 1/2) they bring 2 (1 - 1/8) = 1.75 per group."""
    right = [True, True, False]
    assert_close(stationary_distribution([1, 1, 1.74], 3, success=right), np.array([0.5, 0.5, 0]))
    # A tie: the wrong one vanishes where the right ones fill everything.
    assert_close(stationary_distribution([1, 1, 1.75], 3, success=right), np.array([0.5, 0.5, 0]))
    assert stationary_distribution([1, 1, 1.76], 3, success=right)[2] > 0
    # Without success the same outcome has more than a third.
    assert stationary_distribution([1, 1, 1.74], 3)[2] > 1 / 3


def test_the_best_wrong_outcome_lives_beside_right_ones():
    """G = 2: f(p)/p = 2 - p.  Right ones of 1 and .9 beside wrong ones of 1.5: C = 1.5, so
    2 - p = 1.5 gives .5, .9 (2 - p) = 1.5 gives 1/3, and 1/6 is left for the wrong ones.

    With the mean N = 1: f(p)/p = 1 < C = 1.5/2 holds for both, so the right ones fill everything,
    and of constant f(p)/p only the better one lives.
    """
    right = np.array([True, False, True, False, False])
    rewards = np.array([1, 1.5, 0.9, 1.4, 1.5])
    p = stationary_distribution(rewards, 2, success=right)
    # Wrong ones of equal reward share what is left, and the lesser wrong one is out.
    assert_close(p, np.array([1 / 2, 1 / 12, 1 / 3, 0, 1 / 12]), tolerance=1e-9)
    p = stationary_distribution(rewards, 2, success=right, baseline="mean")
    assert_close(p, np.array([1.0, 0, 0, 0, 0]), tolerance=1e-9)


def test_a_wrong_outcome_above_all_right_ones_takes_everything():
    """f(p)/p <= G = 4 < 5: the right one cannot live beside it; in the end it is the floor of 2."""
    assert_close(stationary_distribution([1, 5], 4, success=[True, False]), np.array([0.0, 1]))
    assert floor_l1([1, 5], 4, success=[True, False]) == 2


def test_large_groups_weigh_a_wrong_outcome_against_the_sum_of_right_ones():
    """f -> 1, so r/p = C = r_w: right ones have r/r_w, and a wrong one what that leaves."""
    right = [True, True, False]
    p = stationary_distribution([1, 2, 4], 512, success=right)
    assert_close(p, np.array([0.25, 0.5, 0.25]), tolerance=1e-9)  # (1 - 1/4)^512 = 1e-64
    assert_close(stationary_distribution([1, 2, 2.9], 512, success=right), np.array([1, 2, 0]) / 3)


def test_the_target_of_success_is_of_right_outcomes():
    right = [True, False, True]
    assert_close(target_distribution([1, 9, 3], success=right), np.array([0.25, 0, 0.75]))
    assert_close(target_distribution([1, 1, 2]), np.array([0.25, 0.25, 0.5]))
    p = stationary_distribution([1, 0.5, 3], 8, success=right)
    assert floor_l1([1, 0.5, 3], 8, success=right) == np.abs(p - [0.25, 0, 0.75]).sum()
    assert floor_l1([1, 0.5, 3], 8, success=right) == pytest.approx(floor_l1([1, 3], 8))


@pytest.mark.parametrize(
    ("rewards", "success", "told"),
    [
        ([1.0, 0.2], [False, False], "both right and rewarded.*Lower the threshold"),
        ([0.0, 0.2], [True, False], "both right and rewarded.*reward right outcomes"),
        ([1.0, 0.2], [True], r"rewards and success have shapes \(2,\) and \(1,\)"),
        ([1.0, 0.2], [0.5, 1.0], "values other than True and False"),
        ([1.0, -0.2], [True, True], "non-negative"),
        ([1.0, -0.2], [False, True], "non-negative"),
        ([1.0, math.nan], [True, False], "finite"),
    ],
)
def test_success_that_cannot_be_is_refused(rewards, success, told):
    for function in (floor_l1, stationary_distribution):
        with pytest.raises(InvalidInput, match=told):
            function(rewards, 8, success=success)
    with pytest.raises(InvalidInput, match=told):
        target_distribution(rewards, success=success)


# Rules of thumb.


def test_minority_rule_at_the_boundary():
    assert minority_survives(4, 2.999)
    assert not minority_survives(4, 3.0)
    assert not minority_survives(1, 1.0)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_minority_rule_is_the_sign_of_the_expected_update(size):
    """A vanishing minority grows under the mean baseline iff G - 1 exceeds the ratio of rewards."""
    for ratio in (size - 1.1, size - 0.9):
        p = np.array([1 - 1e-4, 1e-4])
        update = expected_update(np.array([ratio, 1.0]), p, size, eps=0.0, baseline="mean")
        assert (update[1] > 0) == minority_survives(size, ratio)


@pytest.mark.parametrize("size", range(1, 200))
def test_clip_is_noop_at_one_over_g(size):
    assert clip_is_noop(size, 1 / size)
    assert clip_is_noop(size, np.nextafter(1 / size, 2))  # rounding of eps itself
    assert clip_is_noop(size, 0.0)
    assert not clip_is_noop(size, 1.001 / size)


@pytest.mark.parametrize("ratio", [0.5, -1.0, math.nan])
def test_a_ratio_below_one_is_refused(ratio):
    with pytest.raises(InvalidInput, match=f"reward_ratio is {ratio}"):
        minority_survives(8, ratio)


@pytest.mark.parametrize(("size", "eps"), [(0, 0.0), (1.5, 0.0), (8, -0.1), (8, math.nan)])
def test_the_rule_refuses_impossible_groups(size, eps):
    with pytest.raises(InvalidInput, match="group_size is|eps is"):
        minority_survives(size, 2.0, eps=eps)


# --- outcomes that have their reward in common ----------------------------------------------------


@SOLVING
@given(
    st.lists(
        st.tuples(st.floats(0.01, 5), st.integers(1, 9), st.booleans()), min_size=1, max_size=5
    ),
    st.integers(2, 40),
    st.sampled_from([0.0, 0.1, 0.4]),
)
def test_an_entry_may_stand_for_many_outcomes(entries, size, eps):
    """Written out or counted, every outcome has the same probability."""
    rewards, counts, right = (np.array(part) for part in zip(*entries, strict=True))
    right[0] = True
    for success in (None, right):
        spread = None if success is None else np.repeat(success, counts)
        every = stationary_distribution(np.repeat(rewards, counts), size, eps=eps, success=spread)
        p = stationary_distribution(rewards, size, eps=eps, success=success, counts=counts)
        # Sums in another order differ by 1e-16, which the bisections may take for a last halving;
        # below the clip f(p)/p is nearly flat, and p loses six digits (tests/theory/test_groups.py)
        np.testing.assert_allclose(np.repeat(p, counts), every, atol=1e-8)
        target = target_distribution(rewards, success=success, counts=counts)
        whole = target_distribution(np.repeat(rewards, counts), success=spread)
        np.testing.assert_allclose(np.repeat(target, counts), whole, rtol=1e-12)


@pytest.mark.parametrize("counts", [[1, 0], [1, -1], [1, np.nan], [1, np.inf]])
def test_counts_are_of_outcomes_that_are_there(counts):
    with pytest.raises(InvalidInput, match="counts has values below 1"):
        stationary_distribution(np.array([1.0, 2.0]), 8, counts=np.array(counts))
    with pytest.raises(InvalidInput, match="rewards and counts"):
        target_distribution(np.array([1.0, 2.0]), counts=np.array([1.0]))
