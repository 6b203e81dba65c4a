import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ENUMERATION, assert_close, numpy_of, peak_memory

from ipsrl import (
    LeaveOneOut,
    Replay,
    group_frequency,
)
from ipsrl.core.advantage import group_advantage
from ipsrl.core.probability import (
    importance_weights,
    kernel_frequency,
    leave_one_out_frequency,
    likelihood,
    summed_likelihood,
)
from ipsrl.core.scaling import ips_rewards
from ipsrl.errors import InvalidInput

FIRST = np.array([[4, 4, 9, 9, 9, 2], [5, 5, 5, 5, 5, 5], [1, 2, 3, -1, 1, -1]])
SIZE = FIRST.shape[-1]


# Group frequency.


def test_group_frequency_by_hand(xp):
    # Group of 4: outcome 7 three times -> 3/4; outcome 8 once -> 1/4.
    # Second group: -1 counts in G, so outcome 8 has 2/4, and -1 itself gets 1.
    p = group_frequency(xp.integers([[7, 7, 8, 7], [8, -1, 8, -1]]))
    assert_close(p, [[0.75, 0.75, 0.25, 0.75], [0.5, 1, 0.5, 1]])


def test_group_frequency_sums_to_one_over_distinct_outcomes(xp):
    rng = np.random.default_rng(1)
    for ids in rng.integers(0, 5, (20, 11)):
        p = numpy_of(group_frequency(xp.integers(ids)))
        _, first = np.unique(ids, return_index=True)
        assert_close(p[first].sum(), 1.0, tolerance=1e-6)


def test_group_frequency_of_a_ragged_group_is_that_of_the_smaller_group(xp):
    rng = np.random.default_rng(2)
    ids, lengths = rng.integers(-1, 4, (12, 9)), rng.integers(1, 10, 12)
    mask = np.arange(9) < lengths[:, None]
    p = group_frequency(xp.integers(ids), mask=xp.booleans(mask))
    for row, row_ids, n in zip(p, ids, lengths, strict=True):
        assert_close(row[:n], group_frequency(xp.integers(row_ids[:n])))


def test_weighted_group_frequency_by_hand(xp):
    # Outcome 7 has 1 + 2 + 0 of 8, outcome 8 has 5; -1 counts in the sum: 1 and 1 of 4.
    ids = xp.integers([[7, 7, 8, 7], [8, -1, 9, -1]])
    p = group_frequency(ids, weights=xp.floats([[1, 2, 5, 0], [1, 1, 1, 1]]))
    assert_close(p, [[3 / 8, 3 / 8, 5 / 8, 3 / 8], [1 / 4, 1, 1 / 4, 1]])


def test_weights_of_one_leave_the_group_frequency(xp):
    ids, ones = xp.integers(FIRST), xp.floats(np.ones(FIRST.shape))
    mask = xp.booleans(np.arange(SIZE) < np.array([6, 3, 4])[:, None])
    for m in (None, mask):
        assert_close(group_frequency(ids, mask=m, weights=ones), group_frequency(ids, mask=m))


def test_a_weight_of_n_counts_as_n_samples(xp):
    times = np.array([[1, 3, 2, 2, 1, 1], [2, 1, 1, 3, 2, 1], [4, 1, 1, 2, 1, 1]])
    weighted = group_frequency(xp.integers(FIRST), weights=xp.floats(times))
    for row, ids, n in zip(weighted, FIRST, times, strict=True):
        repeated = numpy_of(group_frequency(xp.integers(np.repeat(ids, n))))
        assert_close(row, repeated[np.cumsum(n) - 1])


def test_weights_outside_the_mask_do_not_count(xp):
    ids, w = FIRST[:, ::-1].copy(), np.random.default_rng(0).random(FIRST.shape)
    mask = np.broadcast_to(np.arange(SIZE) < 4, FIRST.shape)
    padded = xp.floats(np.where(mask, w, math.nan))
    p = group_frequency(xp.integers(ids), mask=xp.booleans(mask), weights=padded)
    alone = group_frequency(xp.integers(ids[:, :4]), weights=xp.floats(w[:, :4]))
    assert_close(p[:, :4], alone)
    assert (numpy_of(p)[:, 4:] == 1).all()


