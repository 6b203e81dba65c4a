"""Policies: the probability of every action in a state, given its observation.

Both answer `table(...)`, the log-probabilities in all states at once, which costs one pass per
iteration however many trajectories are drawn.  A network also answers `at(...)` states that are
visited.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

_IMPOSSIBLE = -1e9  # a logit; finite, because -inf would make NaN gradients of the log-softmax
_ONE_HOT = 16  # values up to which a product with one-hot rows is faster than adding up rows


class MLPPolicy(eqx.Module):
    """Two hidden layers on one-hot observations; the outputs are logits of the actions.

    The first layer of a one-hot input is a sum of rows, one per observed number, and stored as
    such.
    """

    first: tuple[Float[Array, "D H hidden"], Float[Array, " hidden"]]
    second: tuple[Float[Array, "hidden hidden"], Float[Array, " hidden"]]
    out: tuple[Float[Array, "hidden O"], Float[Array, " O"]]

    def __init__(
        self, observation: tuple[int, int], outputs: int, width: int, key: Key[Array, ""]
    ) -> None:
        keys = jax.random.split(key, 3)
        numbers, values = observation
        rows, bias = _linear(keys[0], numbers * values, width)
        self.first = rows.reshape(numbers, values, width), bias
        self.second = _linear(keys[1], width, width)
        self.out = _linear(keys[2], width, outputs)

    def outputs(self, observations: Int[Array, "*N D"]) -> Float[Array, "*N O"]:
        """The outputs of the last layer."""
        return self._layers(self._first(observations))

    def _first(self, observations: Int[Array, "*N D"]) -> Float[Array, "*N hidden"]:
        rows, first = self.first
        numbers, values, _ = rows.shape
        if values <= _ONE_HOT:
            hot = (observations[..., None] == jnp.arange(values)).astype(rows.dtype)
            hot = hot.reshape(*observations.shape[:-1], -1)
            return hot @ rows.reshape(numbers * values, -1) + first
        for d in range(numbers):
            first = first + rows[d][observations[..., d]]
        return first

    def _layers(self, first: Array) -> Array:
        (weight, bias), (out_weight, out_bias) = self.second, self.out
        hidden = jax.nn.relu(jax.nn.relu(first) @ weight + bias)
        return hidden @ out_weight + out_bias

    def table(self, observations: np.ndarray, legal: np.ndarray) -> Float[Array, "S A"]:
        """Log-probabilities of the actions in all states, given their observations [S, D]."""
        rows, first = self.first
        numbers, values = rows.shape[:2]
        if _are_all(observations, values):
            # Row by row of each axis: dense sums, whose gradients are dense sums too.
            for d in range(numbers):
                axes = [1] * d + [values] + [1] * (numbers - 1 - d)
                first = first + rows[d].reshape(*axes, -1)
            first = first.reshape(len(observations), -1)
        else:
            first = self._first(jnp.asarray(observations))
        return _log_probs(self._layers(first), jnp.asarray(legal))

    def at(self, observations: Int[Array, "*N D"], legal: Bool[Array, "*N A"]) -> Array:
        """Log-probabilities of the actions in states with these observations [*N, A]."""
        return _log_probs(self.outputs(observations), legal)


class TabularPolicy(eqx.Module):
    """One free logit per state and action; it starts uniform."""

    logits: Float[Array, "S A"]

    def __init__(self, states: int, actions: int) -> None:
        self.logits = jnp.zeros((states, actions))

    def table(self, observations: np.ndarray, legal: np.ndarray) -> Float[Array, "S A"]:
        """Log-probabilities of the actions in all states."""
        return _log_probs(self.logits, jnp.asarray(legal))


def _log_probs(logits: Array, legal: Array) -> Array:
    return jax.nn.log_softmax(jnp.where(legal, logits, _IMPOSSIBLE))


def _are_all(observations: np.ndarray, values: int) -> bool:
    """True if the states are all combinations of observations, in order."""
    states, numbers = observations.shape
    if states != values**numbers:
        return False
    digits = np.arange(states)[:, None] // values ** np.arange(numbers)[::-1] % values
    return bool((observations == digits).all())


def _linear(key: Key[Array, ""], fan_in: int, fan_out: int) -> tuple[Array, Array]:
    """Weight and bias, uniform in +-1/sqrt(fan in): the default of PyTorch and Equinox."""
    weight_key, bias_key = jax.random.split(key)
    bound = fan_in**-0.5
    weight = jax.random.uniform(weight_key, (fan_in, fan_out), minval=-bound, maxval=bound)
    return weight, jax.random.uniform(bias_key, (fan_out,), minval=-bound, maxval=bound)
