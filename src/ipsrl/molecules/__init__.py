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
    from ipsrl.molecules.generator.pretraining import PretrainResult, pretrain
    from ipsrl.molecules.generator.prior import Prior, Sequences
    from ipsrl.molecules.generator.vocabulary import Vocabulary
    from ipsrl.molecules.scoring.aggregate import Component, Failure, Scoring, Timeout
    from ipsrl.molecules.search.loop import Result
    from ipsrl.molecules.synthesis.planner import (
        Planner,
        Reaction,
        Route,
        Stock,
        Synthesis,
        TemplateModel,
    )
    from ipsrl.molecules.synthesis.templates import Template, read_templates
    from ipsrl.molecules.training import train

_HOME = {
    "Component": "scoring.aggregate",
    "Failure": "scoring.aggregate",
    "Planner": "synthesis.planner",
    "PretrainResult": "generator.pretraining",
    "Prior": "generator.prior",
    "Reaction": "synthesis.planner",
    "Result": "search.loop",
    "Route": "synthesis.planner",
    "Scoring": "scoring.aggregate",
    "Sequences": "generator.prior",
    "Stock": "synthesis.planner",
    "Synthesis": "synthesis.planner",
    "Template": "synthesis.templates",
    "TemplateModel": "synthesis.planner",
    "Timeout": "scoring.aggregate",
    "Vocabulary": "generator.vocabulary",
    "pretrain": "generator.pretraining",
    "read_templates": "synthesis.templates",
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