def test_what_the_policy_hardly_ever_draws_has_a_positive_share(xp):
    """All weights of an outcome, or of a group, may vanish; 1 / p^ is finite all the same."""
    ids = xp.integers([[1, 2, 2], [3, 3, 4]])
    p = group_frequency(ids, weights=xp.floats([[0, 1, 1], [0, 0, 0]]))
    assert (numpy_of(p) > 0).all()
    assert numpy_of(p)[0, 0] < 1e-9
    assert_close(p[0, 1:], [1, 1])


def test_weights_that_do_not_fit_the_ids_are_refused(xp):
    with pytest.raises(InvalidInput, match="ids and weights have shapes"):
        group_frequency(xp.integers([[1, 2]]), weights=xp.floats([1.0, 1.0]))
    for bad in (-0.5, math.nan, math.inf):
        with pytest.raises(InvalidInput, match="weights have negative or non-finite"):
            group_frequency(xp.integers([[1, 2]]), weights=xp.floats([[1.0, bad]]))
    with pytest.raises(InvalidInput, match="dtype of weights is"):
        group_frequency(xp.integers([[1, 2]]), weights=xp.of([[1.0, 2.0j]], "complex64"))


def test_memory_grows_with_the_samples_not_with_their_pairs():
    ids = np.random.default_rng(3).integers(0, 2**31, (2, 4096))
    # 270 MB for the pairs in NumPy, 134 MB in JAX; a dozen arrays like the ids for sorting.
    assert peak_memory(lambda: group_frequency(ids)) < 20 * ids.nbytes
    compiled = jax.jit(group_frequency).lower(jnp.asarray(ids, jnp.int32)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 20 * ids.nbytes


# Leave-one-out.


def test_leave_one_out_by_hand(xp):
    # G = 4, s = 1/2: outcome 7 thrice -> (3 - 1 + .5)/(4 - 1 + .5) = 5/7; outcome 8 once -> 1/7.
    p = leave_one_out_frequency(xp.integers([7, 7, 8, 7]))
    assert_close(p, [5 / 7, 5 / 7, 1 / 7, 5 / 7])


def test_leave_one_out_with_smoothing_one_is_the_group_frequency(xp):
    ids = xp.integers(FIRST)
    mask = xp.booleans(np.arange(SIZE) < np.array([6, 3, 4])[:, None])
    for m in (None, mask):
        assert_close(
            leave_one_out_frequency(ids, mask=m, smoothing=1.0), group_frequency(ids, mask=m)
        )


# Kernel.


def test_kernel_of_equality_is_the_group_frequency(xp):
    ids = np.abs(FIRST)
    mask = xp.booleans(np.arange(SIZE) < np.array([6, 3, 4])[:, None])
    same = xp.floats(ids[..., :, None] == ids[..., None, :])
    for m in (None, mask):
        assert_close(kernel_frequency(same, mask=m), group_frequency(xp.integers(ids), mask=m))


def test_kernel_by_hand(xp):
    # Rows of k: (1 + .5 + 0)/3 = .5; (.5 + 1 + .25)/3 = 7/12; (0 + .25 + 1)/3 = 5/12.
    k = xp.floats([[1, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]])
    assert_close(kernel_frequency(k), [0.5, 7 / 12, 5 / 12])


# Likelihood.

# A DAG with three ways to y and x each; P_F out of each state, and P_B into each state.
FORWARD = {
    "s": {"a": 0.3, "b": 0.7},
    "a": {"x": 0.4, "c": 0.6},
    "b": {"c": 0.5, "y": 0.5},
    "c": {"x": 0.2, "y": 0.8},
}
BACKWARD = {
    "a": {"s": 1.0},
    "b": {"s": 1.0},
    "c": {"a": 0.6, "b": 0.4},
    "x": {"a": 0.9, "c": 0.1},
    "y": {"c": 0.25, "b": 0.75},
}
TRAJECTORIES = ["sax", "sacx", "sbcx", "sacy", "sbcy", "sby"]


def log_products():
    steps = [list(itertools.pairwise(t)) for t in TRAJECTORIES]
    log_pf = np.array([sum(math.log(FORWARD[a][b]) for a, b in s) for s in steps])
    log_pb = np.array([sum(math.log(BACKWARD[b][a]) for a, b in s) for s in steps])
    return log_pf, log_pb


def test_reciprocal_of_the_likelihood_is_unbiased():
    log_pf, log_pb = log_products()
    pf = np.exp(log_pf)
    assert abs(pf.sum() - 1) < ENUMERATION
    for outcome, by_hand in {"x": 0.226, "y": 0.774}.items():
        # p(x) = .3*.4 + (.3*.6 + .7*.5)*.2 = .12 + .106;   p(y) = .53*.8 + .7*.5
        ends = np.array([t[-1] == outcome for t in TRAJECTORIES])
        p = pf[ends].sum()
        assert abs(p - by_hand) < ENUMERATION
        expected = (pf[ends] / p) @ (1 / likelihood(log_pf[ends], log_pb[ends]))
        assert abs(expected - 1 / p) < ENUMERATION / p


def test_likelihood_of_strings_is_the_probability(xp):
    assert_close(likelihood(xp.floats(np.log([0.25, 1.0]))), [0.25, 1.0])


def test_likelihood_may_exceed_one(xp):
    # P_F = .5, P_B = .25:  p^ = 2
    assert_close(likelihood(xp.floats(np.log([0.5])), xp.floats(np.log([0.25]))), [2.0])


def test_summed_likelihood_by_hand(xp):
    """Outcome 4 by the texts 1 (twice, of probability .2) and 2 (.1); outcome 9 by text 3 (.05)."""
    ids, texts = xp.integers([4, 4, 4, 9, -1]), xp.integers([1, 1, 2, 3, 8])
    log_p = xp.like(np.log([0.2, 0.2, 0.1, 0.05, 0.5]))
    assert_close(summed_likelihood(ids, log_p, texts), [0.3, 0.3, 0.3, 0.05, 1.0])
    mask = xp.like(np.array([True, True, False, True, True]))
    assert_close(summed_likelihood(ids, log_p, texts, mask=mask), [0.2, 0.2, 1.0, 0.05, 1.0])


def test_summed_likelihood_of_all_texts_is_the_probability(xp):
    """A group that holds every text, and one of them often."""
    texts = np.array([0, 1, 2, 3, 4, 5, 5, 5])
    outcome, p = np.array([7, 7, 7, 8, 8, 9]), np.array([0.1, 0.2, 0.05, 0.3, 0.15, 0.2])
    ids, log_p = xp.integers(outcome[texts]), xp.like(np.log(p[texts]))
    exact = np.array([p[outcome == o].sum() for o in outcome])
    assert_close(summed_likelihood(ids, log_p, xp.integers(texts)), exact[texts])


def test_a_group_of_long_texts_is_counted(xp):
    """One text below e^-30 makes its group, and no other, a matter of counts."""
    ids, texts = xp.integers([[4, 4, 9, 9]] * 3), xp.integers([[0, 1, 2, 3]] * 3)
    log_p = xp.floats([[-1.0, -2.0, -3.0, -31.0], [-1.0, -2.0, -3.0, -29.0], [-50.0] * 4])
    p = summed_likelihood(ids, log_p, texts)
    assert numpy_of(p)[[0, 2]].tolist() == [[0.5] * 4] * 2
    assert_close(p[1], [np.exp(-1) + np.exp(-2)] * 2 + [np.exp(-3) + np.exp(-29)] * 2)
    # what is not scaled is not looked at
    assert_close(summed_likelihood(xp.integers([4, 4, 9, -1]), log_p[0], texts[0])[:3],
                 [np.exp(-1) + np.exp(-2)] * 2 + [np.exp(-3)])  # fmt: skip


def test_importance_weights_by_hand(xp):
    # ratios 2, 1/2, 20 -> cut to 10, 0
    now = xp.floats([math.log(2), math.log(0.5), math.log(20), -math.inf])
    assert_close(importance_weights(now, xp.floats([0.0] * 4)), [2, 0.5, 10, 0])


# Errors.


@pytest.mark.parametrize("function", [group_frequency, leave_one_out_frequency])
def test_misaligned_ids_are_refused(xp, function):
    with pytest.raises(InvalidInput, match="no group.*group_size"):
        function(xp.integers(3))
    with pytest.raises(InvalidInput, match="at least one member"):
        function(xp.integers(np.zeros((2, 0))))
    with pytest.raises(InvalidInput, match=r"ids and mask have shapes \(1, 2\) and \(2,\)"):
        function(xp.integers([[1, 2]]), mask=xp.booleans([True, True]))


@pytest.mark.parametrize("smoothing", [0.0, -1.0, math.nan, math.inf])
def test_smoothing_must_be_positive(xp, smoothing):
    with pytest.raises(InvalidInput, match=f"smoothing is {smoothing}.*number of pseudo-samples"):
        leave_one_out_frequency(xp.integers([1, 2]), smoothing=smoothing)
    with pytest.raises(InvalidInput, match="number of pseudo-samples"):
        LeaveOneOut(smoothing=smoothing)


@pytest.mark.parametrize(
    ("similarity", "teaches"),
    [
        ([[1.0, 0.5]], r"\(\.\.\., G, G\)"),
        ([1.0, 0.5], r"every pair of the group"),
        ([[1.0, 1.5], [1.5, 1.0]], r"Rescale the kernel"),
        ([[1.0, -0.5], [-0.5, 1.0]], r"Rescale the kernel"),
        ([[0.9, 0.5], [0.5, 1.0]], r"1 on the diagonal"),
        ([[1.0, math.nan], [0.5, 1.0]], r"\[0, 1\]"),
    ],
)
def test_what_is_no_kernel_is_refused(xp, similarity, teaches):
    with pytest.raises(InvalidInput, match=teaches):
        kernel_frequency(xp.floats(similarity))


@pytest.mark.parametrize("value", [0.1, math.nan, -math.inf])
def test_what_is_no_log_probability_is_refused(xp, value):
    good, bad = xp.floats([-1.0, -2.0]), xp.floats([-1.0, value])
    with pytest.raises(InvalidInput, match="log_pf has values.*sum over the steps"):
        likelihood(bad)
    with pytest.raises(InvalidInput, match="log_pb has values"):
        likelihood(good, bad)
    with pytest.raises(InvalidInput, match="log_pf and log_pb have shapes"):
        likelihood(good, good[:1])


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf])
def test_impossible_bounds_of_weights_are_refused(xp, clip):
    with pytest.raises(InvalidInput, match=f"clip is {clip}.*positive number"):
        Replay(clip=clip)
    with pytest.raises(InvalidInput, match=f"clip is {clip}"):
        importance_weights(xp.floats([0.0]), xp.floats([0.0]), clip=clip)


