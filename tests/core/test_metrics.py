import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import FLOAT32_DRIFT, SIGMAS, assert_close, numpy_of
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import (
    coverage,
    distinct_yield,
    effective_outcomes,
    entropy,
    jensen_shannon,
    kl_divergence,
    mean_l1,
    oracle_burden,
    outcome_ids,
    recovery,
    sampling_floor,
    total_l1,
    total_variation,
)
from ipsrl.core.metrics import expected_distinct
from ipsrl.errors import InvalidInput

DISTANCES = [total_l1, mean_l1, total_variation, kl_divergence, jensen_shannon]


def distributions(seed, shape=(6, 5)):
    """Random distributions; every other one has a zero."""
    p = np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])
    p[::2, ..., 0] = 0
    return p / p.sum(-1, keepdims=True)


def test_distances_by_hand(xp):
    # |1/2 - 1/4| + |1/2 - 1/4| + |0 - 1/2| = 1.  m = 3/8 3/8 1/4:
    # KL(p||q) = log 2;  KL(p||m) = log(4/3);  KL(q||m) = 1/2 log(2/3) + 1/2 log 2 = 1/2 log(4/3)
    p, q = xp.floats([0.5, 0.5, 0]), xp.floats([0.25, 0.25, 0.5])
    assert_close(total_l1(p, q), 1.0)
    assert_close(mean_l1(p, q), 1 / 3)
    assert_close(total_variation(p, q), 0.5)
    assert_close(kl_divergence(p, q), math.log(2))
    assert_close(kl_divergence(q, p), math.inf)
    assert_close(jensen_shannon(p, q), 0.75 * math.log(4 / 3))


def test_l1_distances_are_multiples_of_one_another(xp):
    p, q = xp.floats(distributions(0)), xp.floats(distributions(1))
    total = numpy_of(total_l1(p, q))
    assert_close(5 * mean_l1(p, q), total)
    assert_close(2 * total_variation(p, q), total)
    assert ((total >= 0) & (total <= 2)).all()
    assert_close(total_l1(xp.floats([1, 0]), xp.floats([0, 1])), 2.0)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_distance_to_oneself_is_zero_and_others_are_not(xp, distance):
    p, q = xp.floats(distributions(0)), xp.floats(distributions(1))
    assert_close(distance(p, p), np.zeros(6))
    assert (numpy_of(distance(p, q)) > 1e-3).all()


def test_jensen_shannon_is_symmetric_and_bounded(xp):
    p, q = xp.floats(distributions(0)), xp.floats(distributions(1))
    js = numpy_of(jensen_shannon(p, q))
    assert_close(jensen_shannon(q, p), js)
    assert ((js >= 0) & (js <= math.log(2))).all()
    assert_close(jensen_shannon(xp.floats([1, 0]), xp.floats([0, 1])), math.log(2))


def test_kl_is_never_negative_and_infinite_off_the_support(xp):
    p, q = distributions(0), distributions(1) + 0.1
    q = q / q.sum(-1, keepdims=True)
    assert (numpy_of(kl_divergence(xp.floats(p), xp.floats(q))) >= 0).all()
    infinite = numpy_of(kl_divergence(xp.floats(q), xp.floats(p)))
    assert np.isinf(infinite).tolist() == [True, False] * 3


def test_entropy_of_uniform_is_the_logarithm_of_its_size(xp):
    for k in (1, 2, 7):
        uniform = xp.floats(np.full(k, 1 / k))
        assert_close(entropy(uniform), math.log(k))
        assert_close(effective_outcomes(uniform), float(k))


def test_entropy_ignores_impossible_outcomes(xp):
    # (1/2, 1/4, 1/4, 0): 3/2 log 2, so 2^(3/2) effective outcomes
    p = xp.floats([[0.5, 0.25, 0.25, 0], [0, 0, 1, 0]])
    assert_close(entropy(p), [1.5 * math.log(2), 0])
    assert_close(effective_outcomes(p), [2**1.5, 1])


def test_effective_outcomes_lie_between_one_and_all(xp):
    effective = numpy_of(effective_outcomes(xp.floats(distributions(2, (50, 7)))))
    assert effective.min() >= 1 - FLOAT32_DRIFT
    assert effective.max() <= 7 + FLOAT32_DRIFT
    assert np.ptp(effective) > 1


def test_leading_axes_are_batches(xp):
    p, q = distributions(0, (4, 3, 5)), distributions(1, (4, 3, 5))
    for distance in (total_l1, mean_l1, total_variation, jensen_shannon):
        cube = distance(xp.floats(p), xp.floats(q))
        assert tuple(cube.shape) == (4, 3)
        assert_close(cube[2, 1], numpy_of(distance(xp.floats(p[2, 1]), xp.floats(q[2, 1]))))


