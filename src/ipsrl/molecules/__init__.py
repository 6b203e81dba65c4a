"""Molecules: a chemical language model, REINVENT and IPS-GRPO on it (paper, section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader
from ipsrl.molecules.config import (
    ComponentConfig,
    Config,
    DockingConfig,
    PretrainConfig,
    TransformConfig,
)

if TYPE_CHECKING:
    from ipsrl.molecules.pretraining import PretrainResult, pretrain
    from ipsrl.molecules.prior import Prior, Sequences
    from ipsrl.molecules.scoring import Component, Failure, Scoring, Timeout
    from ipsrl.molecules.training import Result, train
    from ipsrl.molecules.vocabulary import Vocabulary

_HOME = {
    "Component": "scoring",
    "Failure": "scoring",
    "PretrainResult": "pretraining",
    "Prior": "prior",
    "Result": "training",
    "Scoring": "scoring",
    "Sequences": "prior",
    "Timeout": "scoring",
    "Vocabulary": "vocabulary",
    "pretrain": "pretraining",
    "train": "training",
}

__all__ = [
    "Component",
    "ComponentConfig",
    "Config",
    "DockingConfig",
    "Failure",
    "PretrainConfig",
    "PretrainResult",
    "Prior",
    "Result",
    "Scoring",
    "Sequences",
    "Timeout",
    "TransformConfig",
    "Vocabulary",
    "pretrain",
    "train",
]


__getattr__ = loader(__name__, _HOME, extra="molecules")
