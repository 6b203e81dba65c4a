"""Fields of TRL's GRPOConfig that would fail, or need a missing package, only during training."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_type_hints

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from transformers import Trainer, get_scheduler
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from transformers.training_args import trainer_log_levels
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig

from ipsrl.config import brief
from ipsrl.errors import ConfigError, RunError, nearest, words

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)
_Count = Annotated[int, Field(ge=1)]
_Some = Annotated[float, Field(gt=0)]
_Any = Annotated[float, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]
_RANGES: dict[str, Any] = {
    **dict.fromkeys(
        ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps",
         "steps_per_generation", "generation_batch_size", "num_iterations", "save_total_limit",
         "max_completion_length", "pad_to_multiple_of", "ref_model_sync_steps", "vllm_server_port",
         "vllm_group_port", "vllm_max_model_length", "vllm_tensor_parallel_size"), _Count),
    **dict.fromkeys(
        ("num_train_epochs", "temperature", "repetition_penalty", "save_steps", "delta",
         "vllm_server_timeout", "sapo_temperature_neg", "sapo_temperature_pos"), _Some),
    **dict.fromkeys(
        ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "beta", "epsilon",
         "epsilon_high", "neftune_noise_alpha"), _Any),
    **dict.fromkeys(
        ("top_p", "min_p", "top_entropy_quantile", "ref_model_mixup_alpha",
         "vllm_gpu_memory_utilization"), _Share),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Annotated[float, Field(ge=0, lt=1)]),
    **dict.fromkeys(("top_k", "dataloader_num_workers"), Annotated[int, Field(ge=0)]),
    **dict.fromkeys(("log_level", "log_level_replica"), Literal[tuple(trainer_log_levels)]),
    "max_steps": Annotated[int, Field(ge=-1)],  # TRL counts epochs instead of -1 steps
}  # fmt: skip
# Texts that the trainer compares with words in its source, which grow with each release.
_IN_SOURCE = ("loss_type", "importance_sampling_level", "scale_rewards", "vllm_mode")
_WITHOUT_OPTIONS = ("constant", "constant_with_warmup")
_PACKAGES = {  # module and its name for pip
    "use_vllm": ("vllm", "trl[vllm]"),
    "use_liger_kernel": ("liger_kernel", "liger-kernel"),
    "deepspeed": ("deepspeed", "deepspeed"),
}


def check_fields(fields: dict[str, Any]) -> None:
    """Check that GRPOConfig has these fields, that their values are valid, and the packages.

    Raises:
      ConfigError: for the first unknown field or impossible value.
      RunError: with the pip line, where a package is missing.
    """
    hints = get_type_hints(GRPOConfig)
    for key, value in fields.items():
        if key not in hints:
            raise ConfigError(f"trl has no key {brief(key)} in GRPOConfig{nearest(key, hints)}.")
        try:
            for kind in (hints[key], *([_RANGES[key]] if key in _RANGES else [])):
                TypeAdapter(kind, config=_STRICT).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise ConfigError(f"trl.{key} = {brief(value)}: {why}.") from None
        is_word = key in _IN_SOURCE and isinstance(value, str)
        if is_word and f'"{value}"' not in inspect.getsource(grpo_trainer):
            raise ConfigError(f"trl.{key} = {brief(value)}: TRL's GRPOTrainer does not know it.")
        if key in _PACKAGES and value and find_spec(_PACKAGES[key][0]) is None:
            raise _missing(f"trl.{key} = {brief(value)}", *_PACKAGES[key])
    if fields.get("max_steps") == 0:
        raise ConfigError("trl.max_steps = 0 trains nothing. Use at least 1.")


def check_start(arguments: Any) -> None:
    """Check that reports, optimiser and learning rates of this GRPOConfig can start.

    Raises:
      ConfigError: if one of them cannot.
      RunError: with the pip line, where the package of a report is missing.
    """
    reports = [name for name in arguments.report_to if name != "none"]
    for name in reports:
        if name not in INTEGRATION_TO_CALLBACK:
            near = nearest(name, INTEGRATION_TO_CALLBACK)
            raise ConfigError(f"trl.report_to = {brief(name)} is unknown{near}.")
        if name not in get_available_reporting_integrations():
            raise _missing(f"trl.report_to = {name!r}", name, name.replace("_", "-"))
    if arguments.lr_scheduler_kwargs and arguments.lr_scheduler_type in _WITHOUT_OPTIONS:
        raise ConfigError(
            f"trl.lr_scheduler_kwargs = {brief(arguments.lr_scheduler_kwargs)}: "
            "a constant lr_scheduler_type has no options, and transformers would ignore them. "
            "Leave lr_scheduler_kwargs out, or choose another lr_scheduler_type."
        )
    steps = max(arguments.max_steps, 1)
    weights = torch.nn.Linear(1, 1)
    try:
        made, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        if not isinstance(made, type):  # it wants the whole model
            return
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer=made(weights.parameters(), **options),
            num_warmup_steps=arguments.get_warmup_steps(steps),
            num_training_steps=steps,
            scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
        )
    except Exception as error:
        if isinstance(error, ValueError) and "pass a" in str(error):  # the model, as GaLore does
            return
        raise ConfigError(
            f"trl: the optimiser or its learning rates cannot begin ({words(error)}). "
            "Change optim, optim_args, learning_rate, adam_*, lr_scheduler_type or "
            "lr_scheduler_kwargs, or install what is missing."
        ) from None


def _missing(option: str, module: str, package: str) -> RunError:
    return RunError(
        f"{option} needs {module!r}, which is not installed. Install it with:  "
        f'pip install "{package}"'
    )
