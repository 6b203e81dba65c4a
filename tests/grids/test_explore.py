"""Who draws in the policy's place, and that weights undo it: by all trajectories of small grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import log_probs_of, policy_of

from ipsrl.grids import Config
from ipsrl.grids.explore import Memory, explored_rows, explorer_of, importance
from ipsrl.grids.loop import Carry, Learned, Loop
from ipsrl.grids.rollout import Everywhere, WhereVisited

FLOAT32_SUM = 2e-6  # sums of some ten float32 products of probabilities
EXPLORERS = [
    {"explore": "epsilon", "epsilon": 0.3},
    {"explore": "tempered", "temperature": 3.0},
    {"explore": "replay", "memory": 3},
]


def config_of(trajectories, **options):
    grid = trajectories.grid
    return Config(
        dims=grid.dims, side=grid.side, estimator="likelihood",
        **{"group_size": 4, "batch": 4096, **options},
    )  # fmt: skip


REWARDS = np.array([1.0, 3.0, 2.0, 4.0])  # of the first four outcomes, as memories have them


def memory_of_three():
    """The best of the first four outcomes."""
    found = jnp.arange(4, dtype=jnp.int32)
    return Memory.empty(3, found).with_found(found, found, jnp.asarray(REWARDS, jnp.float32))


def log_explorer_of(config, trajectories, log_pi):
    """log b of all trajectories [N], by its definition."""
    pi = np.exp(np.asarray(log_pi, float))
    if config.explore == "replay":
        x = trajectories.grid.coordinates[trajectories.steps.states_TB]
        parents = np.maximum((x > 0).sum(-1), 1) ** -1.0
        log_pb = np.log(np.where(trajectories.steps.live_TB, parents, 1)).sum(0)
        weight = np.zeros(trajectories.grid.states)
        weight[1:4] = REWARDS[1:]
        with np.errstate(divide="ignore"):
            return np.log(weight / weight.sum())[trajectories.final] + log_pb
    legal = trajectories.table.legal
    if config.explore == "epsilon":
        other = (1 - config.epsilon) * pi + config.epsilon * legal / legal.sum(-1, keepdims=True)
    else:
        other = np.where(legal, pi ** (1 / config.temperature), 0)
        other = other / other.sum(-1, keepdims=True)
    return trajectories.log_probs(np.log(other + 1e-300))


def ours(config, trajectories, log_pi):
    """log b of all trajectories [N], by the code."""
    if config.explore == "replay":
        view = Everywhere(trajectories.table)
        log_pb = view.log_backward(trajectories.steps).sum(0)
        return memory_of_three().log_probs(jnp.asarray(trajectories.final), log_pb)
    return trajectories.log_probs(explorer_of(config).log_probs(log_pi))


@pytest.mark.parametrize("options", EXPLORERS, ids=lambda o: o["explore"])
def test_an_explorer_is_a_distribution_over_trajectories(two_by_three, options):
    config = config_of(two_by_three, **options)
    log_pi = log_probs_of(policy_of("tabular", two_by_three.grid), two_by_three.table)
    b = np.exp(np.asarray(ours(config, two_by_three, log_pi), float))
    assert abs(b.sum() - 1) < FLOAT32_SUM
    expected = np.exp(log_explorer_of(config, two_by_three, log_pi))
    np.testing.assert_allclose(b, expected, atol=FLOAT32_SUM)
    assert abs(b - np.exp(two_by_three.log_probs(log_pi))).max() > 0.01, "it must explore"


@pytest.mark.parametrize("options", EXPLORERS, ids=lambda o: o["explore"])
def test_weighted_means_of_the_mixture_are_means_of_the_policy(two_by_three, options):
    """sum_tau q w f = sum_tau pi f, and w is bounded."""
    config, share = config_of(two_by_three, **options), 0.3
    log_pi = log_probs_of(policy_of("tabular", two_by_three.grid), two_by_three.table)
    log_pf = two_by_three.log_probs(log_pi)
    w = np.asarray(importance(log_pf, ours(config, two_by_three, log_pi), share), float)
    pi = np.exp(np.asarray(log_pf, float))
    q = (1 - share) * pi + share * np.exp(log_explorer_of(config, two_by_three, log_pi))
    for f in np.random.default_rng(0).normal(size=(5, len(pi))):
        assert (q * w) @ f == pytest.approx(pi @ f, abs=FLOAT32_SUM)
    assert w.max() <= 1 / (1 - share) + FLOAT32_SUM
    assert w.min() < 0.9


def test_weights_of_trajectories_that_nobody_draws_are_finite():
    """log b = -inf where only the policy draws: 1 / (1 - e); log pi far below it: 0."""
    w = importance(jnp.array([-5.0, -2000.0]), jnp.array([-jnp.inf, -1.0]), 0.25)
    np.testing.assert_allclose(w, [4 / 3, 0], rtol=FLOAT32_SUM)


def test_the_last_of_every_group_are_explored():
    config = Config(explore="epsilon", group_size=4, batch=8, estimator="likelihood")
    assert explored_rows(config).tolist() == [False, False, False, True] * 2
    assert config.explored == 1
    half = Config(
        explore="epsilon", explore_share=0.5, group_size=4, batch=4, estimator="likelihood"
    )
    assert explored_rows(half).tolist() == [False, False, True, True]
    assert not explored_rows(Config(group_size=4, batch=8)).any()


@pytest.mark.parametrize("kind", ["tabular", "mlp"])
@pytest.mark.parametrize("options", EXPLORERS, ids=lambda o: o["explore"])
def test_a_batch_is_drawn_by_both_and_weighted(two_by_two, options, kind):
    """Rows of the policy follow it, those of the explorer follow that, and each has its weight."""
    config = config_of(two_by_two, policy=kind, **options)
    loop, policy = Loop(config), policy_of(kind, two_by_two.grid)
    if kind == "mlp":
        loop.view = WhereVisited(loop.environment)
    memory = memory_of_three() if options["explore"] == "replay" else None
    learned = Learned(policy, jnp.zeros(()), None, None)
    carry = Carry(learned, learned, policy, (), memory, jnp.zeros(1, bool), jnp.zeros((), bool))

    def draw(key):
        _, _, rollout, weights = loop._draw(carry, key)
        return rollout, weights

    (steps, final), weights = jax.jit(draw)(jax.random.key(3))
    drawn, rows = two_by_two.numbers(steps), explored_rows(config)
    np.testing.assert_array_equal(two_by_two.final[drawn], final)
    log_pi = log_probs_of(policy, two_by_two.table)
    log_pf = np.asarray(two_by_two.log_probs(log_pi), float)
    log_b = log_explorer_of(config, two_by_two, log_pi)
    for which, log_p in ((~rows, log_pf), (rows, log_b)):
        assert_drawn(drawn[which], np.exp(log_p))
    w = np.exp(log_pf) / (0.75 * np.exp(log_pf) + 0.25 * np.exp(log_b))
    np.testing.assert_allclose(weights, w[drawn], rtol=1e-5)  # exponentials of float32 sums


def test_while_the_memory_is_empty_the_policy_draws_all(two_by_two):
    config = config_of(two_by_two, explore="replay", memory=3, batch=8)
    loop, policy = Loop(config), policy_of("tabular", two_by_two.grid)
    learned = Learned(policy, jnp.zeros(()), None, None)
    memory = Memory.empty(3, jnp.zeros(8, jnp.int32))
    carry = Carry(learned, learned, policy, (), memory, jnp.zeros(1, bool), jnp.zeros((), bool))

    def draw(key):
        return loop._draw(carry, key)[2:], loop.view.sample(policy, key, 8)[2]

    (rollout, weights), own = jax.jit(draw)(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, rollout, own)
    np.testing.assert_allclose(weights, 1, rtol=1e-5)  # exponentials of float32 sums


def assert_drawn(drawn, p):
    """Pearson's statistic has mean K - 1 and variance 2 (K - 1): five deviations, fixed seed."""
    expected = len(drawn) * p
    counts = np.bincount(drawn, minlength=len(p))
    possible = expected > 1e-3
    assert (counts[~possible] == 0).all()
    freedom = possible.sum() - 1
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 1


