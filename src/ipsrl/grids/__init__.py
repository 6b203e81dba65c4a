"""Environments with known rewards: fast, exact experiments (paper, sections 5.1 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.grids.bits import BitSequences
    from ipsrl.grids.check import check_environment
    from ipsrl.grids.config import Config, EnvConfig
    from ipsrl.grids.environment import Enumerable, Environment, Summed
    from ipsrl.grids.grid import Grid
    from ipsrl.grids.hypergrid import DeceptiveGrid, HyperGrid
    from ipsrl.grids.lattice import Lattice, LatticeConfig
    from ipsrl.grids.table import Table
    from ipsrl.grids.training import Result, train

_HOME = {
    "BitSequences": "bits",
    "Config": "config",
    "DeceptiveGrid": "hypergrid",
    "EnvConfig": "config",
    "Enumerable": "environment",
    "Environment": "environment",
    "Grid": "grid",
    "HyperGrid": "hypergrid",
    "Lattice": "lattice",
    "LatticeConfig": "lattice",
    "Result": "training",
    "Summed": "environment",
    "Table": "table",
    "check_environment": "check",
    "train": "training",
}

__all__ = [
    "BitSequences",
    "Config",
    "DeceptiveGrid",
    "EnvConfig",
    "Enumerable",
    "Environment",
    "Grid",
    "HyperGrid",
    "Lattice",
    "LatticeConfig",
    "Result",
    "Summed",
    "Table",
    "check_environment",
    "train",
]

__getattr__ = loader(__name__, _HOME, extra="grids")
