"""Post-training of a language model on any task: a data set, a reward and an outcome."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ipsrl.errors import ConfigError, InvalidInput, IpsrlError, MissingExtra
from ipsrl.functions import check_takes, load_function, name_of, source_file
from ipsrl.llm.config import Config
from ipsrl.llm.result import Result
from ipsrl.pretrained import check_template, load_config, load_tokenizer, not_loaded
from ipsrl.runs import Run, digests, progress

try:
    from accelerate import PartialState
    from accelerate.utils import set_seed
    from datasets import Dataset
    from peft import LoraConfig
    from safetensors import SafetensorError
    from transformers import PrinterCallback, TrainerCallback
    from transformers.utils.logging import disable_progress_bar
    from trl.trainer.grpo_config import GRPOConfig

    from ipsrl.llm import tiny
    from ipsrl.llm.arguments import arguments_of, check_arguments
    from ipsrl.llm.checkpoints import Checkpoints, Ended, disk_explained, newest_checkpoint
    from ipsrl.llm.datasets import read_dataset
    from ipsrl.llm.exemplars import ExemplarReplayTrainer
    from ipsrl.llm.flowrl import FlowRLTrainer
    from ipsrl.llm.given import as_success
    from ipsrl.llm.monitor import CollapseMonitor
    from ipsrl.llm.outcomes import load_outcome
    from ipsrl.llm.packaged import folder_of
    from ipsrl.llm.prompts_once import prompts_once
    from ipsrl.llm.trl import IPSGRPOTrainer, IPSMixin
    from ipsrl.llm.without_gpu import completions_only
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "trl") from None

_LAST = 10  # logged steps that the result is a mean of


class _IPSFlowRLTrainer(IPSMixin, FlowRLTrainer):
    """FlowRL whose outcomes are counted; its rewards stay as they are under GRPO."""


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
      RunError: if `out` holds a run and `resume` is False, or the other way round; if a file of a
        function or of the data has changed since that run began.
    """
    with _naming("reward"):
        rewards = [load_function(reward) for reward in config.reward]
    with _naming("outcome"):
        outcome = load_outcome(config.outcome) if config.outcome else None
    with _naming("similarity"):
        similarity = load_function(config.similarity) if config.similarity else None
    arguments = arguments_of(config, out)
    dataset = read_dataset(config.dataset, config.split).shuffle(seed=config.seed)
    eval_dataset = None
    if config.eval_dataset:
        eval_dataset = read_dataset(config.eval_dataset, config.eval_split)
    process = PartialState()
    with process.main_process_first():
        placed = config.model_copy(update={"model": folder_of(config.model)})
    _check(placed, arguments, dataset)
    columns = {"prompts", "completions", "completion_ids", *dataset.column_names}
    columns -= {"prompt", "completion"}
    for function in (*rewards, *([outcome] if outcome else [])):
        check_takes(function, [*sorted(columns), *_TO_REWARDS])
    _check_names(rewards, config.success)

    disable_progress_bar()  # of loading and saving; training has its own
    main = process.is_main_process
    # One process writes, and the others read.
    own = (Run.resume if resume else Run.create)(out, config, _inputs(config)) if main else None
    process.wait_for_everyone()
    with own or Run.open(out) as run:
        if run.finished:
            return Result(**run.result())
        if config.model == "tiny" and main and "tiny/tokenizer.json" not in run.files:
            texts = (json.dumps(prompt, ensure_ascii=False) for prompt in dataset["prompt"])
            tiny.build(run.own_folder("tiny"), texts, seed=config.seed)
            run.files.claim_contents("tiny/")
        process.wait_for_everyone()
        functions = {"reward_funcs": rewards, "outcome_fn": outcome, "similarity_fn": similarity}
        return _train(placed, run, arguments, dataset, eval_dataset, functions, resume)


