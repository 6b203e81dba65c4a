"""Advantages from a critic's errors, and what the methods that have one reach."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ipsrl.grids import Config
from ipsrl.grids.critic import Critic, critic_update, generalised_advantages
from ipsrl.grids.loop import Batch, Loop

FLOAT32 = 1e-5  # sums of some ten float32 terms of order 1


def some_steps(seed=0):
    """Gains and values [T, B], with anything where no step is, and which steps there are."""
    rng = np.random.default_rng(seed)
    gains, values = rng.normal(size=(2, 6, 5)).astype(np.float32)
    live = np.arange(6)[:, None] < np.array([6, 1, 3, 4, 2])
    return jnp.asarray(gains), jnp.asarray(values), jnp.asarray(live)


def test_generalised_advantages_by_hand():
    """g = 1 2 3, V = 4 2 1, lambda = 1/2: errors 1 + 2 - 4 = -1, 2 + 1 - 2 = 1, 3 - 1 = 2;
    A = -1 + (1 + 2/2)/2 = 0, 1 + 2/2 = 2, 2.  One step: g = 5, V = 7: -2."""
    gains, values = jnp.array([[1.0, 5], [2, 9], [3, 9]]), jnp.array([[4.0, 7], [2, 9], [1, 9]])
    live = jnp.array([[True, True], [True, False], [True, False]])
    advantages = generalised_advantages(gains, values, live, 0.5)
    np.testing.assert_allclose(advantages, [[0, -2], [2, 0], [2, 0]], atol=FLOAT32)


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_generalised_advantages_are_the_sum_of_decayed_errors(decay):
    gains, values, live = some_steps()
    ours = generalised_advantages(gains, values, live, decay)
    g, v = np.where(live, gains, 0).astype(float), np.where(live, values, 0).astype(float)
    errors = g + np.vstack([v[1:], np.zeros_like(v[:1])]) - v
    expected = [
        sum(decay**k * errors[t + k] for k in range(len(errors) - t)) for t in range(len(errors))
    ]
    np.testing.assert_allclose(ours, expected, atol=FLOAT32)
    assert (np.asarray(ours)[~np.asarray(live)] == 0).all()


def test_with_lambda_one_they_are_the_return_minus_the_value():
    gains, values, live = some_steps(1)
    returns = np.cumsum(np.where(live, gains, 0)[::-1], 0)[::-1]
    np.testing.assert_allclose(
        generalised_advantages(gains, values, live, 1.0),
        np.where(live, returns - values, 0), atol=FLOAT32,
    )  # fmt: skip


def test_a_critic_learns_the_return_that_follows():
    """Every trajectory passes cells 0 1 2 with the gains 1 2 3: V = 6 5 3."""
    cells = jnp.array([0, 1, 2, 3])
    seen = jnp.tile(cells[:, None, None], (1, 4, 1))
    gains = jnp.tile(jnp.array([1.0, 2, 3, 50])[:, None], (1, 4))
    live = jnp.arange(4)[:, None] < 3 + jnp.zeros(4)
    critic = Critic((1, 4), 16, jax.random.key(0))
    optimiser = optax.adam(1e-2)

    @jax.jit
    def learnt(critic, state):
        def update(_, pair):
            return critic_update(*pair, optimiser, seen, gains, live, 0.7)

        return jax.lax.fori_loop(0, 150, update, (critic, state))[0]

    values = learnt(critic, optimiser.init(critic))(cells[:, None])
    np.testing.assert_allclose(values[:3], [6, 5, 3], atol=0.05)  # Adam's steps are of size .01


def test_a_batch_that_earns_nothing_teaches_finite_advantages():
    """r / p^ is divided by its mean, which is 0."""
    config = Config(
        method="ips-ppo", dims=1, r0=0, r1=0, policy="tabular", hidden=4, batch=4, group_size=4
    )
    loop, nothing = Loop(config), jnp.zeros((), int)
    carry = jax.tree.map(lambda leaf: leaf[0], loop.init(jnp.array([0])))

    @jax.jit
    def taught(carry):
        log_pi, _, (steps, _) = loop.view.sample(carry.learned.policy, jax.random.key(0), 4)
        batch = Batch(steps, loop.view.taken(log_pi, steps), None, None, nothing)
        at_start = loop.view.starts(4)  # the modes alone earn
        return loop._taught(carry, log_pi, None, batch, at_start, nothing)[0]

    batch = taught(carry)
    assert batch.scaled == 0
    assert not batch.gains_TB.any()
    assert np.isfinite(batch.signal).all()


@pytest.mark.parametrize("method", ["ppo", "ips-ppo"])
def test_methods_with_a_critic_reach_the_target(method):
    """From total L1 about 1 in every seed; a policy that stood still or collapsed would not."""
    options = {"estimator": "likelihood", "advantage_clip": 5.0} if method == "ips-ppo" else {}
    config = Config(
        method=method, side=5, policy="tabular", hidden=16, lr=0.03, lr_end=3e-3, lr_critic=3e-3,
        batch=128, group_size=128, iterations=300, eval_every=100, checkpoint_every=300, seeds=3,
        epochs=2, **options,
    )  # fmt: skip
    loop, seeds = Loop(config), jnp.arange(3)
    _, evaluations = loop.run(loop.init(seeds), seeds, 0)
    assert evaluations.total_l1[:, -1].max() < 0.1
