import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers import assert_close, assert_same, numpy_of

from ipsrl import group_advantage
from ipsrl.errors import InvalidInput

SETTINGS = list(itertools.product(["mean", "leave-one-out", "none"], ["group", "batch", "none"]))


def rewards_of(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_by_hand(xp):
    # r = 1 2 6: mean 3, deviations -2 -1 3, variance (4 + 1 + 9)/2 = 7
    std = math.sqrt(7)
    r = xp.floats([[1, 2, 6]])
    assert_close(group_advantage(r, std_eps=0.0).advantages, np.array([[-2, -1, 3]]) / std)
    # leave-one-out: 1 - (2 + 6)/2 = -3, 2 - 7/2 = -3/2, 6 - 3/2 = 9/2
    rloo = group_advantage(r, baseline="leave-one-out", scale="none")
    assert_close(rloo.advantages, [[-3, -1.5, 4.5]])
    # ddof 0: variance 14/3
    population = group_advantage(r, ddof=0, std_eps=0.5)
    assert_close(population.advantages, np.array([[-2, -1, 3]]) / (math.sqrt(14 / 3) + 0.5))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
def test_advantages_sum_to_zero_in_every_group(xp, baseline, scale):
    result = group_advantage(xp.floats(rewards_of((7, 9))), baseline=baseline, scale=scale)
    assert np.abs(numpy_of(result.advantages).sum(-1)).max() < 2e-5  # 9 float32 terms of order 1
    assert np.abs(numpy_of(result.advantages)).max() > 0.1


@pytest.mark.parametrize("std_eps", [1e-4, 1e-6], ids=["TRL", "verl"])
def test_grpo_as_other_libraries_write_it(std_eps):
    rewards = torch.tensor(rewards_of(40), dtype=torch.float32)
    grouped = rewards.view(-1, 8)
    mean = grouped.mean(dim=1).repeat_interleave(8)
    std = grouped.std(dim=1).repeat_interleave(8)
    theirs = (rewards - mean) / (std + std_eps)
    ours = group_advantage(grouped, std_eps=std_eps).advantages
    assert_close(ours.view(-1), theirs)


def test_defaults_are_trl():
    rewards = torch.tensor(rewards_of((5, 8)))
    explicit = group_advantage(rewards, baseline="mean", scale="group", std_eps=1e-4, ddof=1)
    assert_same(group_advantage(rewards).advantages, explicit.advantages)
    assert np.abs(numpy_of(group_advantage(rewards, std_eps=1e-2)[0] - explicit[0])).max() > 1e-3


def test_batch_scale_divides_by_the_deviation_of_all_rewards():
    rewards = torch.tensor(rewards_of((5, 8)))
    theirs = (rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std() + 1e-4)
    assert_close(group_advantage(rewards, scale="batch").advantages, theirs)


def test_dr_grpo_only_subtracts_the_mean(xp):
    r = rewards_of((5, 8))
    ours = group_advantage(xp.floats(r), scale="none").advantages
    assert_close(ours, r - r.mean(-1, keepdims=True))


def test_leave_one_out_compares_with_the_other_members(xp):
    r = rewards_of((5, 8))
    others = np.stack([np.delete(r, g, axis=-1).mean(-1) for g in range(8)], axis=-1)
    ours = group_advantage(xp.floats(r), baseline="leave-one-out", scale="none").advantages
    assert_close(ours, r - others)


def test_no_baseline_and_no_scale_is_the_reward(xp):
    r = xp.floats(rewards_of((5, 8)))
    assert_same(group_advantage(r, baseline="none", scale="none").advantages, r)


def test_shift_and_scale_of_rewards_do_not_matter(xp):
    r = rewards_of((5, 8))
    plain = group_advantage(xp.floats(r), std_eps=0.0).advantages
    assert_close(group_advantage(xp.floats(4 * r + 2), std_eps=0.0).advantages, plain)


def test_order_within_the_group_does_not_matter(xp):
    r, order = rewards_of((5, 8)), np.array([3, 1, 7, 0, 2, 6, 5, 4])
    plain = numpy_of(group_advantage(xp.floats(r)).advantages)
    assert_close(group_advantage(xp.floats(r[:, order])).advantages, plain[:, order])


@pytest.mark.parametrize(("baseline", "scale"), SETTINGS)
def test_a_ragged_group_is_the_smaller_group(xp, baseline, scale):
    r, lengths = rewards_of((6, 7)), np.array([7, 3, 1, 5, 2, 7])
    mask = np.arange(7) < lengths[:, None]
    padded = np.where(mask, r, math.nan)
    kept = {"baseline": baseline, "scale": "none" if scale == "batch" else scale}
    ours = group_advantage(
        xp.floats(padded), baseline=baseline, scale=scale, mask=xp.booleans(mask)
    ).advantages
    assert (numpy_of(ours)[~mask] == 0).all()
    factor = 1 / (r[mask].std(ddof=1) + 1e-4) if scale == "batch" else 1.0
    # A group of one under the scale "group" is its reward / std_eps: 1e4 times the rounding.
    tolerance = None if xp.name == "numpy" else 1e-4
    for row, full, n in zip(ours, r, lengths, strict=True):
        alone = group_advantage(xp.floats(full[:n]), **kept).advantages
        assert_close(row[:n], numpy_of(alone) * factor, tolerance=tolerance)


@pytest.mark.parametrize(("baseline", "scale"), SETTINGS)
def test_leading_axes_are_batches(xp, baseline, scale):
    r = rewards_of((2, 3, 4, 5))
    cube = group_advantage(xp.floats(r), baseline=baseline, scale=scale)
    flat = group_advantage(xp.floats(r.reshape(-1, 5)), baseline=baseline, scale=scale)
    assert tuple(cube.advantages.shape) == r.shape
    assert tuple(cube.zero_variance.shape) == (2, 3, 4)
    assert_close(cube.advantages, numpy_of(flat.advantages).reshape(r.shape))


def test_a_single_group_needs_no_leading_axis(xp):
    result = group_advantage(xp.floats([1, 2, 6]))
    assert tuple(result.advantages.shape) == (3,)
    assert tuple(result.zero_variance.shape) == ()


@pytest.mark.parametrize("baseline", ["mean", "leave-one-out"])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_equal_rewards_give_exactly_zero(xp, size, baseline):
    result = group_advantage(xp.floats(np.full((1, size), 0.1)), baseline=baseline)
    assert (numpy_of(result.advantages) == 0).all()
    assert bool(result.zero_variance[0])


def test_the_flag_marks_equal_empty_and_single_groups_only(xp):
    r = xp.floats([[1, 1, 1], [1, 1, 2], [5, 9, 9], [5, 9, 9], [1, 1, 2]])
    mask = xp.booleans([[1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]])
    result = group_advantage(r, mask=mask)
    assert numpy_of(result.zero_variance).tolist() == [1, 0, 1, 1, 1]
    assert np.isfinite(numpy_of(result.advantages)).all()


def test_the_smallest_difference_is_a_signal():
    r = np.array([[1.0, np.nextafter(1.0, 2.0)]])
    assert not group_advantage(r).zero_variance[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    result = group_advantage(torch.tensor([[1.0, 2.0, 3.0]], dtype=dtype))
    assert result.advantages.dtype == dtype
    assert_close(result.advantages, np.array([[-1, 0, 1]]) / (1 + 1e-4))


def test_integer_rewards_become_floats(xp):
    assert_close(group_advantage(xp.integers([[0, 1]]), scale="none").advantages, [[-0.5, 0.5]])


def test_the_same_under_jit_and_vmap():
    r = jnp.asarray(rewards_of((5, 8)), dtype=jnp.float32)
    plain = group_advantage(r).advantages
    assert_close(jax.jit(group_advantage)(r).advantages, plain)
    assert_close(jax.vmap(group_advantage)(r).advantages, plain)


# Rewards of any size.

SIZES = {
    "float16": [600.0, 65504.0, 1e-3],
    "bfloat16": [1e20, 3e38, 1e-30],
    "float32": [1e20, 3e38, 1e-30],
    "float64": [1e200, 1.7e308, 1e-200],
}
SHAPES = {"one": [1, 0, 0, 0], "signs": [1, -1, 0.5, 0], "ends": [1, 1, -1, -1]}


def of_size(xp, dtype):
    """Whether the library has the dtype, and its largest rounding of a number of order 1."""
    if dtype == "bfloat16" and xp.name == "numpy":
        pytest.skip("NumPy has no bfloat16")
    return {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-14}[dtype]


@pytest.mark.parametrize("scale", ["group", "batch"])
@pytest.mark.parametrize("baseline", ["mean", "leave-one-out", "none"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "size"), [(dtype, size) for dtype, sizes in SIZES.items() for size in sizes]
)
def test_the_size_of_rewards_does_not_matter(xp, dtype, size, shape, baseline, scale):
    """Neither sums nor squares overflow or vanish, with jit or without."""
    rounding = of_size(xp, dtype)
    plain = np.array([SHAPES[shape]], float)
    settings = {"baseline": baseline, "scale": scale, "std_eps": 0.0}
    expected = group_advantage(plain, **settings).advantages
    assert np.abs(expected).max() > 0.5
    with jax.enable_x64(dtype == "float64"):
        rewards = xp.of(size * plain, dtype)
        result = group_advantage(rewards, **settings)
        assert result.advantages.dtype == rewards.dtype
        assert_close(result.advantages, expected, tolerance=rounding)
        if xp.name == "jax":
            traced = jax.jit(functools.partial(group_advantage, **settings))(rewards)
            assert_close(traced.advantages, expected, tolerance=rounding)


@pytest.mark.parametrize("size", [1e-30, 1e-13, 1e-11, 1.0, 1e11, 1e13, 1e30])
@pytest.mark.parametrize("scale", ["group", "batch"])
def test_neighbours_of_any_size_are_told_apart(xp, size, scale):
    """Deviations d and -d have the standard deviation sqrt(2) d, so that advantages differ by
    sqrt(2); where the mean is rounded to one of the two, it is 2 d, and they differ by 1."""
    two = np.array([np.float32(size), np.nextafter(np.float32(size), np.float32(0))])
    advantages = group_advantage(xp.of([two], "float32"), scale=scale, std_eps=0.0).advantages
    gap = numpy_of(advantages)[0] @ [1, -1]
    assert 1 - 1e-6 <= gap <= math.sqrt(2) + 1e-6  # float32


@pytest.mark.parametrize("dtype", SIZES)
def test_without_a_scale_the_size_of_rewards_is_kept(xp, dtype):
    # r = s, 0, 0, 0: mean s/4, so 3/4 s and -1/4 s; leave-one-out: s and -1/3 s
    rounding = of_size(xp, dtype)
    with jax.enable_x64(dtype == "float64"):
        for size in SIZES[dtype]:
            rewards = xp.of(size * np.array([1.0, 0, 0, 0]), dtype)
            mean = group_advantage(rewards, scale="none").advantages
            rloo = group_advantage(rewards, baseline="leave-one-out", scale="none").advantages
            size = numpy_of(rewards)[0]
            assert_close(numpy_of(mean) / size, [3 / 4, *[-1 / 4] * 3], tolerance=rounding)
            assert_close(numpy_of(rloo) / size, [1, *[-1 / 3] * 3], tolerance=rounding)


def test_a_group_of_another_size_beside_it_does_not_matter(xp):
    ordinary, huge, tiny = [0.3, 0.7, 0.2], [1e30, 2e30, 0], [1e-30, 0, 0]
    together = group_advantage(xp.floats([ordinary, huge, tiny])).advantages
    assert_same(together[:1], group_advantage(xp.floats([ordinary])).advantages)
    assert_same(together[1:2], group_advantage(xp.floats([huge])).advantages)
    # 1e-30 is nothing beside std_eps = 1e-4: 2/3 1e-26
    assert_close(1e26 * numpy_of(together)[2], [2 / 3, -1 / 3, -1 / 3], tolerance=1e-6)


def test_the_scale_of_the_batch_is_that_of_its_largest_rewards(xp):
    # r = 0 4s | 0 1: of the batch mean s, squares s^2 (1 + 9 + 1 + 1), std 2 s
    advantages = group_advantage(xp.floats([[0, 4e30], [0, 1]]), scale="batch").advantages
    assert_close(advantages, [[-1, 1], [0, 0]])
    assert numpy_of(advantages)[1, 1] > 0


def test_a_batch_larger_than_float16_counts(xp):
    """2^17 samples: a count in float16 is infinite, and one in bfloat16 has two digits."""
    rewards = np.tile([0.0, 1.0], (2, 2**16))
    for scale in ("group", "batch"):
        advantages = group_advantage(xp.of(rewards, "float16"), scale=scale).advantages
        # std 1/2, up to 1/2^17; std_eps = 1e-4 takes 2e-4 of it
        assert_close(advantages, 2 * rewards - 1, tolerance=1e-3)


def test_rewards_of_16_bits_are_rounded_once(xp):
    rewards = xp.of(rewards_of((5, 8)), "float16")
    exact = group_advantage(numpy_of(rewards)).advantages
    ours = numpy_of(group_advantage(rewards).advantages)
    # half an ulp of float16 is 2^-11; float32 before adds nothing that could be seen
    assert (np.abs(ours - exact) <= 2**-11 * np.abs(exact) * 1.001).all()


def test_advantages_that_the_dtype_cannot_hold_are_refused(xp):
    # 65504 - (-65504) = 131008
    wide = xp.of([65504.0, -65504.0], "float16")
    settings = {"baseline": "leave-one-out", "scale": "none"}
    with pytest.raises(InvalidInput, match="advantages are larger than .*float16.*Pass float32"):
        group_advantage(wide, **settings)
    # 0.5/0: nothing to measure the reward in
    with pytest.raises(InvalidInput, match="advantages are larger"):
        group_advantage(xp.floats([0.5, 0.5]), baseline="none", std_eps=0.0)
    if xp.name == "jax":  # where no error can be raised
        traced = jax.jit(functools.partial(group_advantage, **settings))(wide)
        assert numpy_of(traced.advantages).tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_rewards_need_no_std_eps(xp, scale):
    result = group_advantage(xp.floats([[0.1] * 3, [0.1] * 3]), scale=scale, std_eps=0.0)
    assert (numpy_of(result.advantages) == 0).all()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_batch_of_no_groups_has_no_advantages(xp, scale):
    result = group_advantage(xp.floats(np.zeros((0, 4))), scale=scale)
    assert tuple(result.advantages.shape) == (0, 4)
    assert tuple(result.zero_variance.shape) == (0,)


# Weights: what the policy gives a sample over what drew it.


def test_weights_by_hand(xp):
    # w = 1 3 0, r = 2 6 100: mean (2 + 18)/4 = 5, deviations -3 1 95;
    # squares 1*9 + 3*1 + 0 = 12, variance 12/(4 - 1) = 4
    r, w = xp.floats([[2, 6, 100]]), xp.floats([[1, 3, 0]])
    plain = group_advantage(r, scale="none", weights=w).advantages
    assert_close(plain, [[-3, 3, 0]])
    scaled = group_advantage(r, std_eps=0.0, weights=w).advantages
    assert_close(scaled, [[-1.5, 1.5, 0]])
    alone = group_advantage(r, baseline="none", scale="none", weights=w).advantages
    assert_close(alone, [[2, 18, 0]])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "none"])