def _train(
    config: Config,
    run: Run,
    arguments: Any,
    dataset: Dataset,
    eval_dataset: Dataset | None,
    functions: dict[str, Any],
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
            trainer = _trainer(config, out, arguments, dataset, eval_dataset, functions)
        except IpsrlError:
            raise
        except (OSError, SafetensorError) as error:
            raise not_loaded(config.model, error) from error
        except Exception as error:
            # Such as PEFT's, for lora_targets that the model lacks, or TRL's without vLLM.
            raise ConfigError(
                f"the trainer cannot start ({type(error).__name__}: {error}). Change what it names."
            ) from error
        trainer.add_callback(Checkpoints(run, arguments))
        if main:
            trainer.add_callback(_Recorder(run, stack))
        with suppress(Ended), completions_only(), prompts_once(trainer.model):
            trainer.train(resume_from_checkpoint=checkpoint)
        if main:
            run.own_folder("model")
        trainer.save_model(str(out / "model"))
    result = _result(trainer.state)
    if main:
        run.finish(asdict(result))
    return result


def _inputs(config: Config) -> dict[str, str]:
    """Digests of the files of functions and of data sets, by their names in the configuration."""
    functions = (*config.reward, config.outcome, config.similarity)
    named = {name: Path(source_file(name)) for name in functions if ":" in name}
    named |= {name: Path(name) for name in (config.dataset, config.eval_dataset)}
    return digests({name: [path] for name, path in named.items() if path.is_file()})


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """What is wrong with a function names the key that asked for it."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error}") from None


def _check(config: Config, arguments: Any, dataset: Dataset) -> None:
    if config.eval_dataset and arguments.eval_strategy == "no":
        raise ConfigError("eval_dataset is never used. Set trl.eval_strategy, such as to 'steps'.")
    check_arguments(config, arguments, len(dataset), f"dataset {config.dataset!r}")
    if config.model != "tiny":
        revision = {key: value for key, value in config.init_kwargs.items() if key == "revision"}
        load_config(config.model, **revision)
        tokenizer = load_tokenizer(config.model, **revision)
        if isinstance(prompt := dataset[0]["prompt"], list):
            check_template(tokenizer, config.model, prompt)


def _check_names(rewards: list[Callable[..., Any]], success: list[str]) -> None:
    names = [name_of(reward) for reward in rewards]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two reward functions have one name ({', '.join(names)}), which TRL logs them by. "
            "Rename one."
        )
    as_success(success or None, names)


_TO_REWARDS = ("trainer_state", "log_extra", "log_metric")  # what TRL adds to the columns


def _trainer(
    config: Config,
    out: Path,
    arguments: GRPOConfig,
    dataset: Dataset,
    eval_dataset: Dataset | None,
    functions: dict[str, Any],
) -> Any:
    options: dict[str, Any] = {
        **functions,
        "model": str(out / "tiny") if config.model == "tiny" else config.model,
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
    kind: Any = IPSGRPOTrainer
    if config.method == "exemplar-replay":
        kind = ExemplarReplayTrainer
    if config.method == "flowrl":
        kind = _IPSFlowRLTrainer
        options |= {"beta": config.flowrl_beta, "log_z": config.flowrl_log_z}
    trainer = kind(
        **options,
        method=config.shaping(),
        estimator=config.estimates() if config.estimator else "group",
        success=config.success or config.success_above,
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


class _Recorder(TrainerCallback):
    """Writes what the trainer logs to the run directory, and shows progress."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        self.run, self.stack = run, stack

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.run.metrics_path.write_bytes(b"")  # lines after the checkpoint, which come again
        self.run.log(_row(row) for row in state.log_history if _SUMMARY not in row)
        self.advance = self.stack.enter_context(progress("training", state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        row = _row({**logs, "step": state.global_step})
        if _SUMMARY not in logs:  # whose mean loss is of what was trained since the last resume
            self.run.log([row])
        if "reward" in row:
            reward = row["reward"]  # None where no function gave one
            note = "no reward" if reward is None else f"reward {reward:.3f}"
            if "outcomes/effective" in row:
                note += f", effective outcomes {row['outcomes/effective']:.2f}"
            self.advance(state.global_step, note)
            if self.run.is_watched:
                self._show_outcomes()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.run.is_watched:
            self._show_outcomes()

    def _show_outcomes(self) -> None:
        """Show the answers of the last step in TRL's table of completions, with their counts.

        TRL writes those of a step after it has logged it.
        """
        if not (logged := sorted((self.run.directory / "trainer").glob("completions/*.parquet"))):
            return
        table = pq.read_table(logged[-1])
        if {"step", "outcome", "raw_reward"} <= {*table.column_names}:
            counted = table.group_by(["step", "outcome"]).aggregate(
                [([], "count_all"), ("raw_reward", "mean")]
            )
            names = ["step", "outcome", "count", "mean_reward"]
            self.run.show("outcomes", counted.rename_columns(names))


_SUMMARY = "train_runtime"  # the trainer's last log
_OF_TIME = ("step_time", "runtime", "per_second", "total_flos")


def _row(logs: dict[str, Any]) -> dict[str, Any]:
    """A row without times, so that the same run writes the same bytes; JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in sorted(logs.items())  # as in a checkpoint
        if not key.endswith(_OF_TIME)
    }


def _result(state: Any) -> Result:
    rows = [_row(row) for row in state.log_history if "reward" in row][-_LAST:]

    def mean(key: str) -> float | None:
        values = [row[key] for row in rows if row.get(key) is not None]
        return sum(values) / len(values) if values else None

    return Result(
        steps=state.global_step,
        reward=mean("reward"),
        distinct=mean("outcomes/distinct"),
        effective=mean("outcomes/effective"),
    )