def test_one_target_serves_many(xp):
    p, target = distributions(0), np.full(5, 0.2)
    assert_close(total_l1(xp.floats(p), xp.floats(target)), np.abs(p - 0.2).sum(-1))


@pytest.mark.parametrize("distance", DISTANCES)
def test_lists_are_taken(distance):
    assert float(distance([0.5, 0.5], [0.5, 0.5])) == 0


def test_the_same_under_jit():
    p, q = jnp.asarray(distributions(0)), jnp.asarray(distributions(1))
    for distance in DISTANCES:
        assert_close(jax.jit(distance)(p, q), distance(p, q))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("bad", [[0.5, 0.4, 0.0], [1.2, -0.2, 0.0], [math.nan, 0.5, 0.5]])
def test_what_is_no_distribution_is_refused(xp, distance, bad):
    good, bad = xp.floats([0.2, 0.3, 0.5]), xp.floats(bad)
    with pytest.raises(InvalidInput, match="the first argument is not a distribution"):
        distance(bad, good)
    with pytest.raises(InvalidInput, match="the second argument.*Divide it by its sum"):
        distance(good, bad)
    with pytest.raises(InvalidInput, match="p is not a distribution"):
        entropy(bad)


@pytest.mark.parametrize("distance", [*DISTANCES, coverage])
def test_different_outcomes_are_refused(xp, distance):
    with pytest.raises(InvalidInput, match="the same outcomes in the same order"):
        distance(xp.floats([0.5, 0.5]), xp.floats([0.5, 0.25, 0.25]))
    with pytest.raises(InvalidInput, match="the same outcomes in the same order"):
        distance(xp.floats(1.0), xp.floats(1.0))


# Coverage, recovery.


def test_coverage_by_hand(xp):
    # Target 1/2 1/4 1/4 0, share 1/10: thresholds .05 .025 .025; the last is not a wanted outcome.
    p = xp.floats([[0.06, 0.03, 0.02, 0.89], [0.5, 0.25, 0.25, 0], [0, 0, 0, 1]])
    target = xp.floats([0.5, 0.25, 0.25, 0])
    assert_close(coverage(p, target), [2 / 3, 1, 0])
    assert_close(coverage(p, target, share=0.13), [0, 1, 0])
    assert_close(coverage(p, target, share=0.0), [1, 1, 1])


def test_coverage_at_the_threshold_counts(xp):
    assert_close(coverage(xp.floats([0.25, 0.75]), xp.floats([0.5, 0.5]), share=0.5), 1.0)


def test_recovery_by_hand():
    # of a, b, (1, 2) two were found; z and None are not admissible
    assert recovery(["a", "a", "z", None, (1, 2)], ["a", "b", (1, 2)]) == 2 / 3
    assert recovery([], ["a"]) == 0
    assert recovery(iter("aba"), iter("ab")) == 1
    assert recovery(["a"], ["a", "a"]) == 1


def test_recovery_of_nothing_is_refused():
    with pytest.raises(InvalidInput, match="no outcome is admissible.*Leave out tasks"):
        recovery(["a"], [])


# Yield and oracle burden.

REWARDS = [0.9, 0.5, 0.9, 0.2, 0.8, 0.7, 0.95, 0.99]
IDS = [3, 4, 3, 5, -1, 5, 6, 3]
# Above .5, in order: 3 (call 1), 3 again, -1 never counts, 5 (call 6: .7; its .2 did not), 6 (7).


def test_yield_by_hand(xp):
    rewards, ids = xp.floats(REWARDS), xp.integers(IDS)
    assert distinct_yield(rewards, ids, threshold=0.5) == 3
    assert distinct_yield(rewards, ids, threshold=0.0) == 4
    assert distinct_yield(rewards, ids, threshold=0.99) == 0  # must exceed; float32 .99 is below


def test_oracle_burden_by_hand(xp):
    rewards, ids = xp.floats(REWARDS), xp.integers(IDS)
    burden = [oracle_burden(rewards, ids, threshold=0.5, count=n) for n in (1, 2, 3, 4)]
    assert burden == [1, 6, 7, None]


def test_oracle_burden_depends_on_the_order_and_yield_does_not():
    back = REWARDS[::-1], IDS[::-1]
    assert distinct_yield(*back, threshold=0.5) == 3
    # reversed: 3 at call 1, 6 at call 2, 5 at call 3
    assert [oracle_burden(*back, threshold=0.5, count=n) for n in (1, 2, 3)] == [1, 2, 3]


def test_oracle_burden_asks_for_one_hundred():
    rewards, ids = np.ones(250), np.arange(250) // 2
    assert oracle_burden(rewards, ids, threshold=0.5) == 199  # outcome 99 first at index 198
    assert oracle_burden(rewards[:198], ids[:198], threshold=0.5) is None


