"""Weights and optimiser as arrays, which checkpoints hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch


def pack(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Copies of all parameters and of what the optimiser remembers of them."""
    arrays = {f"model/{name}": _numpy(value) for name, value in model.named_parameters()}
    for i, memory in optimiser.state_dict()["state"].items():
        arrays |= {f"optimiser/{i}/{key}": _numpy(value) for key, value in memory.items()}
    return arrays


def unpack(
    arrays: Mapping[str, np.ndarray], model: torch.nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Put back what `pack` copied, both together: an optimiser that remembers another model's
    gradients would carry the model away again."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.from_numpy(arrays[f"model/{name}"]))
    memory: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("optimiser/"):
            _, i, key = name.split("/")
            memory.setdefault(int(i), {})[key] = torch.from_numpy(array.copy())
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": memory, "param_groups": groups})


def _numpy(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