def test_the_memory_keeps_the_best_of_all_that_was_found():
    """No outcome twice, whether in one batch or in two."""
    rng, rewards = np.random.default_rng(0), np.random.default_rng(1).permutation(40) + 1.0
    memory, seen = Memory.empty(8, jnp.zeros(6, jnp.int32)), set()
    update = jax.jit(Memory.with_found)
    for _ in range(12):
        found = rng.integers(0, 40, 6)
        found[5] = found[0]
        ids = jnp.asarray(found, jnp.int32)
        memory = update(memory, 100 + ids, ids, jnp.asarray(rewards[found], jnp.float32))
        seen |= set(found.tolist())
        best = sorted(seen, key=lambda o: -rewards[o])[:8]
        kept = len(best)
        assert memory.ids_M[:kept].tolist() == best
        assert memory.rewards_M[:kept].tolist() == rewards[best].tolist()
        assert memory.states_M[:kept].tolist() == [100 + o for o in best]
        assert (memory.rewards_M[kept:] == 0).all()
        assert (memory.ids_M[kept:] == -1).all()
    assert len(seen) > 8, "the test needs more outcomes than are kept"


def test_outcomes_without_reward_are_not_remembered():
    ids = jnp.arange(3, dtype=jnp.int32)
    memory = Memory.empty(4, ids).with_found(ids, ids, jnp.array([0.0, 2.0, 0.0]))
    assert memory.ids_M.tolist() == [1, -1, -1, -1]
    # b is 0 for the others, and P_B for the one
    log_b = memory.log_probs(ids, jnp.log(jnp.array([1.0, 0.5, 1.0])))
    np.testing.assert_allclose(jnp.exp(log_b), [0, 0.5, 0], rtol=FLOAT32_SUM)
