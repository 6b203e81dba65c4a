"""A start model that is right at times, and biased to simple answers.

A large base model knows the form of an answer, gives wrong ones too, and prefers few of the right
ones.  So does a small one after supervised training on answers that are drawn like that: one that
is made for it and trains anywhere, or a pretrained one that is too small to know the task.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ipsrl.errors import MissingExtra
from ipsrl.hypospace.datasets import ObservationSet, numbered_sets
from ipsrl.hypospace.task import AnyTask
from ipsrl.pretrained import load_tokenizer
from ipsrl.runs import progress
from ipsrl.user_cache import made_once, user_cache

try:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar as hide_bars_of_datasets
    from torch.utils.data import SequentialSampler
    from transformers import PrinterCallback, TrainerCallback
    from transformers.utils.logging import disable_progress_bar
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from ipsrl.llm import tiny
    from ipsrl.llm.prompts_once import prompts_once
    from ipsrl.llm.without_gpu import completions_only, without_gpu
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "trl") from None

HIDDEN, LAYERS = 160, 4  # 1.1M parameters
STEPS, BATCH, LEARNING_RATE = 400, 64, 2e-3
WARM_UP_BATCH, WARM_UP_RATE = 32, 2e-4  # of a pretrained model
TO_ONE_PROMPT = 8
"""Answers of a pretrained model's batch that share a prompt, which is most of its tokens."""
WRONG = 0.3
"""Share of answers that are right for some other observation set, chosen blindly."""
SKEW = 0.5
"""The second simplest right answer comes half as often as the simplest, and so on."""


def start_model(
    task: AnyTask,
    sets: Sequence[ObservationSet],
    *,
    base: str = "",
    seed: int = 0,
    steps: int = STEPS,
    bf16: bool = False,
    cache: Path | None = None,
) -> Path:
    """Folder of the start model of a data set; it is trained if it does not exist yet.

    It is taught on all observation sets of the domain but the test half.  On the train half alone
    it would learn these by heart, and hardly a right answer to any other (docs/log.md).

    Args:
      task: the domain.
      sets: the data set, whose test half it must not see.
      base: folder or hub name of a pretrained model that is taught; "" for a new one.
      seed: of the weights and the answers.
      steps: of supervised training, of 64 answers each; with a base 8 answers to each of 4 prompts.
      bf16: autocast, also without a GPU.
      cache: folder of such models; ~/.cache/ipsrl if not given.
    Returns:
      a folder with model and tokenizer.
    """
    if cache is None:
        cache = user_cache()
    test = [one.id for one in sets if one.split == "test"]
    recipe = [task.config.dump(), test, seed, steps, HIDDEN, LAYERS, BATCH, LEARNING_RATE]
    recipe += [WRONG, SKEW]
    if base:
        recipe += [base, WARM_UP_BATCH, TO_ONE_PROMPT, WARM_UP_RATE, bf16]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    return made_once(
        cache / f"hypospace-{task.name}-{digest}",
        lambda folder: _teach(task, set(test), folder, base, seed, steps, bf16),
    )


def _teach(
    task: AnyTask, test: set[str], folder: Path, base: str, seed: int, steps: int, bf16: bool
) -> None:
    known = [
        (task.prompt(lines), sorted(keys, key=lambda key: (len(key), key)))
        for id_, lines, keys in numbered_sets(task)
        if id_ not in test
    ]
    disable_progress_bar()
    hide_bars_of_datasets()
    rng = random.Random(seed)
    every = sorted({key for _, keys in known for key in keys})

    def answered(times: int) -> Iterator[dict[str, str]]:
        prompt, keys = known[rng.randrange(len(known))]
        for _ in range(times):
            skewed = rng.choices(keys, [SKEW**rank for rank in range(len(keys))])[0]
            key = rng.choice(every) if rng.random() < WRONG else skewed
            yield {"prompt": prompt, "completion": task.answer(key)}

    batch, rate, times = BATCH, LEARNING_RATE, 1
    if base:
        batch, rate, times = WARM_UP_BATCH, WARM_UP_RATE, TO_ONE_PROMPT
    rows = [row for _ in range(steps * batch // times) for row in answered(times)]
    if base:
        load_tokenizer(base).save_pretrained(folder)
    else:
        # A line of a prompt is one token, which makes prompts ten times shorter.
        lines = {line for prompt, _ in known for line in prompt.splitlines(keepends=True)}
        tiny.build(
            folder,
            (text for row in rows for text in row.values()),
            words=sorted(lines - {"\n"}),
            hidden=HIDDEN,
            layers=LAYERS,
            chat=False,
            seed=seed,
        )
    machine = without_gpu(SFTConfig)
    if bf16:
        machine["bf16"] = True
    if base:
        machine["warmup_steps"] = steps // 20  # 2e-4 at once undoes what the model has learned
    arguments = SFTConfig(
        output_dir=str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=rate,
        seed=seed,
        logging_steps=max(1, steps // 20),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        model_init_kwargs={"trust_remote_code": False, "use_safetensors": True},
        **machine,
    )
    kind = _InOrder if base else SFTTrainer
    trainer = kind(base or str(folder), args=arguments, train_dataset=Dataset.from_list(rows))
    trainer.remove_callback(PrinterCallback)
    with ExitStack() as stack:
        trainer.add_callback(_Progress(stack))
        stack.enter_context(completions_only())
        if base:
            stack.enter_context(prompts_once(trainer.model))
        trainer.train()
    trainer.save_model(str(folder))
    shutil.rmtree(folder / "trainer", ignore_errors=True)


class _InOrder(SFTTrainer):
    """Answers to one prompt stay in one batch."""

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        rows: Any = dataset or self.train_dataset
        return SequentialSampler(rows)


class _Progress(TrainerCallback):
    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.advance = self.stack.enter_context(progress("start model", state.max_steps))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            self.advance(state.global_step, f"loss {logs['loss']:.3f}")
