"""Hyper-grids with known rewards: fast, exact experiments (paper, section 5.1)."""

from ipsrl.grids.config import Config
from ipsrl.grids.hypergrid import HyperGrid
from ipsrl.grids.train import Result, train

__all__ = ["Config", "HyperGrid", "Result", "train"]
