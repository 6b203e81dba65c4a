"""Rivals and estimators side by side: which method keeps what is good, at what price?  Ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ipsrl.errors import ConfigError
from ipsrl.report.page import write_page
from ipsrl.report.rivals import curves, pareto
from ipsrl.reproduce.rivals.contestants import CONTESTANTS, is_ours
from ipsrl.reproduce.rivals.record import SEEDS
from ipsrl.reproduce.rivals.standing import Interval, intervals, standings, within_noise
from ipsrl.reproduce.runs import show, write_rows
from ipsrl.runs import Folder

if TYPE_CHECKING:
    from ipsrl.reproduce.rivals.record import Task




@dataclass(frozen=True)
class Preset:
    """How much is run.

    Attributes:
      tasks: names of tasks, in the order that they are run; a beginning stands for all that have
        it.
      contestants: names, of those that a task can feed.
      seeds: of every cell.
    """

    tasks: tuple[str, ...]
    contestants: tuple[str, ...] = tuple(CONTESTANTS)
    seeds: tuple[int, ...] = SEEDS


PRESETS = {
    "quick": Preset(("ucpo", "right 128 of 4096, G 8")),
    "cpu": Preset(("ucpo", "answers", "right")),
}


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every contestant on every task that can feed it; write the table after every task."""
    preset, folder = PRESETS[preset_name], Folder.make(out)
    done: dict[str, dict[str, list[dict[str, Any]]]] = {}
    tasks = list(_tasks(preset, out))
    for task in tasks:
        fed = {one: c for one, c in task.contestants().items() if one in preset.contestants}
        done[task.name] = {
            one: _records(folder, task, one, contestant, preset.seeds)
            for one, contestant in fed.items()
        }
        _write(f"{name}, {preset_name} preset", out, tasks[: len(done)], done)
    _print(f"{name}, {preset_name} preset", tasks, done)


def _tasks(preset: Preset, out: Path) -> Iterator[Task]:
    from ipsrl.reproduce.rivals.toys import TOYS

    every = TOYS
    for wanted in preset.tasks:
        yield from (task for task in every if task.name.startswith(wanted))


