import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import log_probs_of, policy_of

from ipsrl.grids import HyperGrid, Table
from ipsrl.grids import rollout as module
from ipsrl.grids.policy import MLPPolicy
from ipsrl.grids.rollout import Everywhere, WhereVisited

GRID = HyperGrid(2, 5)
TABLE = Table(GRID)
FLOAT32 = 1e-5  # log-probabilities of some ten steps by two orders of summation


@pytest.fixture(params=["mlp", "tabular"])
def policy(request):
    return policy_of(request.param, GRID)


def test_trajectories_follow_the_rules(policy):
    _, _, (steps, final) = Everywhere(TABLE).sample(policy, jax.random.key(1), 4096)
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
    _, _, (_, final) = Everywhere(TABLE).sample(policy, jax.random.key(2), samples)
    p = np.asarray(TABLE.terminal_distribution(log_probs_of(policy, TABLE)), float)
    frequency = np.bincount(final, minlength=GRID.states) / samples
    sigma = np.sqrt(p * (1 - p) / samples) + 1e-7  # + float32 rounding of p
    assert (abs(frequency - p) < 4 * sigma).mean() > 0.95  # 4 sigma fails once in 16,000 cells
    assert (abs(frequency - p) < 5 * sigma).all()


def test_both_views_see_the_same():
    """Same key: same trajectories, probabilities, gradients."""
    policy = policy_of("mlp", GRID)
    everywhere, visited = Everywhere(TABLE), WhereVisited(GRID)
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
    log_pb = Everywhere(small.table).log_backward(small.steps).sum(0)
    total = np.bincount(small.final, np.exp(log_pb), minlength=small.grid.states)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_a_reciprocal_likelihood_is_unbiased(small):
    """E[P_B / P_F | o] = 1 / p(o), by enumeration: sum_tau P_F / p(o) * P_B / P_F = 1 / p(o)."""
    grid = small.grid
    logits = jax.random.normal(jax.random.key(0), (grid.states, grid.actions))
    log_pi = jax.nn.log_softmax(jnp.where(jnp.asarray(small.table.legal), logits, -1e9))
    view = Everywhere(small.table)
    log_pf = np.asarray(view.taken(log_pi, small.steps).sum(0), float)
    np.testing.assert_allclose(log_pf, small.log_probs(log_pi), atol=FLOAT32)
    p = np.asarray(small.table.terminal_distribution(log_pi), float)
    ratio = np.exp(np.asarray(view.log_backward(small.steps).sum(0), float) - log_pf)
    mean = np.bincount(small.final, np.exp(log_pf) / p[small.final] * ratio)
    np.testing.assert_allclose(mean, 1 / p, rtol=1e-4)


# --- backward -------------------------------------------------------------------------------------


def views_of(trajectories):
    grid = trajectories.grid
    return {"everywhere": Everywhere(trajectories.table), "visited": WhereVisited(grid)}


@pytest.mark.parametrize("view", ["everywhere", "visited"])
def test_walks_back_are_drawn_as_the_backward_policy_says(two_by_three, view):
    """Every trajectory of every outcome, with P_B: every parent with equal chance."""
    view, times = views_of(two_by_three)[view], 2000
    final = jnp.repeat(jnp.arange(two_by_three.grid.states), times)
    steps = jax.jit(view.walk_back)(final, jax.random.key(4))
    drawn = two_by_three.numbers(steps)
    np.testing.assert_array_equal(two_by_three.final[drawn], final)
    x = two_by_three.grid.coordinates[two_by_three.steps.states_TB]
    parents = np.where(two_by_three.steps.live_TB, np.maximum((x > 0).sum(-1), 1), 1)
    p_back = 1 / parents.prod(0)
    np.testing.assert_allclose(
        np.exp(view.log_backward(two_by_three.steps).sum(0)), p_back, rtol=1e-6
    )
    counts = np.bincount(drawn, minlength=len(p_back))
    # Five standard errors of a share, at a fixed seed; nothing is left where P_B = 1.
    assert (abs(counts / times - p_back) <= 5 * np.sqrt(p_back * (1 - p_back) / times)).all()


