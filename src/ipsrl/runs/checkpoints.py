"""The checkpoints of a run: arrays, and a state whose file makes them valid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ipsrl.errors import RunError
from ipsrl.runs.folder import Folder
from ipsrl.runs.formats import as_json, as_safetensors, read_json


class Checkpoints:
    """Those in the folder of a run, of which the two newest are kept."""

    def __init__(self, files: Folder) -> None:
        self.files = files

    def add(self, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Write the checkpoint of the step that the state names."""
        arrays_name, state_name = _names(state["step"])
        self.files.claim(arrays_name, state_name)
        self.files.write(arrays_name, as_safetensors(arrays))
        self.files.write(state_name, as_json(state))
        self.prune()

    def newest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays and state of the newest, or None.

        Raises:
          RunError: if it is damaged.
        """
        steps = self._steps()
        if not steps:
            return None
        arrays_name, state_name = _names(steps[-1])
        try:
            return load_file(self.files.path / arrays_name), read_json(self.files.path / state_name)
        except (SafetensorError, OSError, RunError) as error:
            raise RunError(
                f"the checkpoint of step {steps[-1]} in {self.files.path} is damaged ({error}). "
                f"Delete {state_name}, and the run goes on from the one before."
            ) from None

    def prune(self) -> None:
        """Keep the two newest, and nothing that a death in the middle has left."""
        kept = {name for step in self._steps()[-2:] for name in _names(step)}
        self.files.remove(self._listed() - kept)

    def _listed(self) -> set[str]:
        return {name for name in self.files.listed if name.startswith("checkpoints/s")}

    def _steps(self) -> list[int]:
        """Steps of those that are whole, in order."""
        steps = sorted({int(Path(name).stem.removeprefix("step-")) for name in self._listed()})
        return [step for step in steps if _names(step)[1] in self.files]


def _names(step: int) -> tuple[str, str]:
    """Files of its arrays, and of the state."""
    stem = f"checkpoints/step-{step:012d}"
    return f"{stem}.safetensors", f"{stem}.json"
