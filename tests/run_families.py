"""A small run of each family, which is started by its command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import llm_toy as toy


@dataclass(frozen=True)
class Family:
    """How a family is run, with several checkpoints."""

    name: str
    settings: str
    begun: str
    """A file that has a first line once something was computed."""
    saved: str
    """Pattern of a checkpoint."""
    results: tuple[str, ...]
    """Patterns of the files that the same seed writes alike."""

    def differences(self, ours: Path, theirs: Path) -> list[str]:
        """Names of result files that differ; what lies beside them is none."""
        found = [path for kind in self.results for path in sorted(theirs.glob(kind))]
        names = [str(path.relative_to(theirs)) for path in found]
        assert "result.json" in names
        return [n for n in names if not (ours / n).is_file() or _differ(ours / n, theirs / n)]


def _differ(one: Path, other: Path) -> bool:
    return one.read_bytes() != other.read_bytes()


REWARD = """
import time


def reward(completions, **columns):
    time.sleep({pause})
    return [1.0 - ord((c.strip() or "?")[-1]) % 64 / 64 for c in completions]


def outcome(completions, **columns):
    return [c.strip()[:2] or None for c in completions]


def value(smiles):
    time.sleep({pause})
    return [len(text) / 40 for text in smiles]
"""
GRIDS = """
side = 5
hidden = 8
group_size = 32
batch = 32
iterations = 600
eval_every = 10
checkpoint_every = 10
seeds = 2
"""
LLM = """
model = {model}
dataset = {dataset}
reward = {reward}
outcome = {outcome}
trl = {{num_generations = 8, per_device_train_batch_size = 8, max_completion_length = 1, \
learning_rate = 1e-2, max_steps = 8, save_steps = 2, save_total_limit = 2}}
"""
HYPOSPACE = """
domain = "boolean"
model = {model}
sets = 8
samples = 3
trl = {{max_steps = 8, num_generations = 4, per_device_train_batch_size = 8, \
max_completion_length = 16, save_steps = 2, save_total_limit = 2}}
"""
MOLECULES = """
prior = {prior}
components = [{{kind = "function", function = {function}}}]
budget = 96
batch = 16
lr = 5e-4
threshold = 0.55
bucket = 4
checkpoint_every = 1
augmentations = 1
"""
NAMES = ("hypergrid", "llm", "hypospace", "molecules")


def families_in(home: Path, small_prior: Path) -> dict[str, Family]:
    """Made of the small models that the tests of the families use."""
    (home / "task.py").write_text(REWARD.format(pause=0.05))
    rows = [{"prompt": prompt} for prompt in ("name one", "one more", "please name")]
    (home / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    toy.saved(home / "toy")
    mine = {name: json.dumps(f"{home / 'task.py'}:{name}") for name in ("reward", "outcome")}
    model, dataset = json.dumps(str(home / "toy")), json.dumps(str(home / "prompts.jsonl"))
    prior = json.dumps(str(small_prior))
    function = json.dumps(f"{home / 'task.py'}:value")
    result = ("metrics.jsonl", "result.json")
    made = [
        Family("hypergrid", GRIDS, "metrics.jsonl", "checkpoints/step-*.json",
               (*result, "*.parquet", "*.safetensors", "checkpoints/*")),
        Family("llm", LLM.format(model=model, dataset=dataset, **mine), "metrics.jsonl",
               "trainer/checkpoint-*/trainer_state.json", (*result, "model/*.safetensors")),
        Family("hypospace", HYPOSPACE.format(model=model), "rl/metrics.jsonl",
               "rl/trainer/checkpoint-*/trainer_state.json",
               ("data.jsonl", "responses.jsonl", "result.json", "rl/metrics.jsonl")),
        Family("molecules", MOLECULES.format(prior=prior, function=function), "metrics.jsonl",
               "checkpoints/step-*.json", (*result, "calls.*", "molecules.smi", "agent/*")),
    ]  # fmt: skip
    return {family.name: family for family in made}


def started(family: Family, out: Path) -> list[str]:
    """Words of the command that starts a run."""
    config = out.parent / f"{family.name}.toml"
    config.write_text(family.settings)
    return ["train", family.name, "--config", str(config), "--out", str(out)]


def resumed(family: Family, out: Path) -> list[str]:
    return ["train", family.name, "--resume", str(out)]


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
