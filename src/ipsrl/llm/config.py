"""Configuration of the post-training of a language model; separate, so that --help is instant."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, FailFast, Field, field_validator, model_validator
from tyro.constructors import PrimitiveConstructorSpec

from ipsrl.config import brief, check_has_effect, parse
from ipsrl.core.methods import GRPO, METHODS, ExemplarReplay
from ipsrl.errors import ConfigError
from ipsrl.paths import Function, HubDataset, HubModel, absolute
from ipsrl.pretrained import check_options
from ipsrl.shaping import shaped

_ONLY_WITH = {
    "negative_rewards": tuple(name for name, method in METHODS.items() if "p" in method.needs),
    "flowrl_beta": ("flowrl",),
    "flowrl_log_z": ("flowrl",),
}


def _parsed(pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE pairs, where VALUE is TOML, or else text."""
    fields: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"{brief(pair)} is not KEY=VALUE")
        if key in fields:
            raise ValueError(f"{brief(key)} has two values. Write it once")
        try:
            fields[key], *others = parse(f"value = {text}").values()
        except ConfigError:
            others = [text]
        if others:  # a text with a line break may begin like TOML
            fields[key] = text
    return fields


FIELDS = PrimitiveConstructorSpec(
    nargs="*",
    metavar="KEY=VALUE ...",
    instance_from_str=_parsed,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda fields: [f"{key}={value}" for key, value in fields.items()],
)


class PostTraining(
    shaped(
        losses={"flowrl": GRPO, "exemplar-replay": ExemplarReplay},
        knows=(
            "ids",
            "history_log_pf",
            "log_pf",
            "log_ref",
            "lengths",
            "visits",
            "similarity",
        ),
        without=("scale",),  # TRL's scale_rewards
        defaults={"replay_batches": 8},
    )
):
    """Settings of how a language model is trained, for any task."""

    heading: ClassVar[str] = "model and training"

    model: Annotated[HubModel, Field(min_length=1)] = "tiny"
    """Folder or hub name; tiny is a small model made for the data set; smollm2-135m and gemma3-270m
    are downloaded from the Python index."""
    similarity: Function = ""
    """Function of outcome keys that returns their similarities [n, n]; for the estimator kernel and
    the methods dra, setpo and dqo, which take equal outcomes for alike without it."""
    negative_rewards: Literal["refuse", "keep"] = "refuse"
    """A negative total in the first step is an error with refuse, and left unscaled with keep."""
    flowrl_beta: Annotated[float, Field(gt=0, le=1e6)] = 15.0
    """Inverse temperature."""
    flowrl_log_z: Literal["mlp", "table"] = "mlp"
    """log Z from the prompt's hidden state, or a value per prompt."""
    lora_rank: Annotated[int, Field(ge=0, le=4096)] = 0
    """Rank of LoRA adapters; 0 trains all weights."""
    lora_alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    """Scale of LoRA."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Dropout of LoRA."""
    lora_targets: Annotated[list[str], FailFast()] = ["q_proj", "k_proj", "v_proj", "o_proj"]  # noqa: RUF012 (frozen)
    """Modules that get adapters; all-linear for every linear layer."""
    load_in_4bit: bool = False
    """NF4 weights with bf16 compute (QLoRA); needs lora_rank."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of sampling, order and adapters."""
    trl: Annotated[dict[str, Any], FIELDS] = {}  # noqa: RUF012 (frozen)
    """Any field of TRL's GRPOConfig, such as learning_rate, num_generations, use_vllm."""

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The value of trl.model_init_kwargs, which TRL takes as a table or as JSON."""
        given = self.trl.get("model_init_kwargs", {})
        try:
            given = json.loads(given) if isinstance(given, str) else given
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise ValueError(
                f"trl.model_init_kwargs = {self.trl['model_init_kwargs']!r} is not a table. "
                'Write one, such as {dtype = "bfloat16"}'
            )
        return given

    @property
    def evaluates(self) -> bool:
        """True if there is a data set for TRL's evaluation."""
        return False

    @field_validator("trl")
    @classmethod
    def _count_paths(cls, trl: dict[str, Any]) -> dict[str, Any]:
        files = {key: trl[key] for key in ("deepspeed", "fsdp_config") if key in trl}
        return trl | {key: absolute(f) for key, f in files.items() if isinstance(f, str)}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_has_effect(self, _ONLY_WITH)
        wanted = self.estimator == "kernel" or "similarity" in self.shaping().needs
        if wanted > bool(self.similarity) or (
            self.similarity and not (wanted or self.looks_at("similarity"))
        ):
            raise ValueError(
                "estimator kernel and similarity go together. Name a function of outcome keys "
                'with similarity = "file.py:function", or leave both out (dra, setpo and dqo can '
                "do with it and without)"
            )
        for key in ("lora_alpha", "lora_dropout", "lora_targets"):
            default = type(self).model_fields[key].default
            if not self.lora_rank and getattr(self, key) != default:
                raise ValueError(f"{key} has no effect without lora_rank. Set it, such as to 16")
        if self.load_in_4bit and not self.lora_rank:
            raise ValueError("load_in_4bit freezes the weights, so set lora_rank too, such as 16")
        for key in ("output_dir", "seed", "data_seed", "resume_from_checkpoint"):
            if key in self.trl:
                raise ValueError(
                    f"trl.{key} is set by ipsrl itself. Use --out and seed, or --resume"
                )
        for key, value in self.trl.items():
            if not key.isidentifier():
                raise ValueError(f"trl has no key {brief(key)}: TRL's fields are words with _")
            _check_value(f"trl.{key}", value)
        check_options(self.trl, "trl")
        check_options(self.init_kwargs, "trl.model_init_kwargs")
        if self.trl.get("save_only_model"):
            raise ValueError("trl.save_only_model = true leaves nothing to --resume. Leave it out")
        if self.trl.get("shuffle_dataset"):
            raise ValueError(
                "trl.shuffle_dataset = true draws an order for each epoch, which TRL does not "
                "restore, so a resumed run would not be the same. Leave it out: the data set is "
                "shuffled once"
            )
        if self.method == "flowrl" and "beta" in self.trl:
            raise ValueError(
                "trl.beta weighs a KL term, which FlowRL's loss does not have. Leave it out, and "
                "set flowrl_beta"
            )
        return self