@pytest.mark.parametrize(
    ("now", "then"), [(math.nan, 0), (math.inf, 0), (0, math.nan), (-math.inf, -math.inf)]
)
def test_weights_of_impossible_log_probabilities_are_refused(xp, now, then):
    with pytest.raises(InvalidInput, match="what was drawn had a probability"):
        importance_weights(xp.floats([-1.0, now]), xp.floats([-1.0, then]))
    with pytest.raises(InvalidInput, match="log_now and log_then have shapes"):
        importance_weights(xp.floats([-1.0, -1.0]), xp.floats([-1.0]))


def test_a_ratio_that_overflows_is_refused(xp):
    with pytest.raises(InvalidInput, match="infinite.*same trajectory"):
        likelihood(xp.floats([-1.0]), xp.floats([-1000.0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_estimates_from_16_bits_are_of_32(xp, dtype):
    """e^-40 is 0 in float16, and a count of 300 is 300 in neither of them."""
    if (xp.name, dtype) == ("numpy", "bfloat16"):
        pytest.skip("NumPy has no bfloat16")
    p = likelihood(xp.of([-64.0, -2.0], dtype), xp.of([0.0, -1.0], dtype))
    assert str(p.dtype).endswith("float32")
    assert_close(p, [math.exp(-40), math.exp(-1)], tolerance=1e-6)
    similarity, mask = xp.of(np.ones((301, 301)), dtype), xp.booleans(np.arange(301) < 299)
    assert_close(kernel_frequency(similarity, mask=mask), np.ones(301), tolerance=1e-6)


def test_complex_numbers_are_refused(xp):
    wrong = xp.of([[1, 1j], [1j, 1]], "complex64")
    with pytest.raises(InvalidInput, match="dtype of log_pf is .*complex64"):
        likelihood(wrong)
    with pytest.raises(InvalidInput, match="dtype of similarity is .*complex64"):
        kernel_frequency(wrong)


def test_likelihoods_of_long_texts_stay_usable(xp):
    """A text of 200 tokens has log p about -200, whose exponential is 0 in float32."""
    p = likelihood(xp.floats([-200.0, -1000.0, -20.0]))
    assert_close(p[:2], [math.exp(-40), math.exp(-40)])
    rewards = ips_rewards(xp.floats([1.0, 1.0, 1.0]), xp.integers([1, 2, 3]), p=p)
    advantages = group_advantage(rewards).advantages
    assert np.isfinite(np.asarray(advantages)).all()
