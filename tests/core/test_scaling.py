import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    ENUMERATION,
    assert_close,
    assert_same,
    gradient,
    numpy_of,
    peak_memory,
    promised,
    std_eps_drift,
    steps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import groups

from ipsrl import group_advantage, group_frequency, ips_rewards, ips_weights
from ipsrl.core.probability import likelihood
from ipsrl.errors import InvalidInput


def rng_groups(seed, shape, outcomes):
    rng = np.random.default_rng(seed)
    return rng.random(shape), rng.integers(0, outcomes, shape)


# By hand.


def test_by_hand(xp):
    # G = 4: outcome 7 has p^ = 3/4, outcome 8 has 1/4.
    # 3/(3/4) = 4,  6/(3/4) = 8,  1/(1/4) = 4,  0/(3/4) = 0
    scaled = ips_rewards(xp.floats([3, 6, 1, 0]), xp.integers([7, 7, 8, 7]))
    assert_close(scaled, [4, 8, 4, 0])


def test_clip_and_exponent_by_hand(xp):
    # p^ = 3/4, 1/4, eps = 1/2, alpha = 2:  w = (3/4)^-2 = 16/9 and (1/2)^-2 = 4
    rewards, ids = xp.floats([9, 9, 1, 9]), xp.integers([7, 7, 8, 7])
    assert_close(ips_rewards(rewards, ids, eps=0.5, alpha=2), [16, 16, 4, 16])
    assert_close(ips_weights(xp.floats([0.75, 0.25]), eps=0.5, alpha=2.0), [16 / 9, 4])


def test_a_given_p_takes_the_place_of_the_count(xp):
    # 1/.5, 1/.25; and 1/2 for a ratio P_F / P_B above 1
    rewards, ids = xp.floats([1, 1, 1]), xp.integers([7, 7, 8])
    assert_close(ips_rewards(rewards, ids, p=xp.floats([0.5, 0.25, 2.0])), [2, 4, 0.5])


# Laws.


def test_unbiased_under_the_exact_probability(xp):
    """Theorem 4.1: E[(r/p) grad log p] = r - p R, here for a softmax policy of three outcomes."""
    p, r = np.array([0.6, 0.3, 0.1]), np.array([1.0, 2.0, 0.5])
    scaled = ips_rewards(xp.floats(r), xp.integers([0, 1, 2]), p=xp.floats(p))
    score = np.eye(3) - p  # grad of log p_i with respect to the logits
    expected = (p * numpy_of(scaled)) @ score
    tolerance = ENUMERATION if xp.name == "numpy" else None
    assert_close(expected, r - p * r.sum(), tolerance=tolerance or 1e-6)


def test_uniform_frequencies_reduce_to_grpo(xp):
    """Where every outcome is as frequent as any other, scaling is a common factor."""
    rewards, _ = rng_groups(0, (5, 12), 1)
    ids = np.tile([1, 2, 3, 4], 3) + np.zeros((5, 1), int)
    scaled = ips_rewards(xp.floats(rewards), xp.integers(ids))
    assert_close(scaled, 4 * rewards)
    plain = numpy_of(group_advantage(xp.floats(rewards)).advantages)
    inverse = numpy_of(group_advantage(scaled).advantages)
    drift = std_eps_drift(np.abs(plain).max(), 1e-4, rewards.std(-1, ddof=1).min())
    assert_close(inverse, plain, tolerance=drift)
    assert drift < 2e-3


