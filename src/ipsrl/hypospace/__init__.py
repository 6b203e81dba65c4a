"""HypoSpace: problems with many right answers, all of them known (paper, section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.hypospace.boolean import Boolean, BooleanConfig
    from ipsrl.hypospace.causal import Causal, CausalConfig
    from ipsrl.hypospace.config import Config
    from ipsrl.hypospace.datasets import ObservationSet, dataset
    from ipsrl.hypospace.lines import judge_lines, read_lines, write_dataset
    from ipsrl.hypospace.reading import Part
    from ipsrl.hypospace.recovery import Evaluation, Response, evaluate
    from ipsrl.hypospace.task import Judgement, Malformed, Task, Verdict, judge, sequential_prompt
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
    "Malformed": "task",
    "ObservationSet": "datasets",
    "Part": "reading",
    "Response": "recovery",
    "Result": "training",
    "Task": "task",
    "Verdict": "task",
    "Voxel": "voxel",
    "VoxelConfig": "voxel",
    "dataset": "datasets",
    "evaluate": "recovery",
    "judge": "task",
    "judge_lines": "lines",
    "read_lines": "lines",
    "sequential_prompt": "task",
    "train": "training",
    "write_dataset": "lines",
}

__all__ = [
    "Boolean",
    "BooleanConfig",
    "Causal",
    "CausalConfig",
    "Config",
    "Evaluation",
    "Judgement",
    "Malformed",
    "ObservationSet",
    "Part",
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
