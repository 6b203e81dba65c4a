"""What holds on every grid: levels, and the exact terminal distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipsrl.grids import HyperGrid, Table

# Sums of some hundred float32 products of probabilities.
FLOAT32_SUM = 2e-6


def random_policy(table, seed=0):
    logits = jax.random.normal(jax.random.key(seed), table.legal.shape)
    return jax.nn.log_softmax(jnp.where(jnp.asarray(table.legal), logits, -1e9))


def test_every_state_is_on_one_level():
    grid = HyperGrid(3, 4)
    levels = Table(grid).levels
    members = levels[levels < grid.states]
    assert sorted(members) == list(range(grid.states))
    for level, row in enumerate(levels):
        states = row[row < grid.states]
        assert (grid.coordinates[states].sum(-1) == level).all()


def test_terminal_distribution_equals_the_sum_over_all_trajectories(small):
    log_pi = random_policy(small.table)
    trajectory_probs = np.exp(small.log_probs(log_pi))
    expected = np.bincount(small.final, trajectory_probs, minlength=small.grid.states)
    p = small.table.terminal_distribution(log_pi)
    np.testing.assert_allclose(p, expected, atol=FLOAT32_SUM)
    assert trajectory_probs.sum() == pytest.approx(1, abs=FLOAT32_SUM)


def test_terminal_distribution_by_hand():
    """2x2, every legal action equally likely: stop at the origin 1/3, each neighbour is entered
    with 1/3 and stops with 1/2, the far corner gets the rest: 1/3, 1/6, 1/6, 1/3."""
    table = Table(HyperGrid(2, 2))
    log_pi = jax.nn.log_softmax(jnp.where(jnp.asarray(table.legal), 0.0, -1e9))
    p = table.terminal_distribution(log_pi)
    np.testing.assert_allclose(p, [1 / 3, 1 / 6, 1 / 6, 1 / 3], atol=FLOAT32_SUM)


def test_terminal_distribution_under_jit_vmap_and_grad():
    table = Table(HyperGrid(2, 5))
    policies = jnp.stack([random_policy(table, seed) for seed in range(3)])
    together = jax.jit(jax.vmap(table.terminal_distribution))(policies)
    for one, log_pi in zip(together, policies, strict=True):
        np.testing.assert_allclose(one, table.terminal_distribution(log_pi), atol=FLOAT32_SUM)
    # The probabilities sum to 1 whatever the logits: the gradient of the sum is 0.
    total = jax.grad(lambda x: table.terminal_distribution(jax.nn.log_softmax(x)).sum())
    legal = jnp.where(jnp.asarray(table.legal), 0.0, -1e9)
    np.testing.assert_allclose(total(legal), 0, atol=FLOAT32_SUM)


def test_paths_to_a_cell_are_counted():
    """A policy that never stops early visits (i, j) by C(i + j, i) paths; at probability 1/2 per
    move the flow into (2, 1) of a large grid is C(3, 1) / 2^3."""
    grid = HyperGrid(2, 5)
    log_pi = jnp.log(jnp.tile(jnp.array([0.5, 0.5, 1e-30]), (grid.states, 1)))
    cell = int(np.array([2, 1]) @ grid.strides[:-1])
    log_pi = log_pi.at[cell].set(jnp.log(jnp.array([1e-30, 1e-30, 1.0])))
    p = Table(grid).terminal_distribution(log_pi)
    assert p[cell] == pytest.approx(math.comb(3, 1) / 2**3, abs=FLOAT32_SUM)
