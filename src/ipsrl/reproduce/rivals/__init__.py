"""Rivals and estimators side by side: which method keeps what is good, at what price?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ipsrl.errors import ConfigError
from ipsrl.lazy import loader
from ipsrl.report.page import write_page
from ipsrl.report.rivals import curves, pareto
from ipsrl.reproduce.records import add_record, read_records
from ipsrl.reproduce.rivals.contestants import is_ours
from ipsrl.reproduce.rivals.record import SEEDS
from ipsrl.reproduce.rivals.standing import Interval, fair, intervals, standings, within_noise
from ipsrl.runs import Folder
from ipsrl.sweep.results import show, write_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ipsrl.reproduce.rivals.record import Task

_load = loader("ipsrl.reproduce.rivals", {"TOYS": "toys"}, extra="grids")

Done = dict[str, dict[str, list[dict[str, Any]]]]
"""Records of the seeds, by task and contestant."""


@dataclass(frozen=True)
class Preset:
    """How much is run.

    Attributes:
      tasks: names of tasks, in the order that they are run; a beginning stands for all that have
        it.
      contestants: names, of those that a task can feed, by the beginning of the task; a task that
        is not here takes all.
      seeds: of every cell.
      changes: to the configurations of hyper-grids, HypoSpace and molecules.
    """

    tasks: tuple[str, ...]
    contestants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = SEEDS
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def chosen(self, task: Task) -> tuple[dict[str, Any], dict[str, str]]:
        """The contestants that are run, and why the others are not, by name."""
        fed, left_out = task.contestants(), task.left_out()
        for beginning, names in self.contestants.items():
            if task.name.startswith(beginning):
                left_out |= {one: "too costly here" for one in fed if one not in names}
        return {name: one for name, one in fed.items() if name not in left_out}, left_out


_TASKS = ("ucpo", "answers", "right", "grid", "hypospace", "molecules")
# With all of them, these tasks take sixty hours: one of each kind, and those that led on the toys.
_FEW = (
    "grpo", "uniqueness", "unlikeliness", "exemplar-replay", "reinvent",
    "ips group", "ips replay", "ips likelihood", "ips exact", "split likelihood",
    "dpg group", "dpg likelihood",
)  # fmt: skip
PRESETS = {
    "quick": Preset(("ucpo", "right 128 of 4096, G 8")),
    "cpu": Preset(_TASKS, dict.fromkeys(("grid", "hypospace", "molecules"), _FEW)),
    "paper": Preset(_TASKS),
}


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every contestant on every task that can feed it; write the table after every task.

    Figures and the page come in the end.
    """
    preset, folder = PRESETS[preset_name], Folder.make(out)
    done: Done = {}
    left_out: dict[str, dict[str, str]] = {}
    tasks = list(_tasks(preset, out))
    for task in tasks:
        fed, left_out[task.name] = preset.chosen(task)
        done[task.name] = {
            one: _records(folder, task, one, contestant, preset.seeds)
            for one, contestant in fed.items()
        }
        write_rows(out, _table(tasks[: len(done)], done) | {"left out": left_out})
    title = f"{name}, {preset_name} preset"
    _print(title, tasks, done)
    write_page(
        out / "index.html", title=title, figures=_figures(tasks, done),
        rows=_table(tasks, done)["cells"],
        note="In this study it is the mean, with its 95 % bootstrap interval over the seeds.",
    )  # fmt: skip


def _tasks(preset: Preset, out: Path) -> Iterator[Task]:
    from ipsrl.reproduce.rivals.families import families

    for wanted in preset.tasks:
        toys = [task for task in _load("TOYS") if task.name.startswith(wanted)]
        others = () if toys else families(out, preset.changes)
        yield from toys or (task for task in others if task.name.startswith(wanted))


