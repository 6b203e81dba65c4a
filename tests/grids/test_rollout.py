import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import log_probs_of, policy_of

from ipsrl.grids import HyperGrid, Table
from ipsrl.grids.rollout import Everywhere, WhereVisited

GRID = HyperGrid(2, 5)
TABLE = Table(GRID)
FLOAT32 = 1e-5  # log-probabilities of some ten steps by two orders of summation


@pytest.fixture(params=["mlp", "tabular"])
def policy(request):
    return policy_of(request.param, GRID)


def test_trajectories_follow_the_rules(policy):
    _, _, (steps, final) = Everywhere(GRID, TABLE).sample(policy, jax.random.key(1), 4096)
    states, actions, live = (np.asarray(part) for part in steps)
    assert (states[0] == 0).all()
    assert live[0].all()
    assert TABLE.legal[states[live], actions[live]].all()
    moves = live & (actions < GRID.dims)
    after = states + np.where(moves, GRID.strides[actions], 0)
    np.testing.assert_array_equal(after[:-1][live[1:]], states[1:][live[1:]])
    np.testing.assert_array_equal(after[live.sum(0) - 1, np.arange(4096)], final)
    # Alive exactly until the one stop.
    np.testing.assert_array_equal(live[1:], moves[:-1])
    assert (((actions == GRID.dims) & live).sum(0) == 1).all()


def test_dynamic_programming_agrees_with_sampling(policy):
    samples = 200_000
    _, _, (_, final) = Everywhere(GRID, TABLE).sample(policy, jax.random.key(2), samples)
    p = np.asarray(TABLE.terminal_distribution(log_probs_of(policy, TABLE)), float)
    frequency = np.bincount(final, minlength=GRID.states) / samples
    sigma = np.sqrt(p * (1 - p) / samples) + 1e-7  # + float32 rounding of p
    assert (abs(frequency - p) < 4 * sigma).mean() > 0.95  # 4 sigma fails once in 16,000 cells
    assert (abs(frequency - p) < 5 * sigma).all()


def test_both_views_see_the_same():
    """Same key: same trajectories, probabilities, gradients."""
    policy = policy_of("mlp", GRID)
    everywhere, visited = Everywhere(GRID, TABLE), WhereVisited(GRID)
    key = jax.random.key(3)
    table, pull_table, rollout = everywhere.sample(policy, key, 64)
    rows, pull_rows, same = visited.sample(policy, key, 64)
    for a, b in zip(jax.tree.leaves(rollout), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    steps = rollout.steps
    taken = everywhere.taken(table, steps)
    np.testing.assert_allclose(taken, visited.taken(rows, steps), atol=FLOAT32)
    live = np.asarray(steps.live_TB)
    np.testing.assert_allclose(
        np.asarray(everywhere.entropy(table, steps))[live],
        np.asarray(visited.entropy(rows, steps))[live],
        atol=FLOAT32,
    )
    np.testing.assert_allclose(
        everywhere.rewards(rollout.final_B), visited.rewards(rollout.final_B), atol=FLOAT32
    )
    np.testing.assert_allclose(
        everywhere.log_backward(steps), visited.log_backward(steps), atol=FLOAT32
    )
    by_table = pull_table(jax.grad(lambda x: everywhere.taken(x, steps).sum())(table))
    by_rows = pull_rows(jax.grad(lambda x: visited.taken(x, steps).sum())(rows))
    for a, b in zip(jax.tree.leaves(by_table), jax.tree.leaves(by_rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)  # sums of 64 * 9 float32 terms


def test_the_backward_policy_is_a_distribution_over_the_trajectories_of_an_outcome(small):
    log_pb = Everywhere(small.grid, small.table).log_backward(small.steps).sum(0)
    total = np.bincount(small.final, np.exp(log_pb), minlength=small.grid.states)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_a_reciprocal_likelihood_is_unbiased(small):
    """E[P_B / P_F | o] = 1 / p(o), by enumeration: sum_tau P_F / p(o) * P_B / P_F = 1 / p(o)."""
    grid = small.grid
    logits = jax.random.normal(jax.random.key(0), (grid.states, grid.actions))
    log_pi = jax.nn.log_softmax(jnp.where(jnp.asarray(small.table.legal), logits, -1e9))
    view = Everywhere(grid, small.table)
    log_pf = np.asarray(view.taken(log_pi, small.steps).sum(0), float)
    np.testing.assert_allclose(log_pf, small.log_probs(log_pi), atol=FLOAT32)
    p = np.asarray(small.table.terminal_distribution(log_pi), float)
    ratio = np.exp(np.asarray(view.log_backward(small.steps).sum(0), float) - log_pf)
    mean = np.bincount(small.final, np.exp(log_pf) / p[small.final] * ratio)
    np.testing.assert_allclose(mean, 1 / p, rtol=1e-4)
