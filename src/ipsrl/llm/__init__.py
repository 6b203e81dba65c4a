"""Post-training of language models that keeps every good answer (paper, section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.llm.config import Config
    from ipsrl.llm.exemplars import ExemplarReplayTrainer
    from ipsrl.llm.flowrl import FlowRLTrainer
    from ipsrl.llm.monitor import CollapseMonitor
    from ipsrl.llm.replay import PromptHistory
    from ipsrl.llm.result import Result
    from ipsrl.llm.reward_function import ips_reward
    from ipsrl.llm.training import train
    from ipsrl.llm.trl import IPSGRPOTrainer, IPSMixin, IPSRLOOTrainer

_HOME = {
    "CollapseMonitor": "monitor",
    "Config": "config",
    "ExemplarReplayTrainer": "exemplars",
    "FlowRLTrainer": "flowrl",
    "IPSGRPOTrainer": "trl",
    "IPSMixin": "trl",
    "IPSRLOOTrainer": "trl",
    "PromptHistory": "replay",
    "Result": "result",
    "ips_reward": "reward_function",
    "train": "training",
}

__all__ = [
    "CollapseMonitor",
    "Config",
    "ExemplarReplayTrainer",
    "FlowRLTrainer",
    "IPSGRPOTrainer",
    "IPSMixin",
    "IPSRLOOTrainer",
    "PromptHistory",
    "Result",
    "ips_reward",
    "train",
]


__getattr__ = loader(__name__, _HOME, extra="llm")