def test_weights_of_one_change_nothing(xp, baseline, scale):
    r, mask = xp.floats(rewards_of((5, 8))), xp.booleans(np.arange(8) < np.arange(1, 6)[:, None])
    ones = xp.floats(np.ones((5, 8)))
    for m in (None, mask):
        settings = {"baseline": baseline, "scale": scale, "mask": m}
        weighted, plain = (
            group_advantage(r, weights=ones, **settings),
            group_advantage(r, **settings),
        )
        assert_close(weighted.advantages, plain.advantages)
        assert_same(weighted.zero_variance, plain.zero_variance)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "none"])
def test_a_weight_of_n_is_n_samples(xp, baseline, scale):
    """Together they have the advantage that the one has."""
    r, times = rewards_of((2, 4)), np.array([[1, 3, 2, 2], [4, 1, 1, 2]])
    repeated = np.stack([np.repeat(*pair) for pair in zip(r, times, strict=True)])
    settings = {"baseline": baseline, "scale": scale}
    weighted = group_advantage(xp.floats(r), weights=xp.floats(times), **settings).advantages
    each = numpy_of(group_advantage(xp.floats(repeated), **settings).advantages)
    together = [np.add.reduceat(row, np.cumsum(n) - n) for row, n in zip(each, times, strict=True)]
    assert_close(weighted, together, tolerance=None if xp.name == "numpy" else 1e-4)


