"""Two outcomes of equal reward, reached by 35 and by 7 paths (paper, section 6, Figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ipsrl.grids.config import Learning
from ipsrl.grids.grid import Grid

STEPS = 7
END_A, END_B = (4, 3), (6, 1)  # C(7, 3) = 35 and C(7, 1) = 7 monotone paths


@dataclass(frozen=True)
class Lattice(Grid):
    """A walk of seven steps, right or up; the ends A and B earn 1, every other end 0.

    Attributes:
      free: walk on all cells with x + y <= 7; else only on those that lead to A or B, so that every
        end is rewarded.
    """

    dims: int = 2
    side: int = STEPS + 1
    free: bool = True

    @property
    def horizon(self) -> int:
        return STEPS + 1

    @property
    def modes(self) -> int:
        """A and B."""
        return 2

    def rewards_of(self, states: Any, xp: Any = np) -> Any:
        return (self.modes_of(states, xp) < 2) * 1.0

    def modes_of(self, states: Any, xp: Any = np) -> Any:
        x = self.coordinates_of(states, xp)
        is_a, is_b = ((x == xp.asarray(end)).all(-1) for end in (END_A, END_B))
        return xp.where(is_a, 0, xp.where(is_b, 1, 2))

    def legal_at(self, coordinates: Any, xp: Any = np) -> Any:
        ended = (coordinates.sum(-1) >= STEPS)[..., None]
        after = coordinates[..., None, :] + xp.eye(2, dtype=coordinates.dtype)  # right, up
        moves = xp.ones_like(coordinates, dtype=bool)
        if not self.free:
            moves = (after <= xp.asarray(END_A)).all(-1) | (after <= xp.asarray(END_B)).all(-1)
            # Cells that no walk enters may allow any move; they allow right.
            lost = ~moves.any(-1, keepdims=True)
            moves = moves | (lost & xp.asarray([True, False]))
        return xp.concatenate([moves & ~ended, ended], axis=-1)


class LatticeConfig(Learning):
    """Training on the lattice of Figure 3."""

    geometry: Literal["free", "restricted"] = "free"
    """All cells with x + y <= 7, or only those that lead to A or B."""

    @property
    def title(self) -> str:
        return "lattice"

    def environment(self) -> Lattice:
        return Lattice(free=self.geometry == "free")
