"""Post-training of a model on HypoSpace, and its recovery (paper, sections 5.2 and 5.4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ipsrl.hypospace.config import Config
from ipsrl.hypospace.datasets import ObservationSet, dataset
from ipsrl.hypospace.domains import make_task
from ipsrl.hypospace.lines import read_lines, write_dataset
from ipsrl.hypospace.recovery import Evaluation, Response, chosen, evaluate
from ipsrl.hypospace.responses import Sampling, collect, collected, local_model, respond
from ipsrl.hypospace.task import AnyTask, Judgement, judge
from ipsrl.llm import config as llm
from ipsrl.pretrained import load_tokenizer
from ipsrl.runs import Run


@dataclass(frozen=True)
class Result:
    """Recovery on both halves of the data set, after training."""

    train: Evaluation
    test: Evaluation


def train(config: Config, out: Path, *, resume: bool = False) -> Result:
    """Train and evaluate as configured.

    Writes the run directory of `ipsrl.runs`; beside it the data set, data.jsonl; the run of
    `ipsrl.llm.training` in `rl/`; the model's responses, responses.jsonl.

    Args:
      config: what to train, and on what.
      out: run directory to write.
      resume: continue the run in `out`.
    Returns:
      the result, also written to `out`/result.json.
    Raises:
      ConfigError: for settings that cannot work.
      RunError: if `out` holds a run and `resume` is False, or the other way round.
    """
    from ipsrl.llm.arguments import arguments_of, check_arguments
    from ipsrl.llm.packaged import folder_of

    arguments = arguments_of(config, out / "rl")
    task = make_task(config.domain, config.size)
    sets = dataset(
        task, count=config.sets, seed=config.data_seed, draw=config.draw, apart=config.apart
    )
    asked = len(chosen(sets, "train"))
    check_arguments(config, arguments, asked, "the train half of --sets")
    if config.model != "tiny":
        load_tokenizer(folder_of(config.model))
    with Run.resume(out, config) if resume else Run.create(out, config) as run:
        return read_result(run) if run.finished else _train(config, run, task, sets)


def _train(config: Config, run: Run, task: AnyTask, sets: Sequence[ObservationSet]) -> Result:
    from ipsrl.llm.training import train as train_llm

    out = run.directory
    run.files.claim("data.jsonl", "prompts.jsonl", "responses.jsonl", "rl/")
    write_dataset(sets, out / "data.jsonl")
    from ipsrl.llm.packaged import folder_of

    model = folder_of(config.model)
    if model == "tiny" or config.warm_up:
        from ipsrl.hypospace.tiny import start_model

        taught: dict[str, Any] = {"seed": config.data_seed}
        if model != "tiny":
            taught |= {"base": model, "steps": config.warm_up, "bf16": bool(config.trl.get("bf16"))}
        model = str(start_model(task, sets, **taught))
    _write_prompts(config, model, sets, out / "prompts.jsonl")
    settings = {key: getattr(config, key) for key in llm.PostTraining.model_fields}
    settings |= {
        "model": model,
        "dataset": str((out / "prompts.jsonl").resolve()),
        "reward": f"{__name__}:reward",
        "outcome": f"{__name__}:outcome",
    }
    rl = out / "rl"
    train_llm(llm.Config(**settings), rl, resume=(rl / "config.toml").exists())

    responses = out / "responses.jsonl"
    _ask(task, config, rl / "model", sets, responses)
    drawn = read_lines(responses, Response)
    result = Result(
        train=evaluate(task, sets, drawn, split="train"),
        test=evaluate(task, sets, drawn, split="test"),
    )
    run.finish(asdict(result))
    return result


def read_result(run: Run) -> Result:
    """Read the result that `train` has written."""
    return Result(**{half: Evaluation(**found) for half, found in run.result().items()})


def reward(completions: list[Any], task: list[str], observations: Any, **_: Any) -> list[float]:
    """1 iff the key of the answer is in H_O, else 0 (paper, section 5.2)."""
    return [float(one.valid) for one in _judgements(completions, task, observations)]


def outcome(completions: list[Any], task: list[str], observations: Any, **_: Any) -> list[Any]:
    """The key of the answer; None if nothing could be read."""
    return [one.key for one in _judgements(completions, task, observations)]


def _judgements(completions: list[Any], task: list[str], observations: Any) -> list[Judgement]:
    texts = (c if isinstance(c, str) else c[-1]["content"] for c in completions)
    return [
        _judged(name, tuple(lines), text)
        for name, lines, text in zip(task, observations, texts, strict=True)
    ]


@lru_cache(maxsize=4096)  # the outcome function asks again what the reward function asked
def _judged(name: str, observations: tuple[str, ...], text: str) -> Judgement:
    return judge(_task(name), observations, text)


@lru_cache
def _task(name: str) -> AnyTask:
    return make_task(**json.loads(name))


def _write_prompts(config: Config, model: str, sets: Sequence[ObservationSet], path: Path) -> None:
    """Write the trainer's input: the prompts of the train half, with the data for judging."""
    chat = load_tokenizer(model).chat_template is not None
    name = json.dumps({"domain": config.domain, "options": config.size})
    with path.open("w") as file:
        for one in chosen(sets, "train").values():
            prompt = [{"role": "user", "content": one.prompt}] if chat else one.prompt
            row = {"prompt": prompt, "task": name, "observations": one.observations}
            file.write(json.dumps(row) + "\n")


def _ask(
    task: AnyTask, config: Config, model: Path, sets: Sequence[ObservationSet], path: Path
) -> None:
    sampling = Sampling(
        temperature=config.trl.get("temperature", 1.0),
        max_tokens=config.trl["max_completion_length"],
        seed=config.seed,
    )
    options = {}
    if config.load_in_4bit:
        from ipsrl.llm.arguments import quantization

        options["quantization_config"] = quantization()
    earlier = collected(path)
    if len(earlier) == config.samples * len(sets):
        return
    complete = local_model(str(model), sampling, **options)
    drawn = respond(task, complete, sets, config.samples, seed=config.seed, earlier=earlier)
    collect(path, drawn)
