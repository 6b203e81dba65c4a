"""Hyper-grids with modes inside the corners (paper, section 5.1), and a deceptive variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ipsrl.grids.grid import Grid


@dataclass(frozen=True)
class HyperGrid(Grid):
    """Grid of `side`^`dims` cells with the reward of Eq. 10.

        R(x) = R0 + R1 prod_i 1[|x_i| > 0.5] + R2 prod_i 1[0.6 < |x_i| < 0.8]

    with x rescaled to [-1, 1].  The indicators are computed with integers: in floating point, cells
    are misplaced wherever side - 1 is a multiple of 5.

    Attributes:
      dims: D >= 1.
      side: H >= 2 cells per dimension.
      r0: reward of every cell.
      r1: added in the corners.
      r2: added in the 2^D modes inside the corners.
    """

    r0: float = 0.1
    r1: float = 0.5
    r2: float = 2.0

    @cached_property
    def corner_1d(self) -> np.ndarray:
        """True where |x| > 0.5 on one axis [H]."""
        return 2 * self._offset > self.side - 1

    @cached_property
    def ring_1d(self) -> np.ndarray:
        """True where 0.6 < |x| < 0.8 on one axis [H]."""
        return (10 * self._offset > 6 * (self.side - 1)) & (10 * self._offset < 8 * (self.side - 1))

    @property
    def _offset(self) -> np.ndarray:
        return abs(2 * np.arange(self.side) - (self.side - 1))  # |x| (side - 1)

    @property
    def modes(self) -> int:
        """One mode per orthant, if the grid is fine enough to contain the ring."""
        return 2**self.dims if self.ring_1d.any() else 0

    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        """R [...]."""
        x = self.coordinates_of(states, xp)
        corner, ring = (xp.asarray(axis)[x].all(-1) for axis in (self.corner_1d, self.ring_1d))
        return self.r0 + self.r1 * corner + self.r2 * ring

    def modes_of(self, states: Any, xp: Any = np) -> Any:
        """Mode [...], from 0 to modes - 1; modes for a state in no mode."""
        x = self.coordinates_of(states, xp)
        orthant = (2 * x > self.side - 1) @ xp.asarray(2 ** np.arange(self.dims))
        return xp.where(xp.asarray(self.ring_1d)[x].all(-1), orthant, self.modes)

    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        stop = xp.ones_like(coordinates[..., :1], dtype=bool)
        return xp.concatenate([coordinates < self.side - 1, stop], axis=-1)

    def reward_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The different rewards, and the number of cells with each."""
        every, corner = self.side**self.dims, int(self.corner_1d.sum()) ** self.dims
        ring = int(self.ring_1d.sum()) ** self.dims  # the ring lies in the corners
        rewards = self.r0 + np.array([0, self.r1, self.r1 + self.r2])
        return rewards, np.array([every - corner, corner - ring, ring], float)


@dataclass(frozen=True)
class DeceptiveGrid(HyperGrid):
    """A grid whose modes are hidden behind low rewards, while its centre pays everywhere.

        R(x) = R0 + R1 - R1 prod_i 1[|x_i| > 0.2] + R2 prod_i 1[0.6 < |x_i| < 0.8]

    Every cell of the highest reward is a mode.  A trajectory that reaches the far side in one
    coordinate can only stop.  Source: Adaptive Teachers (2410.01432), with R0 = 1e-5, R1 = 0.1,
    R2 = 2; borders are rounded as there, in floating point, which puts x = 0.6 inside on one side.
    """

    r0: float = 1e-5
    r1: float = 0.1

    @cached_property
    def corner_1d(self) -> np.ndarray:
        """True where |x| > 0.2 on one axis [H]."""
        return abs(self._scaled) > 0.2

    @cached_property
    def ring_1d(self) -> np.ndarray:
        """True where 0.6 < |x| < 0.8 on one axis [H]."""
        return (abs(self._scaled) > 0.6) & (abs(self._scaled) < 0.8)

    @property
    def _scaled(self) -> np.ndarray:
        return np.arange(self.side) / (self.side - 1) * 2 - 1

    @property
    def modes(self) -> int:
        """Cells of the highest reward."""
        return int(self.ring_1d.sum()) ** self.dims

    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        x = self.coordinates_of(states, xp)
        away, ring = (xp.asarray(axis)[x].all(-1) for axis in (self.corner_1d, self.ring_1d))
        return self.r0 + self.r1 * ~away + self.r2 * ring

    def modes_of(self, states: Any, xp: Any = np) -> Any:
        x = self.coordinates_of(states, xp)
        rank = xp.asarray(np.cumsum(self.ring_1d) - 1)[x]
        powers = xp.asarray(int(self.ring_1d.sum()) ** np.arange(self.dims))
        return xp.where(xp.asarray(self.ring_1d)[x].all(-1), rank @ powers, self.modes)

    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        inside = (coordinates < self.side - 1).all(-1, keepdims=True)
        moves = xp.ones_like(coordinates, dtype=bool) & inside
        return xp.concatenate([moves, xp.ones_like(inside)], axis=-1)

    def reward_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The different rewards, and the number of reachable cells with each."""
        inner, last = self.side - 1, np.arange(self.side) == self.side - 1

        def reached(axis: np.ndarray) -> int:
            here = int((axis & ~last).sum())  # at most one coordinate lies on the far side
            return here**self.dims + self.dims * int(axis[-1]) * here ** (self.dims - 1)

        every = inner**self.dims + self.dims * inner ** (self.dims - 1)
        away, ring = reached(self.corner_1d), reached(self.ring_1d)
        rewards = self.r0 + np.array([self.r1, 0, self.r2])
        return rewards, np.array([every - away, away - ring, ring], float)
