"""Trajectories of a batch, side by side: drawn forward to their stop, or back from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from ipsrl.grids.environment import Environment, State


class Steps(NamedTuple):
    """States and actions: step t of trajectory b, with no action after its stop."""

    states_TB: State  # leaves [*M, T, B, ...]
    actions_TB: Int[Array, "*M T B"]
    live_TB: Bool[Array, "*M T B"]


class Rollout(NamedTuple):
    """A batch of trajectories and the states in which they stopped."""

    steps: Steps
    final_B: State  # leaves [B, ...]


def led(steps: Steps) -> tuple[Array, Array]:
    """The move that led to each state [T, B], and True if there was one."""
    moves_TB = jnp.concatenate([steps.actions_TB[:1] * 0, steps.actions_TB[:-1]])
    return moves_TB, steps.live_TB & (jnp.arange(len(moves_TB)) > 0)[:, None]


@jax.custom_batching.custom_vmap
def anyone(condition: Bool[Array, ""]) -> Bool[Array, ""]:
    """True if it holds in any of the seeds that are trained together: their loops end as one."""
    return condition


@anyone.def_vmap
def _(_size: int, _batched: list[bool], condition: Array) -> tuple[Array, bool]:
    return condition.any(), False


def walk(
    environment: Environment,
    key: Key[Array, ""],
    start_B: State,
    act: Callable[[State, Array], tuple[Array, Any]],
    move: Callable[[State, Array], State],
) -> tuple[Rollout, Any]:
    """All trajectories of a batch, side by side, until the longest has stopped.

    Returns the batch, and what `act` said of each step [T, B, ...] (zeros after the last one).
    """
    horizon, batch = environment.horizon, len(jax.tree.leaves(start_B)[0])
    stop = environment.actions - 1
    uniforms_TB = jax.random.uniform(key, (horizon, batch))

    def step(carry):
        t, state_B, live_B, records = carry
        action_B, kept = act(state_B, uniforms_TB[t])
        moves_B = live_B & (action_B != stop)
        record = state_B, action_B, live_B, kept
        records = jax.tree.map(
            lambda all_T, one: jax.lax.dynamic_update_index_in_dim(all_T, one, t, 0),
            records, record,
        )  # fmt: skip
        after_B = _where(moves_B, move(state_B, action_B), state_B)
        return t + 1, after_B, moves_B, records

    live_B = jnp.ones(batch, bool)
    shapes = jax.eval_shape(act, start_B, uniforms_TB[0])
    empty = jax.tree.map(
        lambda leaf: jnp.zeros((horizon, *leaf.shape), leaf.dtype),
        (start_B, shapes[0], live_B, shapes[1]),
    )
    first = jnp.zeros((), jnp.int32), start_B, live_B, empty

    def goes_on(carry):
        return (carry[0] < horizon) & anyone(carry[2].any())

    last = jax.lax.while_loop(goes_on, step, first)
    _, final_B, _, (states_TB, actions_TB, live_TB, kept) = last
    return Rollout(Steps(states_TB, actions_TB, live_TB), final_B), kept


def walk_back(
    environment: Environment,
    key: Key[Array, ""],
    final_B: State,
    undo: Callable[[State, Array], tuple[State, Array, Array]],
) -> Steps:
    """The steps of trajectories that are drawn from their ends back to the start."""
    horizon, batch = environment.horizon, len(jax.tree.leaves(final_B)[0])
    uniforms_TB = jax.random.uniform(key, (horizon - 1, batch))

    def step(state_B, uniform_B):
        before_B, move_B, left_B = undo(state_B, uniform_B)
        before_B = _where(left_B, before_B, state_B)
        return before_B, (before_B, move_B, left_B)

    _, (states_TB, moves_TB, left_TB) = jax.lax.scan(step, final_B, uniforms_TB)
    # Step k back of a trajectory of n moves is its step n - 1 - k; then it stops, at n.
    moves_B = left_TB.sum(0)
    time_TB = jnp.arange(horizon)[:, None]
    source_TB = jnp.clip(moves_B - 1 - time_TB, 0, horizon - 2)
    before = time_TB < moves_B

    def ordered(back_TB, end_B):
        shape = (horizon, batch) + (1,) * (back_TB.ndim - 2)
        taken = jnp.take_along_axis(back_TB, source_TB.reshape(shape), 0)
        return jnp.where(before.reshape(shape), taken, end_B)

    states_TB = jax.tree.map(ordered, states_TB, final_B)
    stop_B = jnp.full(batch, environment.actions - 1, moves_TB.dtype)
    return Steps(states_TB, ordered(moves_TB, stop_B), time_TB <= moves_B)


def _where(condition_B: Array, yes: State, no: State) -> State:
    """Choose between two states, leaf by leaf."""

    def chosen(a: Array, b: Array) -> Array:
        return jnp.where(condition_B.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(chosen, yes, no)
