"""HypoSpace: problems with many right answers, all of them known (paper, section 5.2)."""

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
