"""Molecules: a chemical language model, REINVENT and IPS-GRPO on it (paper, section 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.molecules.component import Component, Failure, Timeout
    from ipsrl.molecules.config import (
        ComponentConfig,
        Config,
        DockingConfig,
        PretrainConfig,
        QsarConfig,
        StageConfig,
        SynthesisConfig,
        TransformConfig,
    )
    from ipsrl.molecules.generator.pretraining import PretrainResult, pretrain
    from ipsrl.molecules.generator.prior import Prior, Sequences
    from ipsrl.molecules.generator.vocabulary import Vocabulary
    from ipsrl.molecules.scoring.aggregate import Scoring
    from ipsrl.molecules.search.result import Result
    from ipsrl.molecules.synthesis.planner import Planner, Synthesis
    from ipsrl.molecules.synthesis.reactions import (
        RxnInsight,
        classify,
        is_amide,
        route_is_all_amide,
    )
    from ipsrl.molecules.synthesis.route import Reaction, Route
    from ipsrl.molecules.synthesis.steps import TemplateModel
    from ipsrl.molecules.synthesis.stock import Stock
    from ipsrl.molecules.synthesis.templates import Template, read_templates, templates
    from ipsrl.molecules.training import train

_HOME = {
    "Component": "component",
    "ComponentConfig": "config",
    "Config": "config",
    "DockingConfig": "config",
    "Failure": "component",
    "Planner": "synthesis.planner",
    "PretrainConfig": "config",
    "PretrainResult": "generator.pretraining",
    "Prior": "generator.prior",
    "QsarConfig": "config",
    "Reaction": "synthesis.route",
    "Result": "search.result",
    "Route": "synthesis.route",
    "RxnInsight": "synthesis.reactions",
    "Scoring": "scoring.aggregate",
    "Sequences": "generator.prior",
    "StageConfig": "config",
    "Stock": "synthesis.stock",
    "Synthesis": "synthesis.planner",
    "SynthesisConfig": "config",
    "Template": "synthesis.templates",
    "TemplateModel": "synthesis.steps",
    "Timeout": "component",
    "TransformConfig": "config",
    "Vocabulary": "generator.vocabulary",
    "classify": "synthesis.reactions",
    "is_amide": "synthesis.reactions",
    "pretrain": "generator.pretraining",
    "read_templates": "synthesis.templates",
    "route_is_all_amide": "synthesis.reactions",
    "templates": "synthesis.templates",
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
    "QsarConfig",
    "Reaction",
    "Result",
    "Route",
    "RxnInsight",
    "Scoring",
    "Sequences",
    "StageConfig",
    "Stock",
    "Synthesis",
    "SynthesisConfig",
    "Template",
    "TemplateModel",
    "Timeout",
    "TransformConfig",
    "Vocabulary",
    "classify",
    "is_amide",
    "pretrain",
    "read_templates",
    "route_is_all_amide",
    "templates",
    "train",
]


__getattr__ = loader(__name__, _HOME, extra="molecules")