def test_alpha_zero_leaves_rewards_alone(xp):
    rewards, ids = rng_groups(1, (5, 12), 3)
    assert_same(ips_rewards(xp.floats(rewards), xp.integers(ids), alpha=0), xp.floats(rewards))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_clip_at_or_below_one_over_g_does_nothing(xp, alpha):
    # JAX compiles for each size; 25 is a size whose 1/G rounds down in float32.
    for size in [1, 3, 25] if xp.name == "jax" else range(1, 65):
        rewards, ids = rng_groups(size, (4, size), 2 + size // 2)
        rewards, ids = xp.floats(rewards), xp.integers(ids)
        plain = ips_rewards(rewards, ids, alpha=alpha)
        for eps in (1 / size, 0.3 / size):
            assert_same(ips_rewards(rewards, ids, eps=eps, alpha=alpha), plain)
        if size > 2:
            clipped = ips_rewards(rewards, ids, eps=1.0, alpha=alpha)
            assert_same(clipped, rewards)  # eps = 1: every weight is 1


def test_weights_fall_with_p_and_are_bounded_by_the_clip(xp):
    p = np.linspace(0.01, 1, 50)
    for eps, alpha in [(0.0, 1.0), (0.2, 1.0), (0.0, 0.5), (0.1, 2.0)]:
        w = numpy_of(ips_weights(xp.floats(p), eps=eps, alpha=alpha))
        assert (np.diff(w) <= 0).all()
        assert (np.diff(w)[p[:-1] > eps] < 0).all()
        assert w[-1] == 1
        assert w.min() >= 1
        if eps:
            assert_close(w.max(), eps**-alpha, tolerance=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_samples_without_outcome_keep_their_reward(xp, alpha):
    rewards = xp.floats([0.3, 5.0, 2.0])
    for p in (None, xp.floats([0.5, 0.5, 0.5])):
        scaled = numpy_of(ips_rewards(rewards, xp.integers([-1, 4, -1]), alpha=alpha, p=p))
        assert scaled[[0, 2]].tolist() == numpy_of(rewards)[[0, 2]].tolist()
        assert scaled[1] > 5


def test_masked_samples_get_zero_and_do_not_count(xp):
    # The group 7 7 8 | 7 without its last member: p^ = 2/3, 2/3, 1/3; NaN in padding is not read.
    rewards, ids = xp.floats([1, 1, 1, math.nan]), xp.integers([7, 7, 8, 7])
    scaled = ips_rewards(rewards, ids, mask=xp.booleans([True, True, True, False]))
    assert_close(scaled, [1.5, 1.5, 3, 0])


def test_each_present_outcome_contributes_its_reward_once(xp):
    """sum_g r_g / p^_g = G sum over the outcomes that are present of r_o."""
    value = np.array([0.5, 1.0, 3.0, 0.25, 2.0])
    for seed in range(20):
        ids = np.random.default_rng(seed).integers(0, 5, 9)
        scaled = numpy_of(ips_rewards(xp.floats(value[ids]), xp.integers(ids)))
        assert_close(scaled.sum() / 9, value[np.unique(ids)].sum(), tolerance=1e-6)


def test_group_frequency_is_the_default(xp):
    rewards, ids = rng_groups(2, (3, 8), 3)
    rewards, ids = xp.floats(rewards), xp.integers(ids)
    given_p = ips_rewards(rewards, ids, p=group_frequency(ids), eps=0.2)
    assert_same(ips_rewards(rewards, ids, eps=0.2), given_p)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_of_rewards_is_kept(xp, dtype):
    if (xp.name, dtype) in [("numpy", "bfloat16"), ("jax", "float64")]:
        pytest.skip("it has none")
    rewards = xp.of([1, 1, 1], dtype)
    scaled = ips_rewards(rewards, [1, 1, 2])
    assert scaled.dtype == rewards.dtype
    assert_close(scaled, [1.5, 1.5, 3], tolerance=4e-3)  # ulp of bfloat16 at 1.5: 8e-3


@pytest.mark.parametrize("kind", ["integers", "booleans"])
def test_counted_rewards_become_floats(xp, kind):
    scaled = ips_rewards(getattr(xp, kind)([1, 0, 1]), xp.integers([1, 1, 2]))
    assert scaled.dtype == xp.floats([1.0]).dtype
    assert_close(scaled, [1.5, 0, 3])


# Errors.

REWARDS, IDS = [1.0, 2.0, 3.0], [1, 1, 2]


@pytest.mark.promise(number=4)
@pytest.mark.parametrize(
    ("bad", "teaches"),
    [
        (-0.1, "negative values.*Shift the rewards"),
        (math.nan, "NaN or infinite.*Mask those samples"),
        (math.inf, "NaN or infinite.*reward 0"),
    ],
)
def test_bad_rewards_are_refused(xp, bad, teaches):
    with pytest.raises(InvalidInput, match=teaches):
        ips_rewards(xp.floats([1.0, bad, 3.0]), xp.integers(IDS))
    mask = xp.booleans([True, False, True])
    assert numpy_of(ips_rewards(xp.floats([1.0, bad, 3.0]), xp.integers(IDS), mask=mask))[1] == 0


@pytest.mark.parametrize("bad", [0.0, -0.5, math.nan, math.inf])
def test_bad_probabilities_are_refused(xp, bad):
    p = xp.floats([0.5, bad, 0.5])
    with pytest.raises(InvalidInput, match="not finite.*smooth the estimate"):
        ips_rewards(xp.floats(REWARDS), xp.integers(IDS), p=p)
    with pytest.raises(InvalidInput, match="smooth the estimate|above 1"):
        ips_weights(p)
    with pytest.raises(InvalidInput, match="smooth the estimate"):  # a clip hides no mistake
        ips_rewards(xp.floats(REWARDS), xp.integers(IDS), p=p, eps=0.2)


def test_weights_of_counts_are_refused(xp):
    with pytest.raises(InvalidInput, match="above 1.*a share, not a count.*ips_rewards"):
        ips_weights(xp.floats([1.0, 2.0]))
    with pytest.raises(InvalidInput, match="a share, not a count"):
        ips_weights(xp.integers([3]))


@pytest.mark.parametrize("eps", [-0.1, 1.1, math.nan])
def test_bad_clips_are_refused(xp, eps):
    with pytest.raises(InvalidInput, match=rf"eps is {eps}.*in \[0, 1\]"):
        ips_rewards(xp.floats(REWARDS), xp.integers(IDS), eps=eps)


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf])
def test_bad_exponents_are_refused(xp, alpha):
    with pytest.raises(InvalidInput, match=rf"alpha is {alpha}.*Use"):
        ips_rewards(xp.floats(REWARDS), xp.integers(IDS), alpha=alpha)


