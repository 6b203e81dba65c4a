"""Grids with known rewards: fast, exact experiments (paper, sections 5.1 and 6)."""

from ipsrl.grids.config import Config
from ipsrl.grids.hypergrid import HyperGrid
from ipsrl.grids.lattice import Lattice, LatticeConfig
from ipsrl.grids.train import Result, train

__all__ = ["Config", "HyperGrid", "Lattice", "LatticeConfig", "Result", "train"]
