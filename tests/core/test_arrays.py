import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers import assert_same, numpy_of

from ipsrl import ips_rewards
from ipsrl.core.arrays import (
    as_arrays,
    as_float,
    as_mask,
    check_distribution,
    check_same_shape,
    holds,
    to_numpy,
)
from ipsrl.errors import InvalidInput


def test_answers_come_in_kind(xp):
    like = xp.floats([1.0])
    namespace, array, nothing = as_arrays(like, None)
    assert array is like
    assert nothing is None
    assert type(namespace.asarray(1.0)) is type(like)


def test_lists_become_numpy_arrays():
    _, array, mask = as_arrays([[1, 2]], [[True, False]])
    assert isinstance(array, np.ndarray)
    assert mask.dtype == bool


@pytest.mark.parametrize("beside", [[[1, 1, 2]], np.array([[1, 1, 2]])], ids=["list", "numpy"])
def test_lists_and_numpy_arrays_join_the_other_library(xp, beside):
    scaled = ips_rewards(xp.floats([[1.0, 2.0, 3.0]]), beside)
    assert type(scaled) is type(xp.floats([]))
    # p^ = 2/3, 2/3, 1/3
    np.testing.assert_allclose(numpy_of(scaled), [[1.5, 3.0, 9.0]], rtol=1e-6)


def test_read_only_numpy_arrays_join_pytorch():
    ids = np.array([[1, 1, 2]])
    ids.setflags(write=False)  # as is every NumPy view of a JAX array
    assert ips_rewards(torch.ones(1, 3), ids).shape == (1, 3)


def test_reversed_numpy_arrays_join_pytorch():
    ids = np.array([[2, 1, 1]])[:, ::-1]
    assert ips_rewards(torch.ones(1, 3), ids).shape == (1, 3)


def test_numpy_arrays_join_a_traced_jax_array():
    scaled = jax.jit(lambda r: ips_rewards(r, np.array([[1, 1, 2]])))(jnp.ones((1, 3)))
    np.testing.assert_allclose(scaled, [[1.5, 1.5, 3.0]], rtol=1e-6)


def test_inputs_are_left_alone(xp):
    rewards, ids = xp.floats([[1.0, 2.0]]), xp.integers([[1, 1]])
    before = numpy_of(rewards).copy(), numpy_of(ids).copy()
    ips_rewards(rewards, ids, mask=xp.booleans([[True, False]]))
    assert_same(rewards, before[0])
    assert_same(ids, before[1])


def test_integers_become_the_default_float(xp):
    namespace, integers = as_arrays(xp.integers([1, 2]))
    assert as_float(namespace, "rewards", integers).dtype == xp.floats([1.0]).dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_keep_their_precision(dtype):
    array = torch.ones(2, dtype=dtype)
    namespace, array = as_arrays(array)
    assert as_float(namespace, "rewards", array) is array


def test_holds_is_false_only_where_a_condition_is_known_to_fail(xp):
    assert holds(xp.booleans([True, True]))
    assert not holds(xp.booleans([True, False]))
    assert holds(xp.booleans([]))


def test_holds_lets_traced_conditions_pass():
    seen = []
    jax.jit(lambda x: seen.append(holds(x > 0)))(jnp.array([-1.0]))
    jax.vmap(lambda x: seen.append(holds(x > 0)))(jnp.array([-1.0]))
    assert seen == [True, True]


def test_shapes_must_agree(xp):
    check_same_shape("a and b", xp.floats([[1.0]]), xp.floats([[2.0]]))
    with pytest.raises(InvalidInput, match=r"a and b have shapes \(1,\) and \(2,\).*group_size"):
        check_same_shape("a and b", xp.floats([1.0]), xp.floats([1.0, 2.0]))


@pytest.mark.parametrize("values", [[0.5, 0.4], [1.5, -0.5], [float("nan"), 1.0]])
def test_what_is_no_distribution_is_refused(xp, values):
    with pytest.raises(InvalidInput, match=r"target is not a distribution.*Divide it by its sum"):
        check_distribution("target", xp.floats(values))


def test_rounding_of_a_distribution_is_accepted(xp):
    check_distribution("p", xp.floats([[0.5, 0.5 + 5e-4], [0.0, 1.0]]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_distributions_of_16_bits_are_accepted(xp, dtype):
    """1/3 in bfloat16 is 171/512: three of them are 1.002."""
    if (xp.name, dtype) == ("numpy", "bfloat16"):
        pytest.skip("NumPy has no bfloat16")
    check_distribution("p", xp.of([1 / 3] * 3, dtype))
    with pytest.raises(InvalidInput, match="p is not a distribution"):
        check_distribution("p", xp.of([0.5, 0.49], dtype))


def test_bfloat16_of_jax_on_the_host():
    """NumPy shows it with a dtype that is not its own."""
    array = np.asarray(jnp.asarray([0.5, 2.0], jnp.bfloat16))
    assert_same(to_numpy(array), np.array([0.5, 2.0]))
    assert_same(ips_rewards(array, [1, 1]), np.array([0.5, 2.0]))


@pytest.mark.parametrize("bad", [[0, -np.inf], [0, -1e9], [0.5, 1], [np.nan, 1], [1, 2]])
def test_what_is_not_a_mask_is_refused(xp, bad):
    """An additive mask has 0 where a sample exists: taken as a mask, it would keep the others."""
    with pytest.raises(InvalidInput, match=r"mask has values other than.*mask == 0"):
        as_mask(xp.floats(bad))
    if xp.name == "jax":
        jax.jit(as_mask)(xp.floats(bad))  # values are not known there


def test_text_and_complex_numbers_are_not_a_mask(xp):
    with pytest.raises(InvalidInput, match="mask has values other than"):
        as_mask(["yes", "no"])
    with pytest.raises(InvalidInput, match="mask has values other than"):
        as_mask(xp.of([1j, 0], "complex64"))


def test_complex_numbers_are_not_made_real(xp):
    with pytest.raises(InvalidInput, match="complex.*real numbers"):
        to_numpy(xp.of([1 + 1j], "complex64"), float)
