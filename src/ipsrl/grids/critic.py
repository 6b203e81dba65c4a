"""A critic of states, and advantages from its errors: the methods ppo and ips-ppo.

Both let a network V predict the return from a state, and compare each action with it:

    delta_t = g_t + V(s_{t+1}) - V(s_t),   V = 0 after the stop
    A_t = sum_k lambda^k delta_{t+k}       (generalised advantage estimation)

ppo      g_t = log P_B(s_t | s_{t+1}) - log pi(a_t | s_t), at the stop log R - log pi: the entropy-
         regularised return, whose optimal policy draws outcomes in proportion to R.  V is the log
         flow of a state.  An exact KL to the policy that drew the batch stands beside the clip.
         Source: Ent-PPO (2606.15793); soft returns of GFlowNets: 2310.12934.
ips-ppo  g_t = 0, at the stop r / p^ over its mean: V(s) = E[r / p | s], which is the flow that the
         target sends through the state over that of the policy.  It moves with p, and is 1
         everywhere at the target (docs/theory.md).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from ipsrl.grids.policy import MLPPolicy

EPOCHS, PARTS = 4, 2
"""Passes of the critic over a batch, and updates in each (2606.15793)."""


class Critic(eqx.Module):
    """V of observations: a network like the policy's, with one output."""

    network: MLPPolicy

    def __init__(self, observation: tuple[int, int], width: int, key: Key[Array, ""]) -> None:
        self.network = MLPPolicy(observation, 1, width, key)

    def __call__(self, observations: Int[Array, "*N D"]) -> Float[Array, "*N"]:
        return self.network.outputs(observations)[..., 0]


def generalised_advantages(
    gains_TB: Float[Array, "T B"],
    values_TB: Float[Array, "T B"],
    live_TB: Bool[Array, "T B"],
    decay: float,
) -> Float[Array, "T B"]:
    """A_t of every step, 0 after the stop.

    Args:
      gains_TB: g_t.
      values_TB: V(s_t).
      live_TB: whether there is such a step.
      decay: lambda in [0, 1]; 1 for the whole return minus V(s_t).
    """
    values_TB = jnp.where(live_TB, values_TB, 0.0)
    after_TB = jnp.concatenate([values_TB[1:], jnp.zeros_like(values_TB[:1])])
    errors_TB = jnp.where(live_TB, gains_TB + after_TB - values_TB, 0.0)

    def back(later_B: Array, error_B: Array) -> tuple[Array, Array]:
        advantage_B = error_B + decay * later_B
        return advantage_B, advantage_B

    nothing = jnp.zeros_like(errors_TB[0])
    return jax.lax.scan(back, nothing, errors_TB, reverse=True)[1]


def at_stop(live_TB: Bool[Array, "T B"], values_B: Float[Array, " B"]) -> Float[Array, "T B"]:
    """A value of each trajectory at its last step, and 0 at the others."""
    time_TB = jnp.arange(len(live_TB))[:, None]
    return jnp.where(time_TB == live_TB.sum(0) - 1, values_B, 0.0)


def critic_update(
    critic: Critic,
    state: Any,
    optimiser: optax.GradientTransformation,
    observations_TB: Int[Array, "T B D"],
    gains_TB: Float[Array, "T B"],
    live_TB: Bool[Array, "T B"],
    decay: float,
) -> tuple[Critic, Any]:
    """Critic and state of its optimiser after some steps towards V + A, which stay fixed."""

    def loss(critic: Critic, part: tuple[Array, ...]) -> Array:
        observations, gains, live = part
        values = critic(observations)
        fixed = jax.lax.stop_gradient(values)
        wanted = fixed + generalised_advantages(gains, fixed, live, decay)
        return jnp.where(live, (values - wanted) ** 2, 0.0).sum() / live.sum()

    batch = observations_TB, gains_TB, live_TB
    for _ in range(EPOCHS):
        for half in range(PARTS):
            part = jax.tree.map(
                lambda leaf, half=half: jnp.array_split(leaf, PARTS, 1)[half], batch
            )
            update, state = optimiser.update(jax.grad(loss)(critic, part), state)
            critic = eqx.apply_updates(critic, update)
    return critic, state
