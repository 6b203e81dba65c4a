"""A task with which `ipsrl train llm` ends in seconds: its functions, prompts and configurations.

Most runs take six steps on the toy of llm_toy; three prompts, so two steps into an epoch of three
a checkpoint is written, and then after it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ipsrl.llm.config import Config

TASK = '''
"""Reward and outcome of a text or of messages; the reward can also end the process."""
import os
import signal

calls = 0
end_at = int(os.environ.get("TASK_ENDS_AT", "0"))


def text(completion):
    return completion if isinstance(completion, str) else completion[0]["content"]


def reward(completions, **columns):
    global calls
    calls += 1
    if calls == end_at:
        os.kill(os.getpid(), int(os.environ["TASK_ENDS_BY"]))
    return [1.0 - ord((text(c).strip() or "?")[-1]) % 64 / 64 for c in completions]


def outcome(completions, **columns):
    return [text(c).strip()[:2] or None for c in completions]


def interrupted(completions, **columns):
    global calls
    calls += 1
    if calls == 9:  # the fifth call: `reward` counts too
        raise KeyboardInterrupt
    return reward(completions, **columns)


def correct(completions, **columns):
    return [float(text(c).strip()[:1] == "a") for c in completions]


def alike(keys):
    return [[1.0 if a == b else 0.5 for b in keys] for a in keys]


def narrow(completions):
    return [1.0 for c in completions]


def wanted(completions, prompts, shift, **columns):
    assert shift == [len(prompt) for prompt in prompts]
    return [float(n) for n in shift]


number = 3
'''


PROMPTS = ["name one", "one more", "please name"]


TRL = {
    "num_generations": 8,
    "per_device_train_batch_size": 8,
    "max_completion_length": 1,
    "learning_rate": 1e-2,
    "max_steps": 6,
    "save_steps": 2,
    "save_total_limit": 9,
}


SHORT = {"max_steps": 1, "save_strategy": "no"}


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def task(home: Path, **options: Any) -> Config:
    """A configuration; `trl` adds to that of the others."""
    settings = {
        "model": str(home / "toy"),
        "dataset": str(home / "prompts.jsonl"),
        "reward": f"{home / 'task.py'}:reward",
        "outcome": f"{home / 'task.py'}:outcome",
    }
    return Config(**{**settings, **options, "trl": {**TRL, **options.get("trl", {})}})


def words(config: Config) -> list[str]:
    """The options of the command."""
    found = []
    for key, value in config.model_dump(exclude_defaults=True).items():
        found.append(f"--{key.replace('_', '-')}")
        if isinstance(value, dict):
            found += [f"{name}={json.dumps(part)}" for name, part in value.items()]
        elif isinstance(value, list):
            found += value
        else:
            found.append(str(value))
    return found


def results(directory: Path) -> dict[str, bytes]:
    """What must not depend on anything but configuration and seed."""
    kinds = ("metrics.jsonl", "result.json", "model/*.safetensors", "trainer/completions/*")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for kind in kinds
        for path in sorted(directory.glob(kind))
    }


def differences(directory: Path, reference: Path) -> list[str]:
    ours, theirs = results(directory), results(reference)
    return [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]


KINDS: dict[str, dict[str, Any]] = {
    "ips-grpo": {},
    "replay": {"estimator": "replay"},
    "grpo": {"method": "grpo"},
    "grpo-alone": {"method": "grpo", "outcome": ""},
    "flowrl-mlp": {"method": "flowrl"},
    "flowrl-table": {"method": "flowrl", "flowrl_log_z": "table", "flowrl_beta": 3.0},
    "flowrl-alone": {"method": "flowrl", "outcome": ""},
    "exemplars": {"method": "exemplar-replay"},
    "adapters": {"lora_rank": 4, "lora_dropout": 0.1},
    "nf4": {"lora_rank": 4, "load_in_4bit": True, "model": "tiny"},
    "tiny": {"model": "tiny", "trl": {"max_completion_length": 3}},
    "reused": {"trl": {"num_iterations": 2, "steps_per_generation": 2,
                       "gradient_accumulation_steps": 2}},
    "evaluated": {"trl": {"eval_strategy": "steps", "eval_steps": 3,
                          "per_device_eval_batch_size": 8}},
}  # fmt: skip


def config_of(home: Path, kind: str) -> Config:
    options = dict(KINDS[kind])
    if kind == "evaluated":
        options["eval_dataset"] = str(home / "prompts.jsonl")
    return task(home, **options)


def cut(finished: Path, out: Path, at: int) -> None:
    """What a run leaves that dies in the step after checkpoint `at` and two more logs."""
    shutil.copytree(finished, out)
    (out / "result.json").unlink()
    shutil.rmtree(out / "model")
    for checkpoint in (out / "trainer").glob("checkpoint-*"):
        if int(checkpoint.name.rpartition("-")[2]) > at:
            shutil.rmtree(checkpoint)
    lines = (out / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (out / "metrics.jsonl").write_bytes(b"".join(lines[: at + 2]) + lines[at][:20])