@pytest.mark.parametrize("size", [2, 0.02])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_weighted_advantages_sum_to_zero(xp, scale, size):
    """Also where the weights of a group sum to less than 1."""
    r, w = rewards_of((7, 9)), size * rewards_of((7, 9), seed=1)
    advantages = group_advantage(xp.floats(r), scale=scale, weights=xp.floats(w)).advantages
    # 9 float32 terms of order 1, or of the weights
    assert np.abs(numpy_of(advantages).sum(-1)).max() < 1e-5 * size
    assert np.abs(numpy_of(advantages)).max() > 0.05 * size


def test_small_weights_by_hand(xp):
    # r = 1 0 1 0, all of weight 1/10: the mean is 1/2.
    r, w = xp.floats([1, 0, 1, 0]), xp.floats([0.1] * 4)
    advantages = group_advantage(r, scale="none", weights=w).advantages
    assert_close(advantages, [0.05, -0.05, 0.05, -0.05])


def test_weights_outside_the_mask_do_not_matter(xp):
    r, w, mask = rewards_of((4, 6)), rewards_of((4, 6), seed=1), np.arange(6) < 4
    mask = np.broadcast_to(mask, r.shape)
    other = np.where(mask, w, math.nan)
    results = [
        group_advantage(xp.floats(r), mask=xp.booleans(mask), weights=xp.floats(weights))
        for weights in (w, other)
    ]
    assert_same(results[0].advantages, results[1].advantages)
    assert (numpy_of(results[0].advantages)[~mask] == 0).all()
    alone = group_advantage(xp.floats(r[:, :4]), weights=xp.floats(w[:, :4])).advantages
    assert_close(results[0].advantages[:, :4], alone)


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_impossible_weights_are_refused(xp, bad):
    with pytest.raises(InvalidInput, match="weights have negative or non-finite.*under the policy"):
        group_advantage(xp.floats([[1.0, 2.0]]), weights=xp.floats([[1.0, bad]]))


