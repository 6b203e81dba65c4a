"""Trajectories, and the policy's log-probabilities along them.

Two ways with one interface.  `Everywhere` evaluates the policy once on all states, so that sampling
and every later question is table look-up.  `WhereVisited` evaluates it along the trajectories, for
grids with too many states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ipsrl.core.losses import policy_entropy
from ipsrl.grids.grid import Grid


class Steps(NamedTuple):
    """Step t of trajectory b was in a state, and took an action there unless it had stopped."""

    states_TB: Int[Array, "*M T B"]
    actions_TB: Int[Array, "*M T B"]
    live_TB: Bool[Array, "*M T B"]


class Rollout(NamedTuple):
    """A batch of trajectories and the states that they stopped in."""

    steps: Steps
    final_B: Int[Array, " B"]


@runtime_checkable
class View(Protocol):
    """Where the policy is evaluated.  `log_pi` is opaque to the caller, but differentiable."""

    def sample(
        self, policy: Any, key: Key[Array, ""], batch: int
    ) -> tuple[Array, Callable[[Array], tuple[Any]], Rollout]:
        """`log_pi`, the pullback of its gradient to the policy, and a batch drawn from it."""
        ...

    def log_probs(self, policy: Any, steps: Steps) -> Array:
        """`log_pi` of a policy, sufficient for these steps."""
        ...

    def taken(self, log_pi: Array, steps: Steps) -> Float[Array, "*M T B"]:
        """Log-probability of each action taken, 0 after the stop."""
        ...

    def entropy(self, log_pi: Array, steps: Steps) -> Float[Array, "T B"]:
        """Entropy of the policy in each state visited."""
        ...

    def rewards(self, states: Int[Array, "*N"]) -> Float[Array, "*N"]:
        """R of the states."""
        ...

    def log_backward(self, steps: Steps) -> Float[Array, " B"]:
        """log P_B(tau | o) of the uniform backward policy: every parent with equal chance."""
        ...


class Everywhere:
    """All states at once; `log_pi` is a table [S, A]."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.rewards_S = jnp.asarray(grid.rewards, jnp.float32)
        parents_S = np.maximum((grid.coordinates > 0).sum(-1), 1)  # the origin is never left by P_B
        self.log_parents_S = jnp.asarray(np.log(parents_S), jnp.float32)

    def sample(self, policy, key, batch):
        log_pi, pullback = jax.vjp(lambda p: p.table(self.grid), policy)
        thresholds_SA = _thresholds(log_pi)
        nearest_SA = jnp.asarray(self.grid.nearest_legal)
        rollout = _walk(
            self.grid,
            key,
            batch,
            lambda state_B: thresholds_SA[state_B],
            lambda state_B, action_B: nearest_SA[state_B, action_B],
        )
        return log_pi, pullback, rollout

    def log_probs(self, policy, steps):
        return policy.table(self.grid)

    def taken(self, log_pi, steps):
        index = steps.states_TB * self.grid.actions + steps.actions_TB
        return jnp.where(steps.live_TB, log_pi.reshape(-1)[index], 0.0)

    def entropy(self, log_pi, steps):
        return policy_entropy(log_pi)[steps.states_TB]

    def rewards(self, states):
        return self.rewards_S[states]

    def log_backward(self, steps):
        return -jnp.where(steps.live_TB, self.log_parents_S[steps.states_TB], 0.0).sum(0)


class WhereVisited:
    """Along the trajectories; `log_pi` is [T, B, A], one row per step."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def sample(self, policy, key, batch):
        def thresholds(state_B):
            return _thresholds(policy.at(self.grid, self.grid.coordinates_of(state_B, jnp)))

        def nearest_legal(state_B, action_B):
            legal = self.grid.legal_at(self.grid.coordinates_of(state_B, jnp), jnp)
            last_B = self.grid.actions - 1 - jnp.argmax(legal[:, ::-1], axis=-1)
            allowed = jnp.take_along_axis(legal, action_B[:, None], -1)[:, 0]
            return jnp.where(allowed, action_B, last_B)

        rollout = _walk(self.grid, key, batch, thresholds, nearest_legal)
        log_pi, pullback = jax.vjp(lambda p: self.log_probs(p, rollout.steps), policy)
        return log_pi, pullback, rollout

    def log_probs(self, policy, steps):
        return policy.at(self.grid, self.grid.coordinates_of(steps.states_TB, jnp))

    def taken(self, log_pi, steps):
        taken = jnp.take_along_axis(log_pi, steps.actions_TB[..., None], -1)[..., 0]
        return jnp.where(steps.live_TB, taken, 0.0)

    def entropy(self, log_pi, steps):
        return policy_entropy(log_pi)

    def rewards(self, states):
        return self.grid.rewards_of(states, jnp)

    def log_backward(self, steps):
        parents = (self.grid.coordinates_of(steps.states_TB, jnp) > 0).sum(-1)
        return -jnp.where(steps.live_TB, jnp.log(jnp.maximum(parents, 1)), 0.0).sum(0)


def _thresholds(log_pi: Float[Array, "*N A"]) -> Float[Array, "*N moves"]:
    """Cumulative probabilities: the number of them that a uniform draw passes is the action."""
    return jnp.cumsum(jnp.exp(log_pi), -1)[..., :-1]


def _walk(
    grid: Grid, key: Key[Array, ""], batch: int, thresholds_of: Callable, nearest_legal: Callable
) -> Rollout:
    """All trajectories of a batch, side by side, until the longest possible one has stopped."""
    strides = jnp.asarray(grid.strides)

    def step(carry, uniform_B):
        state_B, live_B = carry
        action_B = (uniform_B[:, None] > thresholds_of(state_B)).sum(-1)
        # A cumulative sum may round to just below 1, and a draw above it would be illegal.
        action_B = nearest_legal(state_B, action_B)
        moves_B = live_B & (action_B < grid.dims)
        after_B = jnp.where(moves_B, state_B + strides[action_B], state_B)
        return (after_B, moves_B), (state_B, action_B, live_B)

    start = jnp.zeros(batch, jnp.int32), jnp.ones(batch, bool)
    uniforms_TB = jax.random.uniform(key, (grid.horizon, batch))
    (final_B, _), steps = jax.lax.scan(step, start, uniforms_TB)
    return Rollout(Steps(*steps), final_B)
