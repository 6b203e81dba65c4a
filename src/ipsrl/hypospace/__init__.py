"""HypoSpace: problems with many right answers, all of them known (paper, section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.hypospace.boolean import Boolean, BooleanConfig
    from ipsrl.hypospace.causal import Causal, CausalConfig
    from ipsrl.hypospace.config import Config
    from ipsrl.hypospace.recovery import Evaluation, Response, evaluate
    from ipsrl.hypospace.task import (
        Judgement,
        ObservationSet,
        Task,
        Verdict,
        dataset,
        judge,
        judge_lines,
        read_lines,
        sequential_prompt,
        write_dataset,
    )
    from ipsrl.hypospace.training import Result, train
    from ipsrl.hypospace.voxel import Voxel, VoxelConfig

_HOME = {
    "Boolean": "boolean",
    "BooleanConfig": "boolean",
    "Causal": "causal",
    "CausalConfig": "causal",
    "Config": "config",
    "Evaluation": "recovery",
    "Judgement": "task",
    "ObservationSet": "task",
    "Response": "recovery",
    "Result": "training",
    "Task": "task",
    "Verdict": "task",
    "Voxel": "voxel",
    "VoxelConfig": "voxel",
    "dataset": "task",
    "evaluate": "recovery",
    "judge": "task",
    "judge_lines": "task",
    "read_lines": "task",
    "sequential_prompt": "task",
    "train": "training",
    "write_dataset": "task",
}

__all__ = [
    "Boolean",
    "BooleanConfig",
    "Causal",
    "CausalConfig",
    "Config",
    "Evaluation",
    "Judgement",
    "ObservationSet",
    "Response",
    "Result",
    "Task",
    "Verdict",
    "Voxel",
    "VoxelConfig",
    "dataset",
    "evaluate",
    "judge",
    "judge_lines",
    "read_lines",
    "sequential_prompt",
    "train",
    "write_dataset",
]

__getattr__ = loader(__name__, _HOME)
