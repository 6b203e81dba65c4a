"""Post-training of language models that keeps every good answer (paper, section 5.2)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ipsrl.errors import MissingExtra
from ipsrl.llm.config import Config

if TYPE_CHECKING:
    from ipsrl.llm.flowrl import FlowRLTrainer
    from ipsrl.llm.monitor import CollapseMonitor
    from ipsrl.llm.replay import PromptHistory
    from ipsrl.llm.train import Result, train
    from ipsrl.llm.trl import IPSGRPOTrainer, IPSMixin, IPSRLOOTrainer, ips_reward

_HOME = {
    "CollapseMonitor": "monitor",
    "FlowRLTrainer": "flowrl",
    "IPSGRPOTrainer": "trl",
    "IPSMixin": "trl",
    "IPSRLOOTrainer": "trl",
    "PromptHistory": "replay",
    "Result": "train",
    "ips_reward": "trl",
    "train": "train",
}

__all__ = [
    "CollapseMonitor",
    "Config",
    "FlowRLTrainer",
    "IPSGRPOTrainer",
    "IPSMixin",
    "IPSRLOOTrainer",
    "PromptHistory",
    "Result",
    "ips_reward",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load the module of a name when it is first used: importing TRL takes seconds."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"ipsrl.llm.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "trl") from None
