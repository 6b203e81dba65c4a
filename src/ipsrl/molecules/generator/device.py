"""Where a model runs: on a GPU where there is one."""

from __future__ import annotations

import torch

from ipsrl.errors import ConfigError


def device_of(name: str) -> torch.device:
    """The device that a configuration names.

    Args:
      name: "cpu", "cuda", or "auto", which is cuda where PyTorch finds a GPU.
    Raises:
      ConfigError: for "cuda" where there is none.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ConfigError(
            "device = cuda, and PyTorch finds no GPU here, so nothing could run. Set device = auto "
            "or cpu, or install a PyTorch with CUDA and the driver of the GPU."
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def device_input(device: torch.device) -> dict[str, str]:
    """The device as an input of a run: a GPU rounds differently, so no run may change device.

    Nothing on a processor.
    """
    return {"device": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