def test_weights_that_do_not_fit_are_refused(xp):
    r = xp.floats([[1.0, 2.0]])
    with pytest.raises(InvalidInput, match="rewards and weights have shapes"):
        group_advantage(r, weights=xp.floats([1.0, 2.0]))
    with pytest.raises(InvalidInput, match="weights with baseline='leave-one-out'"):
        group_advantage(r, weights=r, baseline="leave-one-out")


# Errors.


def test_rewards_that_are_not_real_are_refused(xp):
    with pytest.raises(InvalidInput, match="dtype of rewards is .*complex.*real numbers"):
        group_advantage(xp.of([[1.0, 2.0j]], "complex64"))
    for rewards in (["a", "b"], [None, 1.0]):
        with pytest.raises(InvalidInput, match="dtype of rewards is"):
            group_advantage(rewards)


@pytest.mark.parametrize("std_eps", [-1e-4, math.nan, math.inf])
def test_impossible_std_eps_is_refused(xp, std_eps):
    with pytest.raises(InvalidInput, match=rf"std_eps={std_eps}.*finite std_eps >= 0"):
        group_advantage(xp.floats([[1.0, 2.0]]), std_eps=std_eps)


@pytest.mark.parametrize("ddof", [-1, 0.5, 2, math.nan])
def test_impossible_ddof_is_refused(xp, ddof):
    with pytest.raises(InvalidInput, match=rf"ddof={ddof}.*with 0 or 1"):
        group_advantage(xp.floats([[1.0, 2.0]]), ddof=ddof)


@pytest.mark.promise(number=4)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_rewards_are_refused(xp, bad):
    with pytest.raises(InvalidInput, match="NaN or infinite.*spread to the whole group.*mask"):
        group_advantage(xp.floats([[1.0, bad]]))


@pytest.mark.parametrize("wrong", [{"baseline": "median"}, {"scale": "std"}])
def test_unknown_settings_are_refused(xp, wrong):
    with pytest.raises(InvalidInput, match="Use baseline 'mean'.*and scale 'group'"):
        group_advantage(xp.floats([[1.0, 2.0]]), **wrong)


def test_misaligned_arrays_are_refused(xp):
    with pytest.raises(InvalidInput, match=r"no group.*\(\.\.\., group_size\)"):
        group_advantage(xp.floats(1.0))
    with pytest.raises(InvalidInput, match="rewards and mask have shapes"):
        group_advantage(xp.floats([[1.0, 2.0]]), mask=xp.booleans([True, True]))


def test_groups_without_members_are_refused(xp):
    with pytest.raises(InvalidInput, match="group"):
        group_advantage(xp.floats(np.zeros((3, 0))))
