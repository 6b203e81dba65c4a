"""Trajectory balance on the hyper-grid with gfnx (runs in its own environment).

Follows the library's trajectory-balance baseline: an Equinox MLP, ``forward_rollout``, log Z with
its own Adam, uniform backward policy, no exploration, no metrics or logging callbacks. The whole
training is one jitted ``lax.scan``, compiled ahead of the measured call.
"""

from __future__ import annotations

import os

# Read once, when JAX starts: one thread, and never a GPU.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from importlib.metadata import version
from typing import Any, NamedTuple

import equinox as eqx
import gfnx
import jax
import jax.numpy as jnp
import optax
from contract import R0, R1, R2, Stopwatch, Task, check_rewards, parse_task, report


class TrainState(NamedTuple):
    """What one iteration hands to the next."""

    key: jax.Array
    params: dict[str, Any]
    opt_state: Any


def make_environment(task: Task) -> tuple[Any, Any]:
    """Return the grid and its parameters, after checking the library's reward."""
    rewards = gfnx.GeneralHypergridRewardModule(R0=R0, R1=R1, R2=R2)
    env = gfnx.HypergridEnvironment(rewards, dim=task.dims, side=task.side)
    env_params = env.init(jax.random.PRNGKey(task.seed))
    diagonal = jnp.broadcast_to(jnp.arange(task.side)[:, None], (task.side, task.dims))
    states = env.get_init_state(task.side).replace(state=diagonal)
    check_rewards(task.side, rewards.reward(states, env_params).tolist())
    return env, env_params


def main() -> None:
    task = parse_task()
    env, env_params = make_environment(task)
    key, network_key = jax.random.split(jax.random.PRNGKey(task.seed))
    network = eqx.nn.MLP(
        in_size=env.observation_space.shape[0],
        out_size=env.action_space.n,
        width_size=task.hidden,
        depth=2,
        key=network_key,
    )
    weights, static = eqx.partition(network, eqx.is_array)
    params = {"network": weights, "log_z": jnp.zeros(())}
    optimizer = optax.multi_transform(
        {"network": optax.adam(1e-3), "log_z": optax.adam(0.1)},
        {"network": jax.tree.map(lambda _: "network", weights), "log_z": "log_z"},
    )

    def logits(weights: Any, obs: jax.Array) -> dict[str, jax.Array]:
        """Forward logits of the network and constant (uniform) backward logits."""
        forward = jax.vmap(eqx.combine(weights, static))(obs)
        uniform = jnp.zeros((obs.shape[0], env.backward_action_space.n))
        return {"forward_logits": forward, "backward_logits": uniform}

    def policy(key: jax.Array, obs: jax.Array, weights: Any) -> tuple[jax.Array, dict]:
        del key  # on-policy: nothing is drawn but the action itself
        return logits(weights, obs)["forward_logits"], {}

    def loss_fn(params: dict[str, Any], trajectories: Any, log_reward: jax.Array) -> jax.Array:
        recomputed = jax.vmap(lambda obs: logits(params["network"], obs))(trajectories.obs)
        log_pf, log_pb = gfnx.utils.forward_trajectory_log_probs(
            env, trajectories.replace(info=recomputed), env_params
        )
        return optax.losses.squared_error(params["log_z"] + log_pf, log_pb + log_reward).mean()

    def train_step(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
        key, rollout_key = jax.random.split(state.key)
        trajectories, info = gfnx.utils.forward_rollout(
            rollout_key, task.batch, policy, state.params["network"], env, env_params
        )
        loss, grads = jax.value_and_grad(loss_fn)(
            state.params, trajectories, info["log_gfn_reward"]
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return TrainState(key, optax.apply_updates(state.params, updates), opt_state), loss

    def train(state: TrainState) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(train_step, state, length=task.iterations)

    state = TrainState(key, params, optimizer.init(params))
    compiled = jax.jit(train, donate_argnums=0).lower(state).compile()
    jax.block_until_ready(state)
    watch = Stopwatch()
    _, losses = jax.block_until_ready(compiled(state))
    report(task, "gfnx", version("gfnx"), watch.stop(), float(losses[-1]))


if __name__ == "__main__":
    main()