def _records(
    folder: Folder, task: Task, name: str, contestant: Any, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """The record of every seed, from the file of the task or by training."""
    of = json.loads(json.dumps({**task.settings(), "contestant": asdict(contestant)}))
    name_of_file = f"records/{_slug(task.name)}.jsonl"
    folder.claim(name_of_file)
    file = folder.path / name_of_file

    def known() -> dict[int, dict[str, Any]]:
        return {one["seed"]: one for one in read_records(file) if one["contestant"] == name}

    found = known()
    if any(one["of"] != of for one in found.values()):
        raise ConfigError(
            f"{file} has records of {name} with other settings, which would be mixed into this "
            "table. Remove these lines, or choose another --out."
        )
    if missing := tuple(seed for seed in seeds if seed not in found):
        print(f"{task.name}: {name}", file=sys.stderr, flush=True)
        for record in task.run(contestant, missing):
            add_record(file, {"contestant": name, **asdict(record), "of": of})
        found = known()
    return [found[seed] for seed in seeds]


def _table(tasks: Sequence[Task], done: Done) -> dict[str, Any]:
    """Cells by task and coverage, and the standings."""
    return {
        "cells": [row for task in tasks for row in _rows(task, done[task.name])],
        "standings": standings(
            {task.name: _measured(done[task.name], "coverage") for task in tasks}
        ),
    }


def _figures(tasks: Sequence[Task], done: Done) -> dict[str, tuple[str, Figure]]:
    """Reward against coverage, and coverage over training, of each task."""
    figures = {}
    for task in tasks:
        found = done[task.name]
        coverage, reward = _measured(found, "coverage"), _measured(found, "reward")
        references = {
            name: {key: _mean(each, key) for key in ("coverage", "reward")}
            for name, each in task.references().items()
        }
        points = {name: (reward[name], coverage[name]) for name in found} | {
            name: (_point(each["reward"]), _point(each["coverage"]))
            for name, each in references.items()
        }
        ours = [name for name in found if is_ours(name)]
        drawn = pareto(points, ours, reward=task.reward, coverage=task.coverage)
        caption = f"{task.name}: {task.reward} against {task.coverage}"
        figures[caption] = f"{_slug(task.name)}-pareto", drawn
        lines = {name: [one["curve"] for one in each] for name, each in found.items()}
        levels = {name: each["coverage"] for name, each in references.items()}
        drawn = curves(lines, levels, coverage=task.coverage)
        figures[f"{task.name}: {task.coverage} over training"] = f"{_slug(task.name)}-curves", drawn
    return figures


def _rows(task: Task, found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    coverage, reward = _measured(found, "coverage"), _measured(found, "reward")
    near = within_noise(fair(coverage))
    rows = [
        {
            "cell": f"{task.name}: {name}",
            "coverage": _shown(coverage[name]),
            "reward": _shown(reward[name]),
            "near the best": "yes" if name in near else "",
            "rate": each[0]["rate"],
            "coverage, rate by reward": _by_reward(each, "coverage"),
            "reward, rate by reward": _by_reward(each, "reward"),
            "seconds": _seconds(each),
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


def _measured(found: dict[str, list[dict[str, Any]]], key: str) -> dict[str, Interval]:
    return intervals({name: [o["measures"][key] for o in each] for name, each in found.items()})


def _by_reward(each: list[dict[str, Any]], key: str) -> float | None:
    """Mean at the rate that is chosen by the reward first; None if that was not tried."""
    values = [one["by_reward"].get(key) for one in each]
    return None if None in values else sum(values) / len(values)


def _seconds(each: list[dict[str, Any]]) -> float | None:
    """Mean of the seeds that were trained by one command."""
    known = [one["seconds"] for one in each if one["seconds"] is not None]
    return sum(known) / len(known) if known else None


def _mean(each: list[dict[str, Any]], key: str) -> float:
    return sum(one[key] for one in each) / len(each)


def _point(value: float) -> Interval:
    return value, value, value


def _shown(interval: Interval) -> dict[str, float]:
    """An interval as pages show it; its middle is a mean."""
    mean, low, high = interval
    return {"median": mean, "low": low, "high": high}


def _print(title: str, tasks: Sequence[Task], done: Done) -> None:
    for task in tasks:
        table = Table(title=f"{task.name}: mean [95 % interval] over the seeds")
        for heading in ("", task.coverage, task.reward, "near the best", "rate", "ms per run"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for row in _rows(task, done[task.name]):
            table.add_row(
                row["cell"].partition(": ")[2], _text(row["coverage"]), _text(row["reward"]),
                row["near the best"], "" if row["rate"] is None else f"{row['rate']:g}",
                "" if row["seconds"] is None else f"{1000 * row['seconds']:.0f}",
            )  # fmt: skip
        show(table)
    table = Table(title=f"{title}: tasks in which each is within noise of the best")
    rows = _table(tasks, done)["standings"]
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "contestant" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    show(table)


def _text(value: dict[str, float]) -> str:
    return f"{value['median']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")