_Named = Annotated[Function, Field(min_length=1)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Config(PostTraining):
    """Post-training of a language model on a task of your own; section 5.2 of the paper."""

    heading: ClassVar[str] = "task"

    dataset: Annotated[HubDataset, Field(min_length=1)]
    """JSONL or Parquet file, or hub name, with a column prompt (text or messages)."""
    split: Annotated[str, Field(min_length=1)] = "train"
    """Split of a hub data set."""
    eval_dataset: HubDataset = ""
    """Data set for evaluation, which is never scaled; TRL's eval_strategy says when."""
    eval_split: Annotated[str, Field(min_length=1)] = "train"
    """Split of a hub data set for evaluation."""
    reward: Annotated[list[_Named], BeforeValidator(_as_list), Field(min_length=1)]
    """Reward functions, module:function or file.py:function, as TRL calls them; >= 0."""
    success: Annotated[list[str], FailFast()] = []  # noqa: RUF012 (frozen)
    """Names of reward functions that are positive for right answers, which alone are scaled."""
    outcome: Function = ""
    """math, number, choice, json, set, python, smiles or text; or a function, called as the reward
    is: one key per completion, None for none."""
    stop_below: Annotated[float, Field(ge=0)] = 0.0
    """Stop when the effective outcomes per group stay below this; 0 for never."""

    @property
    def evaluates(self) -> bool:
        return bool(self.eval_dataset)

    @model_validator(mode="after")
    def _counts_outcomes(self) -> Self:
        needed = self.looks_at("ids")
        if not self.outcome and (needed or self.stop_below):
            raise ValueError(
                f"{f'method {self.method}' if needed else 'stop_below'} needs to know "
                'what a completion means. Name it, such as with outcome = "math", or a function '
                'with outcome = "file.py:function"'
            )
        judges = self.looks_at("success")
        if self.success and (self.success_above is not None or not judges):
            raise ValueError(
                "success has no effect with success_above. Say in one of the two what is right"
                if judges
                else f"success has no effect with method {self.method}. Leave it out"
            )
        if 0 < self.stop_below <= 1:
            raise ValueError(
                f"stop_below = {self.stop_below} would never stop: a group has at least 1 "
                "effective outcome. Use more, such as 1.5"
            )
        if self.eval_split != "train" and not self.eval_dataset:
            raise ValueError("eval_split has no effect without eval_dataset. Leave it out")
        return self


def _check_value(name: str, value: Any) -> None:
    """Refuse a value that TOML cannot hold, or for which comparisons do not work."""
    if value is None:
        raise ValueError(f"{name} is without a value. Leave the key out")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} = {value} is not finite")
    if isinstance(value, dict):
        for key, part in value.items():
            _check_value(f"{name}.{key}", part)
    if isinstance(value, list):
        for part in value:
            _check_value(name, part)
