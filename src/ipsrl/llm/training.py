"""Post-train a language model on any task: a data set, a reward and what a completion means."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl.core.estimators import Estimator, Replay
from ipsrl.core.methods import GRPO
from ipsrl.errors import ConfigError, IpsrlError, MissingExtra
from ipsrl.functions import check_takes, load_function
from ipsrl.llm.config import Config, PostTraining
from ipsrl.pretrained import check_template, load_config, load_tokenizer, not_loaded
from ipsrl.runs import Run, progress

try:
    import torch
    from accelerate import PartialState
    from accelerate.utils import set_seed
    from datasets import Dataset, load_dataset
    from peft import LoraConfig
    from safetensors import SafetensorError
    from transformers import BitsAndBytesConfig, PrinterCallback, TrainerCallback
    from transformers.utils.logging import disable_progress_bar
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    from ipsrl.llm import tiny
    from ipsrl.llm.checkpoints import Checkpoints, Ended, disk_explained, newest_checkpoint
    from ipsrl.llm.flowrl import FlowRLTrainer
    from ipsrl.llm.monitor import CollapseMonitor
    from ipsrl.llm.options import check_fields, check_start
    from ipsrl.llm.replay import PromptHistory
    from ipsrl.llm.rewards import checked
    from ipsrl.llm.trl import IPSGRPOTrainer, IPSMixin, check_config
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "trl") from None

_SAVE_STEPS = 50  # at least
_LAST = 10  # logged steps that the result is a mean of


@dataclass(frozen=True)
class Result:
    """How a run ended; means over its last 10 logged steps.

    Attributes:
      steps: optimiser steps.
      reward: mean reward before scaling.
      distinct: different outcomes per group; None where no outcome function was given.
      effective: effective outcomes per group, exp of the entropy; None likewise.
    """

    steps: int
    reward: float
    distinct: float | None
    effective: float | None


class _IPSFlowRLTrainer(IPSMixin, FlowRLTrainer):
    """FlowRL whose outcomes are counted; under GRPO its rewards are as they were."""


def train(config: Config, out: Path, *, resume: bool = False) -> Result:
    """Train as configured, on one process or on all that a launcher started.

    Writes the run directory of `ipsrl.runs`; beside it `trainer/` (the trainer's checkpoints and
    completions), and at the end the model in `model/`.

    Args:
      config: what to train on what.
      out: run directory to write.
      resume: continue the run in `out` from its newest complete checkpoint.
    Returns:
      the result, also written to `out`/result.json.
    Raises:
      ConfigError: for settings that cannot work, before the model is loaded.
      InvalidInput: for functions that cannot be found.
      RunError: if `out` holds a run and `resume` is False, or the other way round.
    """
    reward = load_function(config.reward)
    outcome = load_function(config.outcome) if config.outcome else None
    arguments = arguments_of(config, out)
    dataset = _dataset(config.dataset, config.split).shuffle(seed=config.seed)
    eval_dataset = _dataset(config.eval_dataset, config.split) if config.eval_dataset else None
    _check(config, arguments, dataset)
    columns = {"prompts", "completions", "completion_ids", *dataset.column_names}
    columns -= {"prompt", "completion"}
    check_takes(reward, [*sorted(columns), *_TO_REWARDS])
    if outcome is not None:
        check_takes(outcome, sorted(columns))

    disable_progress_bar()  # of loading and saving; training has its own
    process = PartialState()
    main = process.is_main_process
    # One process writes, and the others read.
    own = (Run.resume if resume else Run.create)(out, config) if main else None
    process.wait_for_everyone()
    with own or Run.open(out) as run:
        if run.finished:
            return Result(**run.result())
        if config.model == "tiny" and main and "tiny/tokenizer.json" not in run.files:
            texts = (json.dumps(prompt, ensure_ascii=False) for prompt in dataset["prompt"])
            tiny.build(run.own_folder("tiny"), texts, seed=config.seed)
            run.files.claim_contents("tiny/")
        process.wait_for_everyone()
        return _train(config, run, arguments, dataset, eval_dataset, reward, outcome, resume)


def _train(
    config: Config,
    run: Run,
    arguments: Any,
    dataset: Dataset,
    eval_dataset: Dataset | None,
    reward: Callable[..., Any],
    outcome: Callable[..., Any] | None,
    resume: bool,
) -> Result:
    out, main = run.directory, PartialState().is_main_process
    checkpoint = newest_checkpoint(run) if resume else None
    set_seed(config.seed)  # adapters are drawn before TRL's older versions do this
    with ExitStack() as stack:
        stack.enter_context(disk_explained(run))
        stack.enter_context(warnings.catch_warnings())
        # TRL asks transformers for what it has renamed, once per step.
        warnings.filterwarnings("ignore", ".*gradient_checkpointing` is deprecated", FutureWarning)
        if main:
            run.own_folder("trainer")
        try:
            trainer = _trainer(config, out, arguments, dataset, eval_dataset, reward, outcome)
        except IpsrlError:
            raise
        except (OSError, SafetensorError) as error:
            raise not_loaded(config.model, error) from error
        except Exception as error:
            # Such as PEFT's, for lora_targets that the model has not, or TRL's without vLLM.
            raise ConfigError(
                f"the trainer cannot start ({type(error).__name__}: {error}). Change what it names."
            ) from error
        trainer.add_callback(Checkpoints(run, arguments))
        if main:
            trainer.add_callback(_Recorder(run, stack))
        with suppress(Ended):
            trainer.train(resume_from_checkpoint=checkpoint)
        if main:
            run.own_folder("model")
        trainer.save_model(str(out / "model"))
    result = _result(trainer.state)
    if main:
        run.finish(asdict(result))
    return result


def arguments_of(config: PostTraining, out: Path) -> Any:
    """GRPOConfig: the user's fields over our defaults.

    Raises:
      ConfigError: for fields that it has not or that cannot be, or a package that is missing.
    """
    check_fields(config.trl)
    if config.trl.get("eval_strategy") in ("steps", "epoch") and not config.evaluates:
        raise ConfigError(
            "trl.eval_strategy wants to evaluate, and there is no eval_dataset. Name one (of "
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
    except Exception as error:  # of whatever library the options are for
        raise ConfigError(f"trl: {error}") from None
    check_start(arguments)
    # Completions are kept for several updates, but not in a checkpoint.
    updates = arguments.steps_per_generation * arguments.num_iterations
    updates //= math.gcd(updates, arguments.gradient_accumulation_steps)
    by_steps = arguments.save_strategy == "steps" and arguments.save_steps >= 1  # else a share
    if "save_steps" not in config.trl:
        arguments.save_steps = math.ceil(_SAVE_STEPS / updates) * updates
    elif by_steps and arguments.save_steps % updates:
        raise ConfigError(
            f"trl.save_steps = {arguments.save_steps} is not a multiple of {updates}, the steps "
            "that share one generation, so a resumed run would not be the same. Choose a multiple."
        )
    return arguments


def without_gpu(arguments: Any) -> dict[str, Any]:
    """Fields of a class of training arguments, whose defaults are meant for a GPU, without one."""
    if torch.cuda.is_available():
        return {}
    off = ("bf16", "dataloader_pin_memory", "gradient_checkpointing", "activation_checkpointing")
    known = {field.name for field in dataclasses.fields(arguments)}
    return {"use_cpu": True, **{name: False for name in off if name in known}}


def quantization() -> BitsAndBytesConfig:
    """NF4 weights with bf16 compute."""
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def check_options(config: PostTraining, arguments: Any, prompts: int, dataset: str) -> None:
    """What fits together, before anything is written.

    Args:
      config: of the run.
      arguments: of `arguments_of`.
      prompts: of the data set.
      dataset: its name.
    Raises:
      ConfigError: for what does not.
    """
    if not isinstance(method := config.shaping(), GRPO):
        check_config(arguments, method)
    needed = arguments.generation_batch_size // arguments.num_generations
    if prompts < needed:
        raise ConfigError(
            f"dataset {dataset!r} has {prompts} prompts, but one generation takes {needed}, so "
            "nothing would be trained. Lower trl.per_device_train_batch_size or "
            "trl.steps_per_generation, raise trl.num_generations, or repeat the prompts."
        )


def _check(config: Config, arguments: Any, dataset: Dataset) -> None:
    if config.eval_dataset and arguments.eval_strategy == "no":
        raise ConfigError("eval_dataset is never used. Set trl.eval_strategy, such as to 'steps'.")
    check_options(config, arguments, len(dataset), config.dataset)
    if config.model != "tiny":
        revision = {key: value for key, value in config.init_kwargs.items() if key == "revision"}
        load_config(config.model, **revision)
        tokenizer = load_tokenizer(config.model, **revision)
        if isinstance(prompt := dataset[0]["prompt"], list):
            check_template(tokenizer, config.model, prompt)


_TO_REWARDS = ("trainer_state", "log_extra", "log_metric")  # what TRL adds to the columns


def _dataset(name: str, split: str) -> Any:
    path = Path(name)
    of_file = path.suffix in (".jsonl", ".json", ".parquet")
    if of_file and split != "train":
        raise ConfigError(f"split = {split!r} is of a hub data set; {name!r} is read as a whole.")
    if not of_file and (path.is_file() or path.suffix in _UNREAD or name[0] in "./~"):
        raise ConfigError(
            f"dataset {name!r} is no JSONL or Parquet file (.jsonl, .json, .parquet), and no name "
            "of a hub data set. Convert it."
        )
    try:
        if path.suffix == ".parquet":
            dataset: Any = Dataset(pq.read_table(path))
        elif of_file:
            dataset = Dataset.from_list(_json_lines(path))
        else:
            dataset = load_dataset(name, split=split, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise ConfigError(
            f"dataset {name!r} cannot be read ({error}). Pass a JSONL or Parquet file, "
            "or the name of a hub data set."
        ) from None
    if "prompt" not in dataset.column_names or len(dataset) == 0:
        raise ConfigError(
            f"dataset {name!r} has {len(dataset)} rows with the columns {dataset.column_names}, "
            "but each row needs a 'prompt': a text, or a list of messages."
        )
    kind = type(dataset[0]["prompt"])
    for row, prompt in enumerate(dataset["prompt"]):
        if not (isinstance(prompt, str | list) and prompt):
            problem = "each row needs a text, or a list of messages"
        elif type(prompt) is not kind:
            problem = "row 0 has another kind; use texts everywhere, or messages everywhere"
        elif kind is list and not all(map(_is_message, prompt)):
            problem = 'a message is {"role": "user", "content": ...}'
        else:
            continue
        raise ConfigError(
            f"dataset {name!r} has the prompt {prompt!r} in row {row}, but {problem}."
        )
    return dataset


_UNREAD = (".csv", ".tsv", ".txt", ".arrow", ".gz", ".zip", ".zst")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        rows.append(row)
    return rows


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and bool(message.get("role")) and "content" in message


def _trainer(
    config: Config,
    out: Path,
    arguments: GRPOConfig,
    dataset: Dataset,
    eval_dataset: Dataset | None,
    reward: Callable[..., Any],
    outcome: Callable[..., Any] | None,
) -> Any:
    options: dict[str, Any] = {
        "model": str(out / "tiny") if config.model == "tiny" else config.model,
        "reward_funcs": checked(reward),
        "args": arguments,
        "train_dataset": dataset,
        "eval_dataset": eval_dataset,
    }
    if config.lora_rank:
        targets = list(config.lora_targets)
        options["peft_config"] = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules="all-linear" if config.lora_targets == ["all-linear"] else targets,
            task_type="CAUSAL_LM",
        )
    if config.method == "flowrl":
        options |= {"beta": config.flowrl_beta, "log_z": config.flowrl_log_z}
    plain, counting = (
        (FlowRLTrainer, _IPSFlowRLTrainer)
        if config.method == "flowrl"
        else (GRPOTrainer, IPSGRPOTrainer)
    )
    if outcome is None and isinstance(config.shaping(), GRPO):
        trainer = plain(**options)
    else:
        trainer = counting(
            **options,
            outcome_fn=outcome,
            method=config.shaping(),
            estimator=_estimator(config),
            success=config.success_above,
            negative_rewards=config.negative_rewards,
        )
    if config.stop_below:
        trainer.add_callback(CollapseMonitor(stop_below=config.stop_below))
    trainer.remove_callback(PrinterCallback)
    if config.load_in_4bit:
        model: Any = trainer.model
        for module in model.modules():
            # On a CPU with AVX512-BF16, an evaluation repacks the weights, and loses gradients.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        for weight in model.parameters():
            if weight.requires_grad:  # TRL makes adapters bfloat16, but resumes in float32
                weight.data = weight.data.float()
    return trainer


def _estimator(config: PostTraining) -> Estimator | PromptHistory:
    """Core's, but for replay, whose texts have lengths of their own."""
    estimator = config.estimates()
    return PromptHistory(estimator.batches) if isinstance(estimator, Replay) else estimator