def test_misaligned_arrays_are_refused(xp):
    rewards, ids = xp.floats(REWARDS), xp.integers(IDS)
    with pytest.raises(InvalidInput, match=r"rewards and ids have shapes \(2,\) and \(3,\)"):
        ips_rewards(rewards[:2], ids)
    with pytest.raises(InvalidInput, match="rewards and mask have shapes.*group_size"):
        ips_rewards(rewards, ids, mask=xp.booleans([True, True]))
    with pytest.raises(InvalidInput, match="rewards and p have shapes"):
        ips_rewards(rewards, ids, p=xp.floats([0.5]))


def test_tracing_raises_no_error_about_values():
    """Under `jax.jit` values are not known, so that even bad ones pass without a check."""
    traced = jax.jit(lambda r, i, p: (ips_rewards(r, i), ips_rewards(r, i, p=p), ips_weights(p)))
    counted, given_p, weights = traced(
        jnp.array([-1.0, 1.0]), jnp.array([1, 2]), jnp.array([0, 0.5])
    )
    assert_close(counted, [-2, 2])
    assert_close(given_p[1], 2.0)
    assert_close(weights[1], 2.0)


# The promise: advantages equal the closed form on 10,000 random groups.

BATCH = 50  # groups in each batch that hypothesis draws


def closed_form(rewards, ids, eps, alpha, std_eps=1e-4):
    """Eq. 9 and GRPO's advantage for one group, in plain Python."""
    size, count = len(ids), Counter(ids)
    scaled = [
        r if o == -1 else r / max(count[o] / size, eps) ** alpha
        for r, o in zip(rewards, ids, strict=True)
    ]
    mean = math.fsum(scaled) / size
    variance = math.fsum((x - mean) ** 2 for x in scaled) / max(size - 1, 1)
    return [(x - mean) / (math.sqrt(variance) + std_eps) for x in scaled]


