"""Sums over equal ids against their definition, which compares all pairs."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers import assert_close, assert_same, gradient, namespace, numpy_of
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import NO_OUTCOME
from ipsrl.core import counting
from ipsrl.core.arrays import as_arrays
from ipsrl.core.counting import sum_over_equal
from ipsrl.core.probability import group_frequency, leave_one_out_frequency, weighted_frequency
from ipsrl.errors import InvalidInput

LIBRARIES = pytest.mark.parametrize("library", ["numpy", "torch", "jax"])


@pytest.fixture(params=[True, False], ids=["sorted", "pairs"], autouse=True, scope="module")
def sorts(request):
    """Each test runs with both algorithms, whatever the size."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FEW_PAIRS", "FEW_PAIRS_OF_JAX"):
            patch.setattr(counting, name, -1 if request.param else math.inf)
        yield request.param


def by_pairs(ids, among, weights):
    same = ids[..., :, None] == among[..., None, :]
    return np.where(same, weights[..., None, :], 0.0).sum(-1)


@st.composite
def rows(draw):
    """Ids [..., I], ids [..., J] and weights [..., J], with any leading axes, also none."""
    lead = draw(st.sampled_from([(), (0,), (2, 3)]))  # few shapes: JAX compiles each
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = rng.integers(0, 2**62, draw(st.integers(1, 6)))
    names[0] = NO_OUTCOME
    ids, among = (
        names[rng.integers(0, len(names), (*lead, draw(st.sampled_from([1, 7]))))] for _ in range(2)
    )
    return ids, among, np.where(rng.random(among.shape) < 0.2, 0.0, rng.random(among.shape))


def summed(ids, among, weights):
    xp, ids, among, weights = as_arrays(ids, among, weights)
    return sum_over_equal(xp, ids, among, weights)


def on(library):
    """Its namespace, and a function as it runs there; JAX compiles once for each shape."""
    return namespace(library), jax.jit if library == "jax" else lambda function: function


@LIBRARIES
@given(rows())
def test_the_sum_is_that_of_all_pairs(library, drawn):
    xp, run = on(library)
    ids, among, weights = drawn
    if library == "jax":  # its ids have 32 bits
        ids, among = ids.astype(np.int32), among.astype(np.int32)
    sums = run(summed)(xp.integers(ids), xp.integers(among), xp.floats(weights))
    assert sums.dtype == xp.floats([]).dtype
    assert_close(sums, by_pairs(ids, among, weights))


def mean_of_rows(array):
    xp, array = as_arrays(array)
    return xp.mean(array, axis=-1)


@LIBRARIES
@given(rows())
def test_a_group_is_counted_among_itself(library, drawn):
    """Counts are exact: the share is n / G, to the last bit."""
    xp, run = on(library)
    ids = drawn[0]
    if library == "jax":
        ids = ids.astype(np.int32)
    members = xp.integers(ids)
    same = ids[..., :, None] == ids[..., None, :]
    p = run(group_frequency)(members)
    mean = run(mean_of_rows)(xp.floats(same))
    assert_same(p, np.where(ids == NO_OUTCOME, 1.0, numpy_of(mean)))
    mask = np.random.default_rng(ids.size).random(ids.shape) < 0.7
    n = by_pairs(ids, ids, mask.astype(float))
    size = np.maximum(mask.sum(-1, keepdims=True), 1)
    unscaled = ~mask | (ids == NO_OUTCOME)
    masked = run(group_frequency)(members, mask=xp.booleans(mask))
    assert_close(masked, np.where(unscaled, 1.0, n / size))
    others = run(leave_one_out_frequency)(members, mask=xp.booleans(mask))
    assert_close(others, np.where(unscaled, 1.0, (n - 0.5) / (size - 0.5)))


def test_sums_by_hand(xp):
    # Outcome 7 has .5 + 2, outcome 8 has 1; 9 is not among them; rows do not mix.
    sums = summed(
        xp.integers([[7, 9, 8], [7, 8, 9]]),
        xp.integers([[7, 8, 7, 6], [9, 9, 9, 7]]),
        xp.floats([[0.5, 1, 2, 4], [1, 2, 3, 5]]),
    )
    assert_same(sums, [[2.5, 0, 1], [5, 0, 6]])


