"""The hyper-grid of the paper's section 5.1: four or more modes inside the corners of a grid."""

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
        """Where |x| > 0.5 on one axis [H]."""
        return 2 * self._offset > self.side - 1

    @cached_property
    def ring_1d(self) -> np.ndarray:
        """Where 0.6 < |x| < 0.8 on one axis [H]."""
        return (10 * self._offset > 6 * (self.side - 1)) & (10 * self._offset < 8 * (self.side - 1))

    @property
    def _offset(self) -> np.ndarray:
        return abs(2 * np.arange(self.side) - (self.side - 1))  # |x| (side - 1)

    @property
    def num_modes(self) -> int:
        """One mode per orthant, if the grid is fine enough to have the ring at all."""
        return 2**self.dims if self.ring_1d.any() else 0

    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        """R [...]."""
        x = self.coordinates_of(states, xp)
        corner, ring = (xp.asarray(axis)[x].all(-1) for axis in (self.corner_1d, self.ring_1d))
        return self.r0 + self.r1 * corner + self.r2 * ring

    def modes_of(self, states: Any, xp: Any = np) -> Any:
        """Mode [...], from 0 to num_modes - 1; num_modes for a state in no mode."""
        x = self.coordinates_of(states, xp)
        orthant = (2 * x > self.side - 1) @ xp.asarray(2 ** np.arange(self.dims))
        return xp.where(xp.asarray(self.ring_1d)[x].all(-1), orthant, self.num_modes)

    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        stop = xp.ones_like(coordinates[..., :1], dtype=bool)
        return xp.concatenate([coordinates < self.side - 1, stop], axis=-1)