class _Recorder(TrainerCallback):
    """Writes what the trainer logs to the run directory, and shows progress."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        self.run, self.stack = run, stack

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.run.metrics_path.write_bytes(b"")  # lines after the checkpoint, which come again
        self.run.log(_row(row) for row in state.log_history if _SUMMARY not in row)
        self.advance = self.stack.enter_context(progress("training", state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if _SUMMARY not in logs:  # whose mean loss is of what was trained since the last resume
            self.run.log([_row({**logs, "step": state.global_step})])
        if "reward" in logs:
            note = f"reward {logs.get('raw_reward', logs['reward']):.3f}"
            if "outcomes/effective" in logs:
                note += f", effective outcomes {logs['outcomes/effective']:.2f}"
            self.advance(state.global_step, note)


_SUMMARY = "train_runtime"  # the trainer's last log
_OF_TIME = ("step_time", "runtime", "per_second", "total_flos")


def _row(logs: dict[str, Any]) -> dict[str, Any]:
    """Without times, so that the same run writes the same bytes; JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in sorted(logs.items())  # as in a checkpoint
        if not key.endswith(_OF_TIME)
    }


def _result(state: Any) -> Result:
    rows = [row for row in state.log_history if "reward" in row][-_LAST:]

    def mean(*keys: str) -> float | None:
        values = [row[key] for key in keys for row in rows if row.get(key) is not None]
        return sum(values) / len(values) if values else None

    return Result(
        steps=state.global_step,
        reward=(mean("raw_reward") if rows and "raw_reward" in rows[-1] else mean("reward")) or 0.0,
        distinct=mean("outcomes/distinct"),
        effective=mean("outcomes/effective"),
    )
