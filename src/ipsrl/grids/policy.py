"""Policies of the hyper-grid: the probability of every action in a state.

Both answer two questions: `table()`, the log-probabilities in all states at once, which costs one
pass per iteration however many trajectories are drawn; and `at(coordinates)`, for grids whose
states are too many to visit all.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ipsrl.grids.hypergrid import HyperGrid

_IMPOSSIBLE = -1e9  # a logit; finite, because -inf would make NaN gradients of the log-softmax


class MLPPolicy(eqx.Module):
    """Two hidden layers on one-hot coordinates.

    The first layer of a one-hot input is a sum of rows, one per coordinate, so it is stored as rows.
    """

    rows: Float[Array, "D H hidden"]
    bias: Float[Array, " hidden"]
    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, grid: HyperGrid, width: int, key: Key[Array, ""]) -> None:
        first, second, third = jax.random.split(key, 3)
        # Uniform in +-1/sqrt(fan in), the default of Equinox and PyTorch, for a one-hot of D H.
        bound = (grid.dims * grid.side) ** -0.5
        shape = (grid.dims, grid.side, width)
        self.rows = jax.random.uniform(first, shape, minval=-bound, maxval=bound)
        self.bias = jnp.zeros(width)
        self.hidden = eqx.nn.Linear(width, width, key=second)
        self.out = eqx.nn.Linear(width, grid.actions, key=third)

    def table(self, grid: HyperGrid) -> Float[Array, "S A"]:
        first = self.bias
        for d in range(grid.dims):
            axes = [1] * d + [grid.side] + [1] * (grid.dims - 1 - d)
            first = first + self.rows[d].reshape(*axes, -1)
        return self._log_probs(first.reshape(grid.states, -1), jnp.asarray(grid.legal))

    def at(self, grid: HyperGrid, coordinates: Int[Array, "*N D"]) -> Float[Array, "*N A"]:
        first = self.bias + sum(self.rows[d][coordinates[..., d]] for d in range(grid.dims))
        return self._log_probs(first, _legal(grid, coordinates))

    def _log_probs(self, first, legal):
        hidden = jax.nn.relu(jax.nn.relu(first) @ self.hidden.weight.T + self.hidden.bias)
        logits = hidden @ self.out.weight.T + self.out.bias
        return jax.nn.log_softmax(jnp.where(legal, logits, _IMPOSSIBLE))


class TabularPolicy(eqx.Module):
    """One free logit per state and action; it starts uniform."""

    logits: Float[Array, "S A"]

    def __init__(self, grid: HyperGrid) -> None:
        self.logits = jnp.zeros((grid.states, grid.actions))

    def table(self, grid: HyperGrid) -> Float[Array, "S A"]:
        return jax.nn.log_softmax(jnp.where(jnp.asarray(grid.legal), self.logits, _IMPOSSIBLE))

    def at(self, grid: HyperGrid, coordinates: Int[Array, "*N D"]) -> Float[Array, "*N A"]:
        logits = self.logits[coordinates @ jnp.asarray(grid.strides[:-1])]
        return jax.nn.log_softmax(jnp.where(_legal(grid, coordinates), logits, _IMPOSSIBLE))


def _legal(grid: HyperGrid, coordinates):
    stop = jnp.ones((*coordinates.shape[:-1], 1), bool)
    return jnp.concatenate([coordinates < grid.side - 1, stop], -1)
