"""Both policies give every state a distribution over the actions that it allows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import log_probs_of, policy_of

from ipsrl.grids import HyperGrid, Table
from ipsrl.grids.policy import MLPPolicy, TabularPolicy

GRID = HyperGrid(3, 4)
TABLE = Table(GRID)
FLOAT32 = 1e-5  # sums of some ten terms of order 1, in two orders


@pytest.fixture(params=["mlp", "tabular"])
def policy(request):
    return policy_of(request.param, GRID)


def test_every_state_has_a_distribution_over_what_it_allows(policy):
    pi = np.exp(log_probs_of(policy, TABLE))
    np.testing.assert_allclose(pi.sum(-1), 1, rtol=FLOAT32)
    assert (pi[~TABLE.legal] == 0).all()


def test_table_equals_state_by_state():
    policy = policy_of("mlp", GRID)
    one_by_one = policy.at(jnp.asarray(GRID.coordinates), jnp.asarray(TABLE.legal))
    np.testing.assert_allclose(log_probs_of(policy, TABLE), one_by_one, rtol=FLOAT32, atol=FLOAT32)


def test_a_table_of_other_states_has_their_rows():
    """Rows of axes are added up only where the states are all cells, in order."""
    policy, rng = policy_of("mlp", GRID), np.random.default_rng(0)
    for chosen in (rng.permutation(GRID.states), np.arange(20)):
        some = policy.table(TABLE.observations[chosen], TABLE.legal[chosen])
        expected = log_probs_of(policy, TABLE)[chosen]
        np.testing.assert_allclose(some, expected, rtol=FLOAT32, atol=FLOAT32)


def test_many_inputs_are_added_up_as_few_are_multiplied():
    """Beyond 512 inputs rows are looked up, without a one-hot vector."""
    small = policy_of("mlp", GRID)
    rows, first = small.first
    wide = jnp.pad(rows, ((0, 0), (0, 600), (0, 0)))  # 3 x 604 inputs, the same cells
    large = eqx.tree_at(lambda policy: policy.first, small, (wide, first))
    seen = jnp.asarray(GRID.coordinates)
    np.testing.assert_allclose(large.outputs(seen), small.outputs(seen), rtol=FLOAT32, atol=FLOAT32)


def test_gradients_are_finite_where_an_action_is_forbidden(policy):
    """In the entropy a forbidden action has the term 0 log 0."""

    def entropy(policy):
        log_pi = log_probs_of(policy, TABLE)
        return -(jnp.exp(log_pi) * log_pi).sum()

    assert all(np.isfinite(part).all() for part in jax.tree.leaves(jax.grad(entropy)(policy)))


def test_the_network_is_the_dense_one_on_one_hot_coordinates():
    policy = policy_of("mlp", GRID)
    (rows, first), (weight, bias), (out, last) = (
        [np.asarray(part, float) for part in layer]
        for layer in (policy.first, policy.second, policy.out)
    )
    one_hot = np.eye(GRID.side)[GRID.coordinates].reshape(GRID.states, -1)
    hidden = np.maximum(one_hot @ rows.reshape(GRID.dims * GRID.side, -1) + first, 0)
    odds = np.exp(np.maximum(hidden @ weight + bias, 0) @ out + last) * TABLE.legal
    # rtol: logits of order 10 are rounded to float32 before they are exponentiated
    np.testing.assert_allclose(
        jnp.exp(log_probs_of(policy, TABLE)),
        odds / odds.sum(-1, keepdims=True),
        rtol=1e-4,
        atol=1e-7,
    )


def test_a_network_starts_within_one_over_the_root_of_its_inputs():
    policy = MLPPolicy((3, 4), 4, 64, jax.random.key(0))
    layers = ((policy.first, 3 * 4), (policy.second, 64), (policy.out, 64))
    for layer, inputs in layers:
        largest = max(float(abs(part).max()) for part in layer)
        assert 0.95 < largest * inputs**0.5 <= 1  # of at least 260 uniform numbers


def test_a_table_starts_uniform_over_what_is_allowed():
    """On 2 x 2 cells: three actions, move along the other axis or stop, stop."""
    table = Table(HyperGrid(2, 2))
    np.testing.assert_allclose(
        jnp.exp(log_probs_of(TabularPolicy(4, 3), table)),
        [[1 / 3, 1 / 3, 1 / 3], [1 / 2, 0, 1 / 2], [0, 1 / 2, 1 / 2], [0, 0, 1]],
        rtol=1e-6,  # float32
    )
