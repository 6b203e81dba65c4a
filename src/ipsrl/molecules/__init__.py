"""Molecules: a chemical language model, REINVENT and IPS-GRPO on it (paper, section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader
from ipsrl.molecules.config import (
    ComponentConfig,
    Config,
    DockingConfig,
    PretrainConfig,
    SynthesisConfig,
    TransformConfig,
)

if TYPE_CHECKING:
    from ipsrl.molecules.pretraining import PretrainResult, pretrain
    from ipsrl.molecules.prior import Prior, Sequences
    from ipsrl.molecules.retrosynthesis import (
        Planner,
        Reaction,
        Route,
        Stock,
        Synthesis,
        TemplateModel,
    )
    from ipsrl.molecules.scoring import Component, Failure, Scoring, Timeout
    from ipsrl.molecules.search import Result
    from ipsrl.molecules.templates import Template, read_templates
    from ipsrl.molecules.training import train
    from ipsrl.molecules.vocabulary import Vocabulary

_HOME = {
    "Component": "scoring",
    "Failure": "scoring",
    "Planner": "retrosynthesis",
    "PretrainResult": "pretraining",
    "Prior": "prior",
    "Reaction": "retrosynthesis",
    "Result": "search",
    "Route": "retrosynthesis",
    "Scoring": "scoring",
    "Sequences": "prior",
    "Stock": "retrosynthesis",
    "Synthesis": "retrosynthesis",
    "Template": "templates",
    "TemplateModel": "retrosynthesis",
    "Timeout": "scoring",
    "Vocabulary": "vocabulary",
    "pretrain": "pretraining",
    "read_templates": "templates",
    "train": "training",
}

__all__ = [
    "Component",
    "ComponentConfig",
    "Config",
    "DockingConfig",
    "Failure",
    "Planner",
    "PretrainConfig",
    "PretrainResult",
    "Prior",
    "Reaction",
    "Result",
    "Route",
    "Scoring",
    "Sequences",
    "Stock",
    "Synthesis",
    "SynthesisConfig",
    "Template",
    "TemplateModel",
    "Timeout",
    "TransformConfig",
    "Vocabulary",
    "pretrain",
    "read_templates",
    "train",
]


__getattr__ = loader(__name__, _HOME, extra="molecules")