def test_nothing_found():
    assert distinct_yield([], [], threshold=0) == 0
    assert oracle_burden([], [], threshold=0, count=1) is None
    assert distinct_yield([1.0, 1.0], [-1, -1], threshold=0) == 0


def test_yield_counts_every_id_that_names_an_outcome(xp):
    # In 32 bits half of the ids of `outcome_ids` are negative.
    ids = outcome_ids([f"answer {i}" for i in range(20)])
    ids = jnp.asarray(ids) if xp.name == "jax" else xp.integers(ids)
    assert distinct_yield(xp.floats(np.ones(20)), ids, threshold=0.5) == 20


@pytest.mark.parametrize("count", [0, -1])
def test_a_burden_of_nothing_is_refused(count):
    with pytest.raises(InvalidInput, match="count"):
        oracle_burden(REWARDS, IDS, threshold=0.5, count=count)


def test_misaligned_samples_are_refused(xp):
    for measure in (distinct_yield, oracle_burden):
        with pytest.raises(InvalidInput, match=r"rewards and ids have shapes \(8,\) and \(7,\)"):
            measure(xp.floats(REWARDS), xp.integers(IDS[:-1]), threshold=0)


# Sampling floor.


def test_sampling_floor_by_hand():
    # One sample of (1/2, 1/2): |1 - 1/2| + |0 - 1/2| = 1.
    # Two: empirical (1, 0), (1/2, 1/2), (0, 1) with weights 1/4 1/2 1/4: 1/4 + 0 + 1/4 = 1/2.
    assert_close(sampling_floor([0.5, 0.5], 1), 1.0)
    assert_close(sampling_floor([0.5, 0.5], 2), 0.5)
    assert sampling_floor([1.0, 0.0], 10) == 0


@pytest.mark.parametrize("samples", [1, 10, 37, 1000])
def test_sampling_floor_against_draws(samples):
    p = np.array([0.5, 0.3, 0.1, 0.0999, 0.0001, 0.0])
    draws = np.random.default_rng(3).multinomial(samples, p, size=20_000) / samples
    scores = np.abs(draws - p).sum(-1)
    standard_error = scores.std(ddof=1) / math.sqrt(len(scores))
    assert abs(sampling_floor(p, samples) - scores.mean()) < SIGMAS * standard_error + 1e-12


def test_sampling_floor_of_equal_outcomes_counted():
    p, counts = np.array([0.3, 0.05, 0.1, 0.0]), np.array([1, 6, 4, 3])
    assert_close(sampling_floor(p, 7, counts=counts), sampling_floor(np.repeat(p, counts), 7))


def test_sampling_floor_against_the_binomial_sum():
    p = np.array([0.61, 0.29, 0.1])
    for samples in (1, 2, 10, 29):
        expected = sum(
            math.comb(samples, n) * q**n * (1 - q) ** (samples - n) * abs(n / samples - q)
            for q in p
            for n in range(samples + 1)
        )
        assert_close(sampling_floor(p, samples), expected)


def test_sampling_floor_falls_with_the_root_of_the_samples():
    p = np.full(8, 1 / 8)
    floors = [sampling_floor(p, n) for n in (100, 400, 1600, 1_000_000)]
    assert floors == sorted(floors, reverse=True)
    # for large N: sum_o sqrt(2 p (1 - p)/(pi N))
    assert_close(floors[-1], 8 * math.sqrt(2 / 8 * 7 / 8 / math.pi / 1e6), tolerance=1e-5)


def test_bad_sampling_floors_are_refused():
    with pytest.raises(InvalidInput, match="0 samples.*at least 1"):
        sampling_floor([0.5, 0.5], 0)
    with pytest.raises(InvalidInput, match="p is not a distribution"):
        sampling_floor([0.5, 0.6], 5)
    with pytest.raises(InvalidInput, match="p, times counts, is not a distribution"):
        sampling_floor([0.5, 0.5], 5, counts=[1, 2])


# Strange input.


@pytest.mark.parametrize("count", [0.5, 1.5, math.nan, math.inf])
def test_a_burden_of_part_of_an_outcome_is_refused(count):
    with pytest.raises(InvalidInput, match="whole number of outcomes"):
        oracle_burden(REWARDS, IDS, threshold=0.5, count=count)


@pytest.mark.parametrize("samples", [0.5, 2.5, -1, math.nan, math.inf])
def test_a_part_of_a_sample_is_refused(samples):
    with pytest.raises(InvalidInput, match="whole number of samples"):
        sampling_floor([0.5, 0.5], samples)


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_an_impossible_share_is_refused(xp, share):
    with pytest.raises(InvalidInput, match=f"share is {share}"):
        coverage(xp.floats([0.5, 0.5]), xp.floats([0.5, 0.5]), share=share)


