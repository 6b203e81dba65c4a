"""The trainer's checkpoints in a run directory, and errors when they cannot be written."""

from __future__ import annotations

import errno
import json
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError
from transformers import TrainerCallback

from ipsrl.pretrained import check_checkpoint
from ipsrl.runs import Run


def newest_checkpoint(run: Run) -> str | None:
    """The newest complete checkpoint; trainer_state.json is written last.

    Raises:
      RunError: if it would run code, or lies elsewhere.
    """
    for name in reversed(_checkpoints(run)):
        path = run.directory / name
        try:
            json.loads((path / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            continue
        check_checkpoint(path)
        return str(path)
    return None


def _checkpoints(run: Run) -> list[str]:
    """Names of the trainer's checkpoints, the oldest first."""
    found = (re.fullmatch(r"trainer/checkpoint-([0-9]+)/", name) for name in run.files.listed)
    return [match[0] for match in sorted(filter(None, found), key=lambda match: int(match[1]))]


class Ended(Exception):
    """The checkpoint belongs to the last step."""


class Checkpoints(TrainerCallback):
    """Removes old checkpoints as the trainer would, but only files in them that the run made."""

    def __init__(self, run: Run, arguments: Any) -> None:
        self.run, self.limit = run, arguments.save_total_limit
        arguments.save_total_limit = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A trainer that is resumed after its last step, within an epoch, takes one more.
        if state.global_step >= state.max_steps:
            raise Ended

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save and state.is_world_process_zero:
            self.run.own_folder(f"trainer/checkpoint-{state.global_step}")

    on_epoch_end = on_step_end

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()  # each process writes a file
        if not state.is_world_process_zero:
            return
        listed = self.run.files.listed
        self.run.files.claim_contents(f"trainer/checkpoint-{state.global_step}/")
        if self.limit is None:
            return
        best = state.best_model_checkpoint and Path(state.best_model_checkpoint).name
        old = [name for name in _checkpoints(self.run) if Path(name).name != best]
        for name in old[: -self.limit]:
            self.run.files.remove({one for one in listed if one.startswith(name)})


@contextmanager
def disk_explained(run: Run) -> Iterator[None]:
    """Report a full or read-only disk, for which each library raises another error."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_of_disk(error):
            raise
        raise run.cannot_write(error) from error


def _is_of_disk(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if isinstance(error, SafetensorError):
        return "I/O error" in str(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    code = frame.f_code  # torch.save raises a bare RuntimeError
    return code.co_filename.endswith("torch/serialization.py") and "load" not in code.co_name
