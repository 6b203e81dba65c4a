"""HypoSpace: problems with many right answers, all of them known (paper, section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.hypospace.boolean import Boolean, BooleanConfig
    from ipsrl.hypospace.causal import Causal, CausalConfig
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
    from ipsrl.hypospace.voxel import Voxel, VoxelConfig

_HOME = {
    "Boolean": "boolean",
    "BooleanConfig": "boolean",
    "Causal": "causal",
    "CausalConfig": "causal",
    "Evaluation": "recovery",
    "Judgement": "task",
    "ObservationSet": "task",
    "Response": "recovery",
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
    "write_dataset": "task",
}

__all__ = [
    "Boolean",
    "BooleanConfig",
    "Causal",
    "CausalConfig",
    "Evaluation",
    "Judgement",
    "ObservationSet",
    "Response",
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
    "write_dataset",
]

__getattr__ = loader(__name__, _HOME)