@pytest.mark.parametrize("bad", [[-0.5, 1.5], [math.nan, 1.0]])
def test_coverage_of_what_is_not_a_mass_is_refused(xp, bad):
    good, nothing = xp.floats([0.5, 0.5]), xp.floats([[0.5, 0.5], [0, 0]])
    for p, target in ((xp.floats(bad), good), (good, xp.floats(bad)), (good, nothing)):
        with pytest.raises(InvalidInput, match="no outcome can be covered"):
            coverage(p, target)


def test_strange_samples_are_refused(xp):
    rewards, ids = xp.floats([1.0, 1.0]), xp.integers([1, 2])
    for measure in (distinct_yield, oracle_burden):
        with pytest.raises(InvalidInput, match="threshold is nan"):
            measure(rewards, ids, threshold=math.nan)
        with pytest.raises(InvalidInput, match=r"shape \(1, 2\)"):
            measure(rewards[None], ids[None], threshold=0.5)
        with pytest.raises(InvalidInput, match="not outcome ids"):
            measure(rewards, xp.floats([1, 2]), threshold=0.5)
        with pytest.raises(InvalidInput, match="dtype of rewards is complex64"):
            measure(xp.of([1, 1j], "complex64"), ids, threshold=0.5)
    assert distinct_yield(rewards, xp.of([255, 1], "uint8"), threshold=0.5) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_distances_of_16_bits_are_of_32(xp, dtype):
    if (xp.name, dtype) == ("numpy", "bfloat16"):
        pytest.skip("NumPy has no bfloat16")
    p, q = xp.of([0.25] * 4, dtype), xp.of([0.5, 0.25, 0.125, 0.125], dtype)  # exact in 16 bits
    for distance in DISTANCES:
        assert_close(distance(p, q), distance(numpy_of(p), numpy_of(q)), tolerance=1e-6)
    assert_close(entropy(q), 1.75 * math.log(2), tolerance=1e-6)
    assert_close(coverage(p, q, share=0.75), 0.75, tolerance=0)


def test_complex_distributions_are_refused(xp):
    wrong, good = xp.of([0.5, 0.5], "complex64"), xp.floats([0.5, 0.5])
    for distance in DISTANCES:
        with pytest.raises(InvalidInput, match="dtype of the first argument is .*complex64"):
            distance(wrong, good)
        with pytest.raises(InvalidInput, match="dtype of the second argument is .*complex64"):
            distance(good, wrong)
    with pytest.raises(InvalidInput, match="dtype of p is .*complex64"):
        entropy(wrong)
    with pytest.raises(InvalidInput, match="dtype of p is .*complex64"):
        coverage(wrong, good)
    with pytest.raises(InvalidInput, match="dtype of target is .*complex64"):
        coverage(good, wrong)


def test_the_sampling_floor_is_computed_in_float64(xp):
    p = xp.of([0.61, 0.29, 0.1], "float32")
    assert_close(sampling_floor(p, 29), sampling_floor(numpy_of(p), 29))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda counts: sum(counts) <= 6))
def test_distinct_outcomes_are_the_mean_over_all_orders(counts):
    drawn = [outcome for outcome, n in enumerate(counts) for _ in range(n)]
    samples = range(1, len(drawn) + 1)
    orders = list(permutations(drawn))
    expected = [np.mean([len(set(order[:n])) for order in orders]) for n in samples]
    assert_close(expected_distinct(counts, samples), np.array(expected))


@given(st.lists(st.integers(1, 500), min_size=1, max_size=20))
def test_distinct_outcomes_rise_from_one_to_all(counts):
    curve = expected_distinct(counts, range(1, sum(counts) + 1))
    # Differences of logarithms of factorials up to 10,000!, of about 10^5: ulp 10^-11.
    assert curve[0] == pytest.approx(1, abs=1e-9)
    assert curve[-1] == len(counts)
    assert (np.diff(curve) >= -1e-9).all()


def test_distinct_outcomes_by_hand():
    # Of a, a, b two are drawn: aa with 1/3, ab with 2/3: 1/3 + 2 * 2/3.
    assert_close(expected_distinct([2, 1], [2]), np.array([5 / 3]))
    # If b does not count: a is among them unless b is alone, so always.
    assert_close(expected_distinct([2], [1, 2], total=3), np.array([2 / 3, 1]))


@pytest.mark.parametrize("samples", [[0], [1, 4]])
def test_more_samples_than_there_are_cannot_be_drawn(samples):
    with pytest.raises(InvalidInput, match="there are 3. Ask for 1 to 3"):
        expected_distinct([2, 1], samples)
