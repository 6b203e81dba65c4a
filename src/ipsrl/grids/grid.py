"""Grids on which a trajectory adds 1 to one coordinate per step, and stops somewhere.

A state is one integer, row-major; action d < D adds 1 to coordinate d, action D stops.  What is
rewarded, and where one may move and stop, is left to the subclasses: `HyperGrid` and `Lattice`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Grid(ABC):
    """Grid of `side`^`dims` cells; trajectories start at the origin corner.

    Attributes:
      dims: D >= 1.
      side: H >= 2 cells per dimension.
    """

    dims: int
    side: int

    # Of any states [...] or their coordinates [..., D], as NumPy or JAX arrays (xp).

    @abstractmethod
    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        """R [...]."""

    @abstractmethod
    def modes_of(self, states: Any, xp: Any = np) -> Any:
        """Mode [...], from 0 to num_modes - 1; num_modes for a state in no mode."""

    @abstractmethod
    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        """Allowed actions [..., A]; at least one is."""

    @property
    @abstractmethod
    def num_modes(self) -> int:
        """Number of outcomes, or groups of them, that are worth finding."""

    def coordinates_of(self, states: Any, xp: Any = np) -> Any:
        """Coordinates [..., D]."""
        return states[..., None] // xp.asarray(self.strides[:-1]) % self.side

    @property
    def states(self) -> int:
        return self.side**self.dims

    @property
    def actions(self) -> int:
        return self.dims + 1

    @property
    def horizon(self) -> int:
        """Longest trajectory in actions: all the way to the far corner, and stop."""
        return self.dims * (self.side - 1) + 1

    @cached_property
    def strides(self) -> np.ndarray:
        """What each action adds to the state [A]; stopping adds 0."""
        return np.array([self.side ** (self.dims - 1 - d) for d in range(self.dims)] + [0])

    # Of all states, row by row.

    @cached_property
    def coordinates(self) -> np.ndarray:
        """Coordinates [S, D]."""
        return self.coordinates_of(np.arange(self.states))

    @cached_property
    def rewards(self) -> np.ndarray:
        """R [S]."""
        return self.rewards_of(np.arange(self.states))

    @cached_property
    def target(self) -> np.ndarray:
        """p* = R / sum R [S]."""
        return self.rewards / self.rewards.sum()

    @cached_property
    def legal(self) -> np.ndarray:
        """Allowed actions [S, A]."""
        return self.legal_at(self.coordinates)

    @cached_property
    def nearest_legal(self) -> np.ndarray:
        """The action itself where it is allowed, else the last that is [S, A].

        Sampling by inversion needs it: a cumulative sum may round to just below 1.
        """
        last = self.actions - 1 - np.argmax(self.legal[:, ::-1], axis=-1)
        return np.where(self.legal, np.arange(self.actions), last[:, None])

    @cached_property
    def levels(self) -> np.ndarray:
        """States by number of steps from the start [horizon, widest level], padded with S."""
        depth = self.coordinates.sum(-1)
        width = np.bincount(depth).max()
        levels = np.full((self.horizon, width), self.states)
        for level in range(self.horizon):
            members = np.flatnonzero(depth == level)
            levels[level, : len(members)] = members
        return levels

    def terminal_distribution(self, log_pi_SA):
        """Exact distribution of the final state under a policy, by dynamic programming.

            F(s) = sum_{parents s'} F(s') pi(s | s'),   F(origin) = 1,   p(s) = F(s) pi(stop | s)

        Level by level, O(S D) work.  Differentiable, and traceable by `jax.jit` and `vmap`.

        Args:
          log_pi_SA: log-probabilities of the actions in every state [S, A].
        Returns:
          p [S], sums to 1.
        """
        import jax
        import jax.numpy as jnp

        pi = jnp.exp(log_pi_SA)
        moves = jnp.concatenate([pi[:, :-1], jnp.zeros((1, self.dims), pi.dtype)])  # pad state S
        coordinates = np.concatenate([self.coordinates, np.zeros((1, self.dims), int)])
        # A missing parent is the pad state, whose flow is 0.
        parents = np.where(
            coordinates > 0, np.arange(self.states + 1)[:, None] - self.strides[:-1], self.states
        )
        parents = jnp.asarray(parents)

        def step(flow, level):
            above = parents[level]  # [width, D]
            arriving = (flow[above] * moves[above, jnp.arange(self.dims)]).sum(-1)
            return flow.at[level].set(jnp.where(level == self.states, 0.0, arriving)), None

        flow = jnp.zeros(self.states + 1, pi.dtype).at[0].set(1.0)
        flow, _ = jax.lax.scan(step, flow, jnp.asarray(self.levels[1:]))
        return flow[:-1] * pi[:, -1]
