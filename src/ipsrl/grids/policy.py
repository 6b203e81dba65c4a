"""Policies on a grid: the probability of every action in a state.

Both answer two questions: `table()`, the log-probabilities in all states at once, which costs one
pass per iteration however many trajectories are drawn; and `at(coordinates)`, for grids whose
states are too many to visit all.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ipsrl.grids.grid import Grid

_IMPOSSIBLE = -1e9  # a logit; finite, because -inf would make NaN gradients of the log-softmax


class MLPPolicy(eqx.Module):
    """Two hidden layers on one-hot coordinates.

    The first layer of a one-hot input is a sum of rows, one per coordinate, and stored as such.
    """

    first: tuple[Float[Array, "D H hidden"], Float[Array, " hidden"]]
    second: tuple[Float[Array, "hidden hidden"], Float[Array, " hidden"]]
    out: tuple[Float[Array, "hidden A"], Float[Array, " A"]]

    def __init__(self, grid: Grid, width: int, key: Key[Array, ""]) -> None:
        keys = jax.random.split(key, 3)
        rows, bias = _linear(keys[0], grid.dims * grid.side, width)
        self.first = rows.reshape(grid.dims, grid.side, width), bias
        self.second = _linear(keys[1], width, width)
        self.out = _linear(keys[2], width, grid.actions)

    def table(self, grid: Grid) -> Float[Array, "S A"]:
        rows, first = self.first
        for d in range(grid.dims):
            axes = [1] * d + [grid.side] + [1] * (grid.dims - 1 - d)
            first = first + rows[d].reshape(*axes, -1)
        return self._log_probs(first.reshape(grid.states, -1), jnp.asarray(grid.legal))

    def at(self, grid: Grid, coordinates: Int[Array, "*N D"]) -> Float[Array, "*N A"]:
        rows, first = self.first
        for d in range(grid.dims):
            first = first + rows[d][coordinates[..., d]]
        return self._log_probs(first, grid.legal_at(coordinates, jnp))

    def _log_probs(self, first, legal):
        (weight, bias), (out_weight, out_bias) = self.second, self.out
        hidden = jax.nn.relu(jax.nn.relu(first) @ weight + bias)
        logits = hidden @ out_weight + out_bias
        return jax.nn.log_softmax(jnp.where(legal, logits, _IMPOSSIBLE))


class TabularPolicy(eqx.Module):
    """One free logit per state and action; it starts uniform."""

    logits: Float[Array, "S A"]

    def __init__(self, grid: Grid) -> None:
        self.logits = jnp.zeros((grid.states, grid.actions))

    def table(self, grid: Grid) -> Float[Array, "S A"]:
        return jax.nn.log_softmax(jnp.where(jnp.asarray(grid.legal), self.logits, _IMPOSSIBLE))

    def at(self, grid: Grid, coordinates: Int[Array, "*N D"]) -> Float[Array, "*N A"]:
        logits = self.logits[coordinates @ jnp.asarray(grid.strides[:-1])]
        return jax.nn.log_softmax(jnp.where(grid.legal_at(coordinates, jnp), logits, _IMPOSSIBLE))


def _linear(key: Key[Array, ""], fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """Weight and bias, uniform in +-1/sqrt(fan in): the default of PyTorch and Equinox."""
    weight_key, bias_key = jax.random.split(key)
    bound = fan_in**-0.5
    weight = jax.random.uniform(weight_key, (fan_in, fan_out), minval=-bound, maxval=bound)
    return weight, jax.random.uniform(bias_key, (fan_out,), minval=-bound, maxval=bound)
