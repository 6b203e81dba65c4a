"""Run directories of every family, written without training: the report reads files only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl import grids, hypospace
from ipsrl.hypospace.datasets import dataset
from ipsrl.hypospace.domains import make_task
from ipsrl.hypospace.lines import write_dataset
from ipsrl.llm import config as llm
from ipsrl.molecules import ComponentConfig, Config
from ipsrl.runs import Folder, Run

SCAFFOLDS = ("c1ccccc1", "O=C(NCc1ccccc1)c1ccc2c(c1)nc(-c1ccncc1)n2C1CCCCC1", "")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="1700" height="300"><rect width="9"/></svg>'
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def grid_run(directory: Path, *, evaluations: int = 30, seeds: int = 3, **options: Any) -> Run:
    """A hyper-grid; the values of an evaluation are functions of its number and seed."""
    config = grids.Config(
        side=8, seeds=seeds, iterations=10 * evaluations, checkpoint_every=10, **options
    )
    run = Run.create(directory, config)
    rows = []
    for t in range(evaluations):
        for seed in range(seeds):
            rows.append({
                "trajectories": 2560 * (t + 1), "seed": seed,
                "total_l1": 1.5 / (1 + t) + 0.01 * seed, "modes_found": 1.0,
                "modes_visited": min(4, 1 + t // 5), "effective_outcomes": 20.0 + t,
                "expected_reward": 1 - 1 / (2 + t), "ips/reward": 30 - t,
                "loss": (-1) ** t / (1 + t), "mode_mass": [],
            })  # fmt: skip
    run.log(rows)
    rng = np.random.default_rng(0)
    for step in range(10, 10 * min(evaluations, 60) + 1, 10):
        ids = rng.integers(0, 4 + 60 // step, (seeds, 256))
        run.log_outcomes(step, ids, np.ones(ids.shape))
    return run


def finish_grid(run: Run, seeds: int = 3) -> None:
    target = np.full(64, 1 / 64, np.float32)
    terminal = np.tile(np.linspace(0, 2 / 64, 64, dtype=np.float32), (seeds, 1))
    l1 = [0.25 + 0.125 * seed for seed in range(seeds)]
    result = {
        "total_l1": l1, "mean_l1": [one / 64 for one in l1], "modes_found": [4] * seeds,
        "modes_visited": [4] * seeds, "modes_total": 4, "trajectories": 76800,
        "trajectories_to": {"0.3": [2560] * seeds, "0.05": [None] * seeds},
        "sampled_l1": l1, "sampled_floor": 0.1, "floor_l1": 0.125,
    }  # fmt: skip
    run.finish(result, {"target": target, "terminal": terminal})
    run.close()


def lm_run(
    directory: Path, *, steps: int = 40, outcomes: int = 12, group: int = 16, collapse: bool = True,
    prompt: Any = "Name a colour.", also: tuple[str, ...] = (), **options: Any,
) -> Run:  # fmt: skip
    """A language model that starts with many outcomes and, if it collapses, ends with the first.

    Args:
      also: outcomes beside so many colours.
    """
    config = llm.Config(
        dataset="colours.jsonl", reward=["task.py:reward"], outcome="text",
        trl={"max_steps": steps, "num_generations": group}, **options,
    )  # fmt: skip
    run = Run.create(directory, config)
    answers = {str(prompt): [*also, *(f"colour {k}" for k in range(outcomes))]}
    log_training(run, steps, group, answers, collapse=collapse, prompts={str(prompt): prompt})
    return run


def log_training(
    run: Run,
    steps: int,
    group: int,
    answers: dict[str, list[str]],
    *,
    collapse: bool,
    prompts: dict[str, Any] | None = None,
    rightly: float = 0.9,
) -> None:
    """Metrics and completions of a trainer: at each step one group of each prompt."""
    rng = np.random.default_rng(1)
    folder = run.own_folder("trainer") / "completions"
    folder.mkdir(parents=True)
    for step in range(1, steps + 1):
        rows = []
        for text, keys in answers.items():
            few = max(1, round(len(keys) * (1 - step / steps))) if collapse else len(keys)
            for _ in range(group):
                right = rng.random() < rightly
                key = keys[rng.integers(few)] if right else None
                rows.append({
                    "step": step, "prompt": (prompts or {}).get(text, text),
                    "completion": f"I say {key}" if right else "I do not know.", "outcome": key,
                    "raw_reward": float(right), "ips_weight": 2.0, "advantage": 0.5,
                })  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), folder / f"completions_{step:05}.parquet")
        distinct = len({row["outcome"] for row in rows if row["outcome"]})
        run.log([{
            "step": step, "reward": float(np.mean([row["raw_reward"] for row in rows])),
            "ips/reward": 2.0, "outcomes/effective": 0.8 * distinct, "outcomes/distinct": distinct,
            "outcomes/no_outcome": 0.1, "loss": 0.01, "entropy": 1.0,
        }])  # fmt: skip


def finish_lm(run: Run, steps: int = 40) -> None:
    run.finish({"steps": steps, "reward": 0.875, "distinct": 1.5, "effective": 1.25})
    run.close()


def hypospace_run(
    directory: Path, domain: str = "causal", *, steps: int = 20, rightly: float = 0.9
) -> Run:
    """HypoSpace: a policy that finds about half of the right answers."""
    config = hypospace.Config(domain=domain, sets=8, samples=4, trl={"max_steps": steps})
    run = Run.create(directory, config)
    sets = dataset(make_task(domain, config.size), count=8, seed=0)
    run.files.claim("data.jsonl", "rl/")
    write_dataset(sets, directory / "data.jsonl")
    inner = Run.create(
        directory / "rl",
        llm.Config(dataset="prompts.jsonl", reward=["task.py:reward"], outcome="text"),
    )
    asked = {one.prompt: list(one.admissible) for one in sets if one.split == "train"}
    known = {prompt: keys[: max(1, len(keys) // 2)] for prompt, keys in asked.items()}
    log_training(inner, steps, 16, known, collapse=False, rightly=rightly)
    finish_lm(inner, steps)
    return run


def finish_hypospace(run: Run) -> None:
    half = {
        "sets": 4, "seeds": 1, "responses": 4, "protocol": "parallel",
        "valid_rate": [0.75, 0.5, 1.0], "novelty_rate": [0.5, 0.25, 0.75],
        "recovery_rate": [0.375, 0.25, 0.5], "verdicts": {"admissible": 12, "no answer": 4},
        "draws": [1, 2, 4], "recovery": [[0.125, 0, 0.25], [0.25, 0, 0.5], [0.375, 0.25, 0.5]],
        "distinct": [[1, 1, 1], [1.5, 1, 2], [2, 1, 3]], "one_mode": [0.125, 0.125, 0.125],
        "uniform": [0.125, 0.25, 0.5], "truncated": 0,
    }  # fmt: skip
    run.finish({"train": half, "test": half})
    run.close()


def search_run(
    directory: Path,
    smiles: list[str],
    *,
    failed: int = 0,
    reason: str = "no pose",
    going_on: bool = False,
    **options: Any,
) -> Run:
    """A search that scored these molecules; the last of them have no value.

    Args:
      going_on: whether its calls are in parts, as long as it has not ended.
    """
    parts = [
        ComponentConfig(kind="qed"),
        ComponentConfig(kind="smarts", name="sa", smarts=["[#6]"]),
    ]
    config = Config(components=parts, budget=max(len(smiles), 1), **options)
    run = Run.create(directory, config)
    n, batch = len(smiles), 50
    valid = np.arange(n) < n - failed
    rng = np.random.default_rng(2)
    rewards = [float(r) if ok else None for r, ok in zip(rng.random(n), valid, strict=True)]
    steps = (np.arange(n) // batch + 1).tolist()
    calls = pa.table({
        "call": list(range(1, n + 1)), "step": steps, "smiles": smiles,
        "scaffold": [SCAFFOLDS[i % 3] for i in range(n)],
        "status": ["valid" if ok else "failed" for ok in valid],
        "reason": ["" if ok else reason for ok in valid],
        "reward": pa.array(rewards, pa.float64()), "penalised": pa.array(rewards, pa.float64()),
        "qed": pa.array(rewards, pa.float64()), "sa": pa.array(rewards, pa.float64()),
    })  # fmt: skip
    if going_on:
        run.add_part("calls", 1, calls.slice(0, batch))
        run.add_part("calls", steps[-1], calls.slice(batch))
    else:
        run.append("calls", calls)
    hits = np.cumsum([reward is not None and reward > config.threshold for reward in rewards])
    run.log({
        "step": step, "calls": min(step * batch, n), "new": batch, "valid": 0.75, "reward": 0.5,
        "penalised": 0.25, "ips/reward": 2.0, "effective_outcomes": 8.0, "memory": 100,
        "restored": 0, "hits": int(hits[min(step * batch, n) - 1]), "loss": 0.5,
        "failed": int((~valid[: step * batch]).sum()), "timeouts": 0,
    } for step in range(1, steps[-1] + 1))  # fmt: skip
    return run


def finish_search(run: Run, calls: int, failed: int = 0, reason: str = "no pose") -> None:
    result = {
        "calls": calls, "failed": failed, "timeouts": 0, "samples": 2 * calls, "invalid": 7,
        "steps": 1, "hits": 5, "ob100": None, "scaffolds": 2, "best": 0.9375, "restored": 0,
        "ended": "budget", "reasons": {reason: failed} if failed else {}, "cut": {},
    }  # fmt: skip
    run.finish(result)
    run.close()


def routes_folder(directory: Path, target: str, name: str = "ester") -> Path:
    """As `ipsrl molecules route` writes: a molecule without a route, one of a step, one bought."""
    step = {"product": target, "reactants": ["CCO", "CC(=O)O"], "template": name}
    routes = [None, {"target": target, "reactions": [step]}, {"target": "CCO", "reactions": []}]
    rows = zip(("C1CC1", target, "CCO"), routes, strict=True)
    folder = Folder.make(directory)
    folder.claim("routes.json", "route-2.svg")
    content = json.dumps([{"smiles": smiles, "route": route} for smiles, route in rows])
    folder.write("routes.json", content.encode())
    folder.write("route-2.svg", SVG.encode())
    return directory


def answers_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
