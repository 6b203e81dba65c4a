"""Grids with known rewards: fast, exact experiments (paper, sections 5.1 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.grids.config import Config
    from ipsrl.grids.hypergrid import HyperGrid
    from ipsrl.grids.lattice import Lattice, LatticeConfig
    from ipsrl.grids.training import Result, train

_HOME = {
    "Config": "config",
    "HyperGrid": "hypergrid",
    "Lattice": "lattice",
    "LatticeConfig": "lattice",
    "Result": "training",
    "train": "training",
}

__all__ = ["Config", "HyperGrid", "Lattice", "LatticeConfig", "Result", "train"]

__getattr__ = loader(__name__, _HOME, extra="grids")
