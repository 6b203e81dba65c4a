"""Arguments of TRL's trainer: the user's fields over our defaults, and checks of both."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ipsrl.core.methods import GRPO
from ipsrl.errors import ConfigError, MissingExtra
from ipsrl.llm.config import PostTraining

try:
    import torch
    from transformers import BitsAndBytesConfig
    from trl.trainer.grpo_config import GRPOConfig

    from ipsrl.llm.given import check_config
    from ipsrl.llm.options import check_fields, check_start
    from ipsrl.llm.without_gpu import without_gpu
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "trl") from None

_SAVE_STEPS = 50  # at least


def arguments_of(config: PostTraining, out: Path) -> Any:
    """Make a GRPOConfig of the user's fields over our defaults.

    Raises:
      ConfigError: for unknown fields, impossible values, or a missing package.
    """
    check_fields(config.trl)
    if config.trl.get("eval_strategy") in ("steps", "epoch") and not config.evaluates:
        raise ConfigError(
            "trl.eval_strategy asks for evaluation, but there is no eval_dataset. Name one (of "
            "train llm), or leave it out."
        )
    ours: dict[str, Any] = {
        "report_to": "none",
        "logging_steps": 1,
        "save_total_limit": 2,
        "disable_tqdm": True,
        "log_completions": True,
        "num_completions_to_print": 0,
        # TRL does not restore its order of a second epoch; `train` shuffles once instead.
        "shuffle_dataset": False,
    }
    ours |= without_gpu(GRPOConfig)
    loading = {**config.init_kwargs, "trust_remote_code": False, "use_safetensors": True}
    if config.load_in_4bit:
        loading["quantization_config"] = quantization()
    own = {
        "output_dir": str(out / "trainer"), "seed": config.seed, "model_init_kwargs": loading,
    }  # fmt: skip
    if hasattr(GRPOConfig, "trust_remote_code"):  # not in every TRL
        own["trust_remote_code"] = False
    options = {**ours, **config.trl, **own}
    try:
        arguments: Any = GRPOConfig(**options)
    except Exception as error:  # from whichever library the options are for
        raise ConfigError(f"trl: {error}") from None
    check_start(arguments)
    # Completions are kept for several updates, but not in a checkpoint.
    updates = arguments.steps_per_generation * arguments.num_iterations
    updates //= math.gcd(updates, arguments.gradient_accumulation_steps)
    if "save_steps" not in config.trl:
        arguments.save_steps = math.ceil(_SAVE_STEPS / updates) * updates
    # A share of all steps is not a multiple either; an epoch always has whole generations.
    if updates > 1 and arguments.save_strategy == "steps" and arguments.save_steps % updates:
        raise ConfigError(
            f"trl.save_steps = {config.trl['save_steps']!r} does not always save after a multiple "
            f"of {updates} steps, which share one generation, so a resumed run would not be the "
            f"same. Choose a multiple of {updates}."
        )
    return arguments


def quantization() -> BitsAndBytesConfig:
    """NF4 weights with bf16 compute."""
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def check_arguments(config: PostTraining, arguments: Any, prompts: int, dataset: str) -> None:
    """Refuse arguments that do not fit together, before anything is written.

    Args:
      config: of the run.
      arguments: of `arguments_of`.
      prompts: of the data set.
      dataset: what an error calls it.
    Raises:
      ConfigError: for what does not.
    """
    if not isinstance(method := config.shaping(), GRPO):
        check_config(arguments, method)
    needed = arguments.generation_batch_size // arguments.num_generations
    if prompts < needed:
        raise ConfigError(
            f"{dataset} has {prompts} prompts, but one generation takes {needed}, so "
            "nothing would be trained. Lower trl.per_device_train_batch_size or "
            "trl.steps_per_generation, raise trl.num_generations, or take more prompts."
        )
