"""The domains by name."""

from __future__ import annotations

from typing import Any, Literal

from ipsrl.hypospace.boolean import Boolean, BooleanConfig
from ipsrl.hypospace.causal import Causal, CausalConfig
from ipsrl.hypospace.task import AnyTask
from ipsrl.hypospace.voxel import Voxel, VoxelConfig

Domain = Literal["causal", "voxel", "boolean"]

DOMAINS = {
    "causal": (Causal, CausalConfig),
    "voxel": (Voxel, VoxelConfig),
    "boolean": (Boolean, BooleanConfig),
}


def make_task(domain: str, options: dict[str, Any]) -> AnyTask:
    """The domain of this name and size."""
    task, config = DOMAINS[domain]
    return task(config(**options))