def _records(
    folder: Folder, task: Task, name: str, contestant: Any, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """The record of every seed: that on file, else it is trained."""
    of = json.loads(json.dumps({**task.settings(), "contestant": asdict(contestant)}))
    files = {seed: f"records/{_slug(task.name)}/{_slug(name)}-{seed}.json" for seed in seeds}
    if missing := tuple(seed for seed in seeds if files[seed] not in folder):
        print(f"{task.name}: {name}", file=sys.stderr, flush=True)
        for record in task.run(contestant, missing):
            found = {"contestant": name, **asdict(record), "of": of}
            folder.write(files[record.seed], json.dumps(found).encode() + b"\n")
    read = [json.loads((folder.path / file).read_bytes()) for file in files.values()]
    for file, found in zip(files.values(), read, strict=True):
        if found["of"] != of:
            raise ConfigError(
                f"{folder.path / file} is the record of other settings, which would be mixed into "
                "this table. Remove it, or choose another --out."
            )
    return read


def _write(
    title: str, out: Path, tasks: Sequence[Task], done: dict[str, dict[str, list[dict[str, Any]]]]
) -> None:
    """The table, who stands where, and two figures of each task."""
    rows, figures, by_task = [], {}, {}
    for task in tasks:
        found = done[task.name]
        coverage, reward = _measured(found, "coverage"), _measured(found, "reward")
        by_task[task.name] = coverage
        rows += _rows(task, found, coverage, reward)
        references = {
            name: {key: _mean(each, key) for key in ("coverage", "reward")}
            for name, each in task.references().items()
        }
        points = {name: (reward[name], coverage[name]) for name in found} | {
            name: (_point(each["reward"]), _point(each["coverage"]))
            for name, each in references.items()
        }
        ours = [name for name in found if is_ours(name)]
        axes = {"reward": task.reward, "coverage": task.coverage}
        figures[f"{task.name}: {task.reward} against {task.coverage}"] = (
            f"{_slug(task.name)}-pareto", pareto(points, ours, **axes),
        )  # fmt: skip
        lines = {name: [one["curve"] for one in each] for name, each in found.items()}
        levels = {name: each["coverage"] for name, each in references.items()}
        figures[f"{task.name}: {task.coverage} over training"] = (
            f"{_slug(task.name)}-curves", curves(lines, levels, coverage=task.coverage),
        )  # fmt: skip
    write_rows(out, {"cells": rows, "standings": standings(by_task), "left out": _left_out(tasks)})
    write_page(
        out / "index.html", title=title, figures=figures, rows=rows,
        note="Means with 95 % bootstrap intervals over the seeds.",
    )  # fmt: skip


def _rows(
    task: Task,
    found: dict[str, list[dict[str, Any]]],
    coverage: dict[str, Interval],
    reward: dict[str, Interval],
) -> list[dict[str, Any]]:
    near = within_noise(coverage)
    rows = [
        {
            "cell": f"{task.name}: {name}",
            "coverage": _shown(coverage[name]),
            "reward": _shown(reward[name]),
            "near the best": "yes" if name in near else "",
            "rate": each[0]["rate"],
            "coverage, rate by reward": _by_reward(each, "coverage"),
            "reward, rate by reward": _by_reward(each, "reward"),
            "seconds": _mean(each, "seconds"),
            "samples": each[0]["samples"],
            "seeds": len(each),
        }
        for name, each in found.items()
    ]
    rows.sort(key=lambda row: -row["coverage"]["median"])
    for name, each in task.references().items():
        known = {key: _point(_mean(each, key)) for key in ("coverage", "reward")}
        rows.append(
            {**dict.fromkeys(rows[0]), "cell": f"{task.name}: {name}"}
            | {key: _shown(value) for key, value in known.items()}
        )
    return rows


def _left_out(tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    return {task.name: task.left_out() for task in tasks}


def _measured(found: dict[str, list[dict[str, Any]]], key: str) -> dict[str, Interval]:
    return intervals({name: [o["measures"][key] for o in each] for name, each in found.items()})


def _by_reward(each: list[dict[str, Any]], key: str) -> float | None:
    """Mean at the rate that is chosen by the reward first; None where that was not tried."""
    values = [one["by_reward"].get(key) for one in each]
    return None if None in values else sum(values) / len(values)


def _mean(each: list[dict[str, Any]], key: str) -> float:
    return sum(one[key] for one in each) / len(each)


def _point(value: float) -> Interval:
    return value, value, value


def _shown(interval: Interval) -> dict[str, float]:
    """As pages show intervals; the middle of these is a mean."""
    mean, low, high = interval
    return {"median": mean, "low": low, "high": high}


def _print(
    title: str, tasks: Sequence[Task], done: dict[str, dict[str, list[dict[str, Any]]]]
) -> None:
    for task in tasks:
        found = done[task.name]
        coverage, reward = _measured(found, "coverage"), _measured(found, "reward")
        table = Table(title=f"{task.name}: mean \\[95 % interval] of {len(SEEDS)} seeds")
        for heading in ("", task.coverage, task.reward, "near the best", "rate", "ms per run"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for row in _rows(task, found, coverage, reward):
            table.add_row(
                row["cell"].partition(": ")[2], _text(row["coverage"]), _text(row["reward"]),
                row["near the best"], "" if row["rate"] is None else f"{row['rate']:g}",
                "" if row["seconds"] is None else f"{1000 * row['seconds']:.0f}",
            )  # fmt: skip
        show(table)
    by_task = {task.name: _measured(done[task.name], "coverage") for task in tasks}
    table = Table(title=f"{title}: tasks in which each is within noise of the best")
    for heading in ("contestant", "tasks", "within noise", "above all of ours"):
        table.add_column(heading, justify="left" if heading == "contestant" else "right")
    for row in standings(by_task):
        table.add_row(*map(str, row.values()))
    show(table)


def _text(value: dict[str, float]) -> str:
    return f"{value['median']:.3f} \\[{value['low']:.3f}, {value['high']:.3f}]"


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")
