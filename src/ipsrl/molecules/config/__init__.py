"""Configurations of the molecules; separate, so that --help is instant."""

from ipsrl.molecules.config.component import (
    KINDS,
    ComponentConfig,
    QsarConfig,
    SynthesisConfig,
    TransformConfig,
)
from ipsrl.molecules.config.docking import DockingConfig
from ipsrl.molecules.config.pretraining import PretrainConfig
from ipsrl.molecules.config.search import COLUMNS, OUTCOMES, Config, StageConfig

__all__ = [
    "COLUMNS",
    "KINDS",
    "OUTCOMES",
    "ComponentConfig",
    "Config",
    "DockingConfig",
    "PretrainConfig",
    "QsarConfig",
    "StageConfig",
    "SynthesisConfig",
    "TransformConfig",
]
