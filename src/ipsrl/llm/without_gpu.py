"""Settings of TRL that make sense only with a GPU, and their replacements without one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ipsrl.errors import MissingExtra

try:
    import torch
    import trl.trainer.utils as trl_utils
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "trl") from None


def without_gpu(arguments: Any) -> dict[str, Any]:
    """Fields of training arguments whose defaults need a GPU, with values for a CPU."""
    if torch.cuda.is_available():
        return {}
    off = ("bf16", "dataloader_pin_memory", "gradient_checkpointing", "activation_checkpointing")
    known = {field.name for field in dataclasses.fields(arguments)}
    return {"use_cpu": True, **{name: False for name in off if name in known}}


@contextmanager
def completions_only() -> Iterator[None]:
    """Compute no logits of prompts, because nobody reads their log-probabilities.

    TRL (1.16) leaves them out where Triton runs, and so on no processor, where they may be most
    of a step: a prompt of 150 tokens before an answer of 7 with Gemma's 262,144 words.
    """
    where = "_use_triton"  # what `add_fused_lm_head` asks; absent in other versions of TRL
    asked = getattr(trl_utils, where, None)
    if asked is None or torch.cuda.is_available():
        yield
        return
    setattr(trl_utils, where, lambda device: device.type == "cpu" or asked(device))
    try:
        yield
    finally:
        setattr(trl_utils, where, asked)