@pytest.mark.promise(number=13)
def test_advantages_equal_the_closed_form(record_property):
    seen, apart = [], []

    @settings(max_examples=promised(10_000, 2_000) // BATCH, deadline=None)
    @given(groups(count=BATCH), st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([1.0, 0.5, 0.0]))
    def holds(batch, eps, alpha):
        rewards, ids, mask = batch
        scaled = ips_rewards(rewards, ids, eps=eps, alpha=alpha, mask=mask)
        advantages, flat = group_advantage(scaled, mask=mask)
        assert np.isfinite(advantages).all()
        for r, o, m, a in zip(rewards, ids, mask, advantages, strict=True):
            expected = np.array(closed_form(r[m].tolist(), o[m].tolist(), eps, alpha))
            np.testing.assert_allclose(a[m], expected, rtol=1e-9, atol=1e-9)  # 1e6 / std_eps * ulp
            assert (a[~m] == 0).all()
            apart.append(np.abs(a[m] - expected).max())
        nothing = (np.where(mask, ids, -1) == -1).all(-1) & (np.ptp(rewards, -1) == 0)
        assert flat[nothing].all()
        assert (advantages[flat] == 0).all()
        assert flat[mask.sum(-1) == 1].all()
        seen.append(len(ids))

    holds()
    assert sum(seen) >= promised(10_000, 2_000)
    record_property("figure", f"{sum(seen):,} groups to {max(apart):.0e} of the closed form")


@pytest.mark.promise(number=13)
def test_advantages_follow_the_samples_and_not_the_names(record_property):
    seen = []

    @settings(max_examples=promised(10_000, 1_000) // BATCH, deadline=None)
    @given(groups(count=BATCH), st.integers(0, 2**32 - 1))
    def holds(batch, seed):
        rewards, ids, mask = batch
        rng = np.random.default_rng(seed)
        order = rng.permutation(ids.shape[-1])
        names = rng.permutation(1000)
        plain = group_advantage(ips_rewards(rewards, ids, mask=mask), mask=mask).advantages
        renamed = np.where(ids == -1, -1, names[ids])
        assert_same(group_advantage(ips_rewards(rewards, renamed, mask=mask), mask=mask)[0], plain)
        r, o, m = (array[:, order] for array in batch)
        reordered = group_advantage(ips_rewards(r, o, mask=m), mask=m).advantages
        np.testing.assert_allclose(reordered, plain[:, order], rtol=1e-9, atol=1e-9)
        seen.append(len(ids))

    holds()
    assert sum(seen) >= promised(10_000, 1_000)
    record_property("figure", f"{sum(seen):,} groups reordered and renamed")


@pytest.mark.promise(number=13)
@pytest.mark.parametrize(
    ("rewards", "ids"),
    [
        ([0.7], [3]),
        ([0.7], [-1]),
        ([0.1] * 7, [-1] * 7),
        ([0.1] * 7, [4] * 7),
        ([0.0] * 3, [1, 1, 2]),
    ],
    ids=["one", "one-invalid", "all-invalid", "all-equal", "all-zero"],
)
def test_groups_without_signal_have_zero_advantage(xp, rewards, ids):
    advantages, flat = group_advantage(ips_rewards(xp.floats([rewards]), xp.integers([ids])))
    assert (numpy_of(advantages) == 0).all()
    assert bool(flat[0])


# Work.


def test_no_loop_runs_over_groups_or_members(xp):
    rng = np.random.default_rng(0)
    rewards, ids = xp.floats(rng.random((256, 64))), xp.integers(rng.integers(0, 8, (256, 64)))

    def run(groups: int, size: int) -> None:
        group_advantage(ips_rewards(rewards[:groups, :size], ids[:groups, :size]))

    run(4, 4), run(256, 64)  # the first call of a shape compiles
    # 1,000 times as many members: sorting them takes a quarter more steps than comparing a few.
    assert steps(lambda: run(256, 64)) < 1.4 * steps(lambda: run(4, 4))


def test_memory_grows_with_the_members():
    rng = np.random.default_rng(0)
    rewards, ids = rng.random((4, 4096)), rng.integers(0, 8, (4, 4096))
    run = lambda: group_advantage(ips_rewards(rewards, ids))  # noqa: E731
    run()
    assert peak_memory(run) < 200 * rewards.size  # two dozen arrays of 8 bytes, and no pairs


@pytest.mark.parametrize("kind", ["integers", "floats"])
def test_masks_of_zeros_and_ones_are_masks(xp, kind):
    """As Hugging Face writes its attention masks."""
    rewards, ids = xp.floats([1.0, 1.0, 1.0]), xp.integers([3, 3, 4])
    expected = ips_rewards(rewards, ids, mask=xp.booleans([True, False, True]))
    assert_close(ips_rewards(rewards, ids, mask=getattr(xp, kind)([1, 0, 1])), expected)


@pytest.mark.parametrize("keys", [["a", None, "a"], [1.0, 2.0, 1.0]])
def test_keys_are_not_taken_for_ids(keys):
    with pytest.raises(InvalidInput, match="not outcome ids.*outcome_ids"):
        ips_rewards(np.ones(3), np.array(keys))


def test_p_is_not_looked_at_where_it_does_not_count(xp):
    p = xp.floats([0.0, 0.5, math.nan])
    mask = xp.booleans([True, True, False])
    scaled = ips_rewards(xp.floats([1.0, 1.0, 1.0]), xp.integers([-1, 7, 7]), p=p, mask=mask)
    assert_close(scaled, [1.0, 2.0, 0.0])


def test_no_gradient_flows_through_scaled_rewards(grad_xp):
    """sg[r / p]: with p = exp(log_pf), a gradient would fight the policy's own."""

    def total(log_pf):
        p = likelihood(log_pf)
        scaled = ips_rewards(grad_xp.floats([1.0, 1.0]), grad_xp.integers([1, 2]), p=p)
        return (scaled * log_pf).sum()

    slope = gradient(grad_xp, total, grad_xp.floats([math.log(0.5), math.log(0.25)]))
    assert_close(slope, [2.0, 4.0])  # of the second factor alone


# Values that a dtype cannot hold.


def test_scaled_rewards_that_the_dtype_cannot_hold_are_refused(xp):
    # 65504/(1/2), 3e38/(1/2), 1e308/(1/2)
    for dtype, reward in {"float16": 65504.0, "float32": 3e38, "float64": 1e308}.items():
        with jax.enable_x64(dtype == "float64"):
            rewards = xp.of([reward, 1.0], dtype)
            with pytest.raises(InvalidInput, match="scaled rewards are larger than .*float"):
                ips_rewards(rewards, [1, 2])
            assert_same(ips_rewards(rewards, [1, 1]), rewards)
    if xp.name == "jax":  # where no error can be raised
        traced = jax.jit(lambda r: ips_rewards(r, np.array([1, 2])))(xp.of([65504.0, 1], "float16"))
        assert numpy_of(traced).tolist() == [math.inf, 2.0]


def test_a_weight_may_be_larger_than_what_it_scales(xp):
    """1/p = 2^20 is more than float16 holds; 2^-10 / p = 2^10 is not."""
    p = xp.of([2.0**-20, 1.0], "float16")
    scaled = ips_rewards(xp.of([2.0**-10, 0.0], "float16"), [1, 2], p=p)
    assert str(scaled.dtype).endswith("float16")
    assert numpy_of(scaled).tolist() == [2.0**10, 0.0]
    assert numpy_of(ips_rewards(xp.of([0.0, 0.0], "float16"), [1, 2], p=p)).tolist() == [0, 0]


def test_weights_that_the_dtype_cannot_hold_are_refused(xp):
    with pytest.raises(InvalidInput, match="weights are larger than .*float16"):
        ips_weights(xp.of([2.0**-20], "float16"))
    assert numpy_of(ips_weights(xp.of([2.0**-20], "float16"), alpha=0.5)).tolist() == [2.0**10]
    with pytest.raises(InvalidInput, match="weights are larger than .*float"):
        ips_weights(xp.floats([0.1]), alpha=400)
    for reward in (1.0, 0.0):  # 0 times infinity is NaN
        with pytest.raises(InvalidInput, match="scaled rewards are larger"):
            ips_rewards(xp.floats([reward, reward]), xp.integers([1, 2]), alpha=2000)


def test_rewards_of_16_bits_are_rounded_once(xp):
    # p^ = 2/3, 1/3 in float32; 1/p^ in float16 first would round twice
    rewards, ids = xp.of([0.1, 0.7, 0.9], "float16"), [1, 1, 2]
    exact = ips_rewards(numpy_of(rewards), ids)
    ours = numpy_of(ips_rewards(rewards, ids))
    assert (np.abs(ours - exact) <= 2**-11 * exact * 1.001).all()  # half an ulp


# Kinds of numbers.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_unsigned_ids_always_name_an_outcome(xp, dtype):
    """-1 compares equal to the largest of them in some libraries."""
    most = 2 ** (8 * np.dtype(dtype).itemsize) - 1
    with jax.enable_x64(True):
        ids = xp.of(np.array([most, most, 7], dtype), dtype)
        assert_close(ips_rewards(xp.floats([1, 1, 1]), ids), [1.5, 1.5, 3])
        mask = xp.booleans([True, False, True])
        assert_close(ips_rewards(xp.floats([1, 1, 1]), ids, mask=mask), [2, 0, 2])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_signed_ids_may_be_missing(xp, dtype):
    with jax.enable_x64(True):
        assert_close(ips_rewards(xp.floats([1, 1]), xp.of([-1, 7], dtype)), [1, 2])


def test_ids_that_are_not_integers_are_refused(xp):
    for ids in (xp.floats([1, 2]), xp.booleans([True, False]), xp.of([1, 2], "complex64")):
        with pytest.raises(InvalidInput, match="not outcome ids.*outcome_ids"):
            ips_rewards(xp.floats([1.0, 1.0]), ids)


def test_complex_numbers_are_refused(xp):
    real, ids, wrong = xp.floats([1.0, 1.0]), xp.integers([1, 2]), xp.of([1, 1j], "complex64")
    with pytest.raises(InvalidInput, match="dtype of rewards is .*complex64"):
        ips_rewards(wrong, ids)
    with pytest.raises(InvalidInput, match="dtype of p is .*complex64"):
        ips_rewards(real, ids, p=wrong)
    with pytest.raises(InvalidInput, match="dtype of p is .*complex64"):
        ips_weights(wrong)


def test_groups_without_members_are_refused(xp):
    with pytest.raises(InvalidInput, match="rewards have shape .*no group"):
        ips_rewards(xp.floats(1.0), xp.integers(1), p=xp.floats(0.5))
    with pytest.raises(InvalidInput, match="at least one member"):
        ips_rewards(xp.floats(np.zeros((2, 0))), xp.integers(np.zeros((2, 0))))
