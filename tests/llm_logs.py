"""Logs of runs whose outcomes and rewards are known, and their diagnoses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ipsrl.llm.collapse import Diagnosis, diagnose_completions
from ipsrl.llm.completions import outcome_keys, read_completions

ALL = "abcdefgh"
FORMAT = {"right": 1.2, "b": 0.2, "c": 0.2, "d": 0.2}
Share = Callable[[int], Sequence[str | None]]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def log_of(groups: Share, steps: int, prompts: int = 2) -> list[dict[str, Any]]:
    """A run in which the group of every prompt at step t is groups(t)."""
    return [
        {"step": t, "prompt": f"p{p}", "completion": key, "outcome": key, "reward": t / 10}
        for t in range(steps)
        for p in range(prompts)
        for key in groups(t)
    ]


def diagnosed(path: Path, rows: list[dict[str, Any]], **options: Any) -> Diagnosis:
    completions = read_completions([write(path / "log.jsonl", rows)])
    return diagnose_completions(completions, outcome_keys(completions, None), **options)


def rewarded(rewards: dict[str, float], steps: int = 12) -> list[dict[str, Any]]:
    """Two prompts, at each step one completion of each outcome."""
    rows = log_of(lambda t: list(rewards), steps)
    return [{**row, "reward": rewards[row["outcome"]]} for row in rows]
