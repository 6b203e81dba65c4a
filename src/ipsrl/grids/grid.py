"""Grids on which each step adds 1 to one coordinate, until the trajectory stops.

A state is one integer, row-major; action d < D adds 1 to coordinate d, action D stops.  What is
rewarded, and where one may move and stop, is left to the subclasses: `HyperGrid` and others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class Grid(ABC):
    """`Environment` of `side`^`dims` cells; trajectories start at the origin corner.

    Attributes:
      dims: D >= 1.
      side: H >= 2 cells per dimension.
    """

    dims: int
    side: int

    def __post_init__(self) -> None:
        if self.dims < 1 or self.side < 2:
            raise InvalidInput(
                f"dims = {self.dims} and side = {self.side} do not make a grid. Use dims of "
                "at least 1, and a side of at least 2."
            )

    # For any states [...] or their coordinates [..., D], as NumPy or JAX arrays (xp).

    @abstractmethod
    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        """R [...]."""

    @abstractmethod
    def modes_of(self, states: Any, xp: Any = np) -> Any:
        """Mode [...], from 0 to modes - 1; `modes` for a state outside all modes."""

    @abstractmethod
    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        """Allowed actions [..., A]; at least one is."""

    @property
    @abstractmethod
    def modes(self) -> int:
        """Number of outcomes, or groups of outcomes, that are worth finding."""

    def coordinates_of(self, states: Any, xp: Any = np) -> Any:
        """Coordinates [..., D]."""
        # One division by a constant for each dimension, which compilers turn into a product.
        return xp.stack([states // int(by) % self.side for by in self.strides[:-1]], -1)

    @cached_property
    def strides(self) -> np.ndarray:
        """The change of the state's number by each action [A]; stopping adds 0."""
        return np.array([self.side ** (self.dims - 1 - d) for d in range(self.dims)] + [0])

    # For all states, row by row.

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

    # As an `Enumerable`.

    @property
    def states(self) -> int:
        return self.side**self.dims

    @property
    def actions(self) -> int:
        return self.dims + 1

    @property
    def horizon(self) -> int:
        """Length of the longest trajectory in actions: to the far corner, and stop."""
        return self.dims * (self.side - 1) + 1

    @property
    def observation(self) -> tuple[int, int]:
        return self.dims, self.side

    def start(self):
        return np.int32(0)

    def state(self, index):
        return index

    def index(self, state):
        return state

    def observe(self, state):
        return self.coordinates_of(jnp.asarray(state), jnp)

    def legal(self, state):
        return self.legal_at(self.observe(state), jnp)

    def step(self, state, action):
        return state + jnp.asarray(self.strides)[action]

    def legal_back(self, state):
        x = self.observe(state)
        parents = x - jnp.eye(self.dims, dtype=x.dtype)  # a row for each move
        return (x > 0) & jnp.diagonal(self.legal_at(parents, jnp))

    def step_back(self, state, action):
        return state - jnp.asarray(self.strides)[action]

    def reward(self, state):
        return self.rewards_of(jnp.asarray(state), jnp)

    def mode(self, state):
        return self.modes_of(jnp.asarray(state), jnp)