def test_weighted_frequency_by_hand(xp):
    # Weights sum to 8: outcome 7 has (.5 + 2)/8, 8 has 1/8; 9 was not seen, and counts as once.
    p = weighted_frequency(
        xp.integers([7, 8, 9, -1]),
        xp.integers([7, 8, 7, 6, -1]),
        xp.floats([0.5, 1, 2, 4, 0.5]),
        least=1.0,
    )
    assert_same(p, [2.5 / 8, 1 / 8, 1 / 8, 1])
    ones = weighted_frequency(xp.integers([7, 9]), xp.integers([7, 7, 8, -1]))
    assert_same(ones, [1 / 2, 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32"])
def test_ids_of_any_integer_dtype(xp, dtype):
    largest = np.iinfo(dtype).max
    ids = xp.of([[0, largest, largest, 1], [1, 1, 1, 1]], dtype)
    assert_same(group_frequency(ids), [[0.25, 0.5, 0.5, 0.25], [1, 1, 1, 1]])


def test_ids_of_64_bits_without_a_sign():
    ids = np.array([[0, 2**64 - 1, 2**64 - 2, 2**64 - 1]], np.uint64)
    for array in (ids, torch.from_numpy(ids)):
        assert_same(group_frequency(array), [[0.25, 0.5, 0.25, 0.5]])


def test_ids_of_two_dtypes_are_refused(xp):
    with pytest.raises(InvalidInput, match="int8 are looked for among ids of dtype .*int16.*same"):
        weighted_frequency(xp.of([1], "int8"), xp.of([1, 2], "int16"))
    with pytest.raises(InvalidInput, match="not outcome ids"):
        weighted_frequency(xp.floats([1]), xp.floats([1, 2]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_weights_keep_their_dtype_and_are_summed_in_32_bits(xp, dtype):
    """3,000 times 1/2 is 1,500, where bfloat16 stops at 128; 70,000 is too large for float16."""
    if (xp.name, dtype) in {("numpy", "bfloat16"), ("jax", "float64")}:
        pytest.skip("NumPy has no bfloat16, JAX no float64")
    ids = xp.integers([1] * 3000 + [2] * 1000)
    for weight in (0.5, 70.0):
        p = weighted_frequency(ids, ids, xp.of([weight] * 4000, dtype))
        assert str(p.dtype).removeprefix("torch.") == dtype
        assert_close(p, [0.75] * 3000 + [0.25] * 1000, tolerance=1e-6)  # XLA divides to an ulp


def test_counts_pass_256_where_16_bits_are_the_default():
    torch.set_default_dtype(torch.bfloat16)
    try:
        p = group_frequency(torch.tensor([1] * 300 + [2] * 300))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(p, [0.5] * 600)


def test_integer_weights_are_numbers_of_samples(xp):
    p = weighted_frequency(xp.integers([1, 2]), xp.integers([1, 2]), xp.integers([3, 1]))
    assert_same(p, [0.75, 0.25])


def test_no_weight_at_all_is_no_division_by_zero(xp):
    ids = xp.integers([1, 2])
    assert_same(weighted_frequency(ids, ids, xp.floats([0, 0])), [0, 0])
    assert_same(weighted_frequency(ids, xp.integers([]), xp.floats([])), [0, 0])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 0, 1)])
def test_a_batch_of_no_groups(xp, shape):
    assert tuple(group_frequency(xp.integers(np.zeros(shape))).shape) == shape
    mask = xp.booleans(np.zeros(shape))
    assert tuple(leave_one_out_frequency(xp.integers(np.zeros(shape)), mask=mask).shape) == shape


def test_small_weights_are_not_lost_beside_large_ones():
    """As they would be in differences of running sums."""
    p = weighted_frequency([1, 2], [1, 2, 1], np.array([1e-200, 1.0, 1e-200]))
    assert_close(p[0] * 1e200, 2.0)


def test_gradients_flow_to_the_weights(grad_xp):
    # d s / d w_j is the number of ids that equal among_j.
    ids, among = grad_xp.integers([1, 1, 2]), grad_xp.integers([1, 2, 3, 1])
    weights = grad_xp.floats([0.1, 0.2, 0.3, 0.4])
    assert_same(gradient(grad_xp, lambda w: summed(ids, among, w), weights), [2, 1, 0, 2])


def test_the_same_under_jit_vmap_and_scan():
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 4, (5, 3, 7)), jnp.int32)
    expected = group_frequency(ids)
    assert_same(jax.jit(group_frequency)(ids), expected)
    assert_same(jax.vmap(group_frequency)(ids), expected)
    assert_same(jax.lax.scan(lambda c, i: (c, group_frequency(i)), 0, ids)[1], expected)


def test_the_device_of_the_ids_is_kept():
    """The meta device refuses to meet the CPU, as a GPU does, and is on every machine."""
    ids = torch.zeros((2, 3), dtype=torch.int64, device="meta")
    for p in (group_frequency(ids), weighted_frequency(ids[0], ids[1])):
        assert p.device.type == "meta"