@pytest.mark.parametrize("view", ["everywhere", "visited"])
def test_a_learned_backward_policy_is_a_distribution_over_trajectories(two_by_three, view):
    grid, view = two_by_three.grid, views_of(two_by_three)[view]
    policy = MLPPolicy(grid.observation, grid.actions - 1, 8, jax.random.key(0))
    policy = jax.tree.map(lambda x: 3 * x, policy)
    log_pb, _ = view.evaluate_back(policy, two_by_three.steps)
    p_back = np.exp(np.asarray(view.taken_back(log_pb, two_by_three.steps).sum(0), float))
    total = np.bincount(two_by_three.final, p_back, minlength=grid.states)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    uniform = np.exp(view.log_backward(two_by_three.steps).sum(0))
    assert abs(p_back - uniform).max() > 0.1, "the test needs a policy that is not uniform"


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["sample", "evaluate", "evaluate_back"])
def test_gradients_of_gathered_steps_are_those_of_all_steps(ask, monkeypatch):
    """In several blocks, for seeds whose batches have different lengths."""
    monkeypatch.setattr(module, "_BLOCK", 16)
    view, batch = WhereVisited(GRID), 24
    outputs = GRID.actions - (ask == "evaluate_back")

    def one(key, lean):
        """Gradients by the view, and by differentiation of what it does in one go."""
        policy = MLPPolicy(GRID.observation, GRID.actions, 8, key)
        stop = jnp.array([0.0, 0.0, lean])
        policy = eqx.tree_at(lambda p: p.out[1], policy, policy.out[1] + stop)
        _, pullback, (steps, _) = view.sample(policy, key, batch)
        legal, live = jax.vmap(jax.vmap(GRID.legal)), steps.live_TB
        if ask == "evaluate":
            _, pullback = view.evaluate(policy, steps)
        if ask == "evaluate_back":
            policy = MLPPolicy(GRID.observation, GRID.actions - 1, 8, key)
            _, pullback = view.evaluate_back(policy, steps)
            legal, live = jax.vmap(jax.vmap(GRID.legal_back)), live.at[0].set(False)
        observed = view.observations(steps)
        slope = jax.random.normal(key, (*live.shape, outputs))
        slope = jnp.where(live[..., None] & legal(steps.states_TB), slope, 0.0)
        plain = jax.grad(lambda p: (slope * p.at(observed, legal(steps.states_TB))).sum())(policy)
        return pullback(slope)[0], plain, live.sum()

    keys = jax.random.split(jax.random.key(0), 3)
    ours, plain, live = jax.jit(jax.vmap(one))(keys, jnp.array([-3.0, 0.0, 3.0]))
    assert len({-(-int(n) // 16) for n in live}) == 3, "the test needs different lengths"
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)  # 200 float32 terms, reordered
        assert abs(b).max() > 0.1


def test_observations_and_divergences_of_both_views(two_by_three):
    """KL of one policy to another at every live step, by its definition."""
    grid, live = two_by_three.grid, two_by_three.steps.live_TB
    steps = jax.tree.map(jnp.asarray, two_by_three.steps)
    log_p, log_q = (
        np.asarray(log_probs_of(policy_of("mlp", grid, seed), two_by_three.table), float)
        for seed in range(2)
    )
    legal = two_by_three.table.legal
    kl_S = np.where(legal, np.exp(log_p) * (log_p - log_q), 0).sum(-1)
    for view in views_of(two_by_three).values():
        p, q = (view.evaluate(policy_of("mlp", grid, seed), steps)[0] for seed in range(2))
        kl = np.asarray(view.divergence(p, q, steps))
        np.testing.assert_allclose(kl[live], kl_S[steps.states_TB][live], rtol=1e-4, atol=FLOAT32)
        np.testing.assert_array_equal(
            view.observations(steps)[live], grid.coordinates[steps.states_TB][live]
        )
