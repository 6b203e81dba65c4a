"""The update that the loop makes, against enumeration of every group that could be drawn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from policies import log_probs_of

from ipsrl.core.floor import presence
from ipsrl.grids import Config
from ipsrl.grids.explore import Memory, importance
from ipsrl.grids.loop import Batch, Loop

FLOAT32 = 2e-5  # sums of some hundred float32 products


def loop_of(all_trajectories, group_size, **options):
    grid = all_trajectories.grid
    config = Config(
        dims=grid.dims, side=grid.side, policy="tabular", group_size=group_size,
        batch=group_size, **({"scale": "none"} | options),
    )  # fmt: skip
    return Loop(config)


def carry_of(loop, seed=0):
    carry = jax.tree.map(lambda x: x[0], loop.init(jnp.array([seed])))
    logits = jax.random.normal(jax.random.key(seed), carry.learned.policy.logits.shape)
    return with_logits(carry, logits)


def with_logits(carry, logits):
    policy = jax.tree.map(lambda _: logits, carry.learned.policy)
    return carry._replace(learned=carry.learned._replace(policy=policy))


def batch_of(loop, log_pi, steps, weights=None):
    """What an iteration that drew these steps has, before it knows what to teach."""
    return Batch(steps, loop.view.taken(log_pi, steps), None, weights, jnp.zeros(()))


def expected_update(loop, carry, trajectories, explorer=None):
    """E over all groups of -d loss / d logits, exactly: each group with its probability.

    With an explorer, log b of all trajectories [N], the last of each group is drawn by it.
    """
    log_pi, pullback = jax.vjp(lambda p: log_probs_of(p, loop.table), carry.learned.policy)
    log_pf, size = trajectories.log_probs(log_pi), loop.config.group_size
    log_probs, weights = [log_pf] * size, None
    if explorer is not None:
        log_probs = [log_pf] * (size - 1) + [explorer]
        weights = importance(log_pf, explorer, 1 / size)

    @jax.vmap
    def update(index):
        steps, final = trajectories.rollout(index)
        ours = None if weights is None else weights[index]
        batch = batch_of(loop, log_pi, steps, ours)
        batch, _ = loop._taught(carry, log_pi, None, batch, final, jnp.zeros((), int))
        gradient = jax.grad(loop._loss)(log_pi, carry.learned.log_z, None, batch, log_pi)
        return -pullback(gradient)[0].logits

    groups = trajectories.groups(size)
    each = np.exp(np.asarray(log_probs, float))  # [G, N]
    weight = each[np.arange(size), groups].prod(-1)
    return np.tensordot(weight, np.asarray(update(jnp.asarray(groups)), float), 1)


def gradient_of(loop, carry, objective):
    """Gradient of a function of the exact terminal distribution, with respect to the logits."""
    table = loop.table
    return jax.grad(lambda p: objective(table.terminal_distribution(log_probs_of(p, table))))(
        carry.learned.policy
    ).logits


@pytest.mark.parametrize("group_size", [2, 3])
def test_grpo_ascends_the_expected_return(two_by_two, group_size):
    """The mean of a group contains the sample itself, which costs the factor (G - 1) / G."""
    loop = loop_of(two_by_two, group_size, method="grpo")
    carry = carry_of(loop)
    expected = gradient_of(loop, carry, lambda p: p @ jnp.asarray(loop.table.rewards))
    ours = expected_update(loop, carry, two_by_two)
    np.testing.assert_allclose(ours, expected * (group_size - 1) / group_size, atol=FLOAT32)


@pytest.mark.parametrize("group_size", [2, 3])
def test_ips_ascends_the_paper_objective(two_by_two, group_size):
    """sum_o p_o sg[r_o / p_o] (Eq. 3), whose gradient is that of sum_o r_o log p_o."""
    loop = loop_of(two_by_two, group_size, method="ips-grpo", estimator="exact")
    carry = carry_of(loop)
    expected = gradient_of(loop, carry, lambda p: jnp.asarray(loop.table.rewards) @ jnp.log(p))
    ours = expected_update(loop, carry, two_by_two)
    np.testing.assert_allclose(ours, expected * (group_size - 1) / group_size, atol=FLOAT32)


@pytest.mark.parametrize("group_size", [2, 3])
def test_likelihood_ascends_the_same_objective_path_by_path(two_by_two, group_size):
    """sum_o r_o E_{tau ~ P_B}[log pi(tau)]: the forward KL from r P_B / R to the trajectories."""
    loop = loop_of(two_by_two, group_size, method="ips-grpo", estimator="likelihood")
    carry = carry_of(loop)
    log_pb = loop.view.log_backward(two_by_two.steps).sum(0)
    weight = loop.table.rewards[two_by_two.final] * np.exp(log_pb)
    expected = jax.grad(
        lambda policy: (weight * two_by_two.log_probs(log_probs_of(policy, loop.table))).sum()
    )(carry.learned.policy).logits
    ours = expected_update(loop, carry, two_by_two)
    np.testing.assert_allclose(ours, expected * (group_size - 1) / group_size, atol=FLOAT32)


@pytest.mark.parametrize("eps", [0.0, 0.5])
@pytest.mark.parametrize("group_size", [2, 3])
def test_the_group_frequency_ascends_the_closed_form(two_by_two, group_size, eps):
    """sum_o (r_o f(p_o) - p_o sum_j r_j f(p_j)) d log p_o, with f of the mean baseline."""
    loop = loop_of(two_by_two, group_size, method="ips-grpo", estimator="group", eps=eps)
    carry = carry_of(loop)
    log_pi = log_probs_of(carry.learned.policy, loop.table)
    p = np.asarray(loop.table.terminal_distribution(log_pi), float)
    gain = loop.table.rewards * presence(p, group_size, eps=eps, baseline="mean")
    direction = jnp.asarray(gain - p * gain.sum())
    expected = gradient_of(loop, carry, lambda q: direction @ jnp.log(q))
    np.testing.assert_allclose(expected_update(loop, carry, two_by_two), expected, atol=FLOAT32)


def test_trajectory_balance_descends_its_squared_residual(two_by_two):
    """E over the policy of d delta^2 / d logits, with delta from its definition."""
    loop = loop_of(two_by_two, 1, method="tb", scale="group")
    carry = carry_of(loop)
    carry = carry._replace(learned=carry.learned._replace(log_z=jnp.asarray(0.7)))
    log_pb = np.asarray(loop.view.log_backward(two_by_two.steps).sum(0))
    log_reward = np.log(loop.table.rewards)[two_by_two.final]

    def loss(policy):
        log_pf = two_by_two.log_probs(log_probs_of(policy, loop.table))
        weight = jax.lax.stop_gradient(jnp.exp(log_pf))
        return (weight * (0.7 + log_pf - log_pb - log_reward) ** 2).sum()

    expected = -jax.grad(loss)(carry.learned.policy).logits
    ours = expected_update(loop, carry, two_by_two)
    np.testing.assert_allclose(ours, expected, atol=10 * FLOAT32)  # gradients of size ten


EXPLORERS = [
    {"explore": "epsilon", "epsilon": 0.5},
    {"explore": "tempered", "temperature": 4.0},
    {"explore": "replay"},
]


@pytest.mark.parametrize("options", EXPLORERS, ids=lambda o: o["explore"])
def test_exploration_does_not_change_the_expected_update(two_by_two, options):
    """Half of each group is drawn otherwise; without a baseline the weights undo it exactly."""

    def loop(**exploring):
        made = loop_of(
            two_by_two, 2, method="ips-grpo", estimator="likelihood", advantage_clip=0.0,
            **exploring,
        )  # fmt: skip
        made.method = dataclasses.replace(made.method, baseline="none")
        return made

    alone, exploring = loop(), loop(explore_share=0.5, **options)
    carry = carry_of(alone)
    log_pi = log_probs_of(carry.learned.policy, alone.table)
    if exploring.explorer is not None:
        explorer = two_by_two.log_probs(exploring.explorer.log_probs(log_pi))
    else:
        found, view = jnp.array([3, 1], jnp.int32), exploring.view
        memory = Memory.empty(2, found).with_found(found, found, view.rewards(found))
        log_pb = view.log_backward(two_by_two.steps).sum(0)
        explorer = memory.log_probs(jnp.asarray(two_by_two.final), log_pb)
    expected = expected_update(alone, carry, two_by_two)
    ours = expected_update(exploring, carry, two_by_two, explorer)
    np.testing.assert_allclose(ours, expected, atol=FLOAT32)
    assert abs(np.asarray(expected)).max() > 0.1


def test_a_learned_backward_policy_brings_likelihoods_of_an_outcome_together(two_by_three):
    """P_F / P_B tends to p(o) for each trajectory to o, if the policy that draws them stands still.

    Of policies that prefer some ways to an outcome, against the P_B that prefers none.
    """
    config = Config(
        side=3, policy="tabular", estimator="likelihood", backward="learned", hidden=16, lr=1e-2,
        batch=64, group_size=64, iterations=150, eval_every=150, checkpoint_every=150, seeds=3,
    )  # fmt: skip
    loop, seeds = Loop(config), jnp.arange(3)
    loop.optimisers = loop.optimisers._replace(policy=optax.sgd(0.0))
    carry = loop.init(seeds)
    logits = jax.random.normal(jax.random.key(0), carry.learned.policy.logits.shape)
    carry, _ = loop.run(with_logits(carry, logits), seeds, 0)
    np.testing.assert_array_equal(carry.learned.policy.logits, logits)
    steps = jax.tree.map(jnp.asarray, two_by_three.steps)

    def spread(learned, log_pb):
        log_pi = log_probs_of(learned.policy, loop.table)
        log_ratio = loop.view.taken(log_pi, steps).sum(0) - loop._back(log_pb, steps).sum(0)
        return [log_ratio[two_by_three.final == o].std() for o in range(loop.table.states)]

    @jax.vmap
    def both(learned):
        log_pb, _ = loop.view.evaluate_back(learned.backward, steps)
        return jnp.array(spread(learned, None)), jnp.array(spread(learned, log_pb))

    uniform, learnt = jax.jit(both)(carry.learned)
    several = np.bincount(two_by_three.final) > 1
    assert (uniform[:, several] > 0.1).all(), "the test needs policies that prefer some ways"
    # A half: a way that is hardly ever drawn is learned late.
    assert (learnt.mean(-1) < 0.5 * uniform.mean(-1)).all()


def test_at_the_target_ips_with_exact_probabilities_rests(two_by_two):
    """p = r / R makes every scaled reward equal to R: no advantage, no update, in any batch."""
    loop = loop_of(two_by_two, 3, method="ips-grpo", estimator="exact")
    table, carry = loop.table, carry_of(loop)
    # A policy with that distribution: go right or up by the target mass beyond, half of (1,1) each.
    t = table.target
    half = t[3] / 2
    logits = jnp.log(
        jnp.array(
            [
                [t[2] + half, t[1] + half, t[0]],
                [half, 1e-30, t[1]],
                [1e-30, half, t[2]],
                [1e-30, 1e-30, 1.0],
            ]
        )
    )
    carry = with_logits(carry, logits)
    p = table.terminal_distribution(log_probs_of(carry.learned.policy, table))
    np.testing.assert_allclose(p, t, atol=FLOAT32)
    np.testing.assert_allclose(expected_update(loop, carry, two_by_two), 0, atol=FLOAT32)


def test_replay_of_one_batch_is_the_group_frequency(two_by_two):
    group = loop_of(two_by_two, 4, method="ips-grpo", estimator="group")
    replay = loop_of(two_by_two, 4, method="ips-grpo", estimator="replay", replay_batches=1)
    key = jax.random.key(5)
    carry = carry_of(group)
    log_pi, _, (steps, final) = group.view.sample(carry.learned.policy, key, 4)
    batch, first = batch_of(group, log_pi, steps), jnp.zeros((), int)
    by_group, _ = group._taught(carry, log_pi, None, batch, final, first)
    by_replay, _ = replay._taught(carry_of(replay), log_pi, None, batch, final, first)
    np.testing.assert_allclose(by_group.signal, by_replay.signal, atol=FLOAT32)
    # The mean of r / p^ over a group counts each of its outcomes once.
    rewards = dict(zip(group.view.ids(final).tolist(), group.view.rewards(final), strict=True))
    assert len(rewards) > 1
    assert by_group.scaled == pytest.approx(sum(map(float, rewards.values())), rel=FLOAT32)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 3},
        {"entropy": 0.1, "kl": 0.1},
        {"method": "flowrl", "epochs": 2},
        {"transform": "log", "estimator": "likelihood", "lr_end": 1e-4},
        {"transform": "sqrt", "estimator": "leave-one-out", "group_size": 16, "scale": "batch"},
        {"estimator": "replay", "replay_batches": 3, "group_size": 16},
        {"policy": "tabular", "estimator": "exact"},
        {"method": "tb", "explore": "epsilon", "backward": "learned"},
        {"method": "ips-ppo", "reward_temperature": 4.0, "epochs": 2},
        {"estimator": "likelihood", "explore": "replay", "memory": 5},
    ],
    ids=str,
)
def test_every_option_trains(options):
    """Finite losses, a distribution that moved, and the same numbers on a second run."""
    config = Config(
        side=5, hidden=8, iterations=20, checkpoint_every=20, seeds=2,
        **{"batch": 64, "group_size": 64, "lr": 1e-2, **options},
    )  # fmt: skip
    loop, seeds = Loop(config), jnp.arange(2)
    runs = [loop.run(loop.init(seeds), seeds, 0) for _ in range(2)]
    (_, first), (_, second) = runs
    assert np.isfinite(first.loss).all()
    assert (first.total_l1[:, 0] != first.total_l1[:, -1]).all()
    np.testing.assert_array_equal(first.total_l1, second.total_l1)
    assert (first.total_l1[0] != first.total_l1[1]).any(), "seeds must differ"


def test_entropy_and_kl_hold_the_policy_back():
    """Strong regularisation keeps more outcomes alive than none."""

    def outcomes(**options):
        config = Config(
            method="grpo", side=5, policy="tabular", lr=0.1, iterations=100, checkpoint_every=100,
            batch=64, group_size=64, seeds=1, **options,
        )  # fmt: skip
        loop, seeds = Loop(config), jnp.arange(1)
        return float(loop.run(loop.init(seeds), seeds, 0)[1].effective_outcomes[0, -1])

    free = outcomes()
    assert outcomes(entropy=1.0) > 1.5 * free
    assert outcomes(kl=1.0) > 1.5 * free
