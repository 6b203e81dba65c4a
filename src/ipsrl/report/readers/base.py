"""Parts of all families: state, command, configuration, versions, dates and metrics of a run."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipsrl.config import read
from ipsrl.report.view import Curve, View, known
from ipsrl.runs import Run

__all__ = ["curves", "view"]

POINTS = 400
"""Most points of a line: more than a screen shows."""

WRITTEN = "files written"
"""What `about` calls the times of the files, which a copy of a run may have lost."""

_UNTOLD = ("/mean_length", "/min_length", "/max_length", "terminated_length", "clip_ratio")


def settings(run: Run) -> dict[str, Any]:
    """Keys and values of config.toml; those of a table with the name of the table before them."""
    return dict(_flat(read(run.directory / "config.toml")))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def about(run: Run) -> dict[str, str]:
    """Seed, times of the files, and versions of a run."""
    told = run.environment()
    found = {key: str(value) for key, value in told.get("seeds", {}).items()}
    last = run.directory / "result.json" if run.finished else run.metrics_path
    written = (_date(path) for path in (run.directory / "config.toml", last) if path.exists())
    found[WRITTEN] = f"{' to '.join(dict.fromkeys(written))} UTC"
    versions = {**told.get("versions", {}), "Python": told.get("python", "unknown")}
    found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found


def origin(run: Run) -> dict[str, str]:
    """Git revision, platform and digests of the inputs of a run."""
    told = run.environment()
    names = {"git_revision": "git revision", "platform": "platform"}
    found = {name: str(told[key]) for key, name in names.items() if told.get(key)}
    return found | {f"input {name}": str(one) for name, one in told.get("inputs", {}).items()}


def _date(path: Path) -> str:
    moment = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M")


def cut_off(last: int, reached: int | None, what: str) -> list[str]:
    """Warns if the metrics end before what the result reports; a run that goes on has no result.

    Args:
      last: where metrics.jsonl ends, at least.
      reached: what result.json reports.
      what: is counted.
    """
    if reached is None or last >= reached:
        return []
    return [
        f"metrics.jsonl ends at {last:,} of {reached:,} {what}, so lines are missing, here and in "
        "the charts. Restore the file from a copy."
    ]


def view(
    run: Run,
    label: str,
    title: str,
    command: str,
    done: tuple[int, int, str] | None = None,
    **more: Any,
) -> View:
    """The view of a run with what is the same for all families.

    Args:
      run: to read.
      label: of it on the page.
      title: what was run.
      command: that runs such a thing.
      done: how far a run is that has not ended: how much is done, of how much, of what.
      more: what the family adds, by the names of the fields of a view.
    """
    state, alarms = run.state, list(more.pop("alarms", ()))
    again = shlex.quote(str(run.directory))
    if state == "failed":
        alarms.insert(0, f"The run failed: {run.failure()}")
    progress = ""
    if state != "ended" and done is not None:
        progress = f"{done[0]:,} of {done[1]:,} {done[2]}"
    resume = f"{command} --resume {again}" if state in ("stopped", "failed") else ""
    anew = f"{command} --config {shlex.quote(str(run.directory / 'config.toml'))} --out NEW"
    return View(
        label=label,
        family=run.family,
        title=title,
        state=state,
        progress=progress,
        resume=resume,
        alarms=alarms,
        command=run.environment().get("command", anew),
        again=anew,
        config={key: _shown(value) for key, value in settings(run).items()},
        about=about(run),
        origin=origin(run),
        **more,
    )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def thinned(length: int, most: int = POINTS) -> np.ndarray:
    """Indices of at most so many of a list, evenly, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))


def curves(
    rows: Sequence[Mapping[str, Any]], x: str, charts: Mapping[str, Sequence[str]]
) -> list[Curve]:
    """Curves of a run with one line of metrics per step.

    Args:
      rows: lines of metrics.jsonl.
      x: key of the steps.
      charts: by key: chart, what y is, and which line of the chart it is.
    """
    found = []
    for key, (chart, y, name) in charts.items():
        chosen = [row for row in rows if row.get(key) is not None and x in row]
        if chosen:
            chosen = [chosen[i] for i in thinned(len(chosen))]
            xs, ys = known([row[x] for row in chosen]), known([row[key] for row in chosen])
            found.append(Curve(chart, x, y, xs, [ys], name))
    return found


def curves_of_seeds(
    rows: Sequence[Mapping[str, Any]], x: str, charts: Mapping[str, tuple[str, str]]
) -> list[Curve]:
    """Curves of a run with one line of metrics per step and seed, as long as a seed has it.

    Args:
      rows: lines of metrics.jsonl.
      x: key of the steps.
      charts: by key: chart, and what y is.
    """
    seeds = len({row["seed"] for row in rows})
    steps = len(rows) // max(seeds, 1)
    found = []
    for key, (chart, y) in charts.items():
        # Where a value costs much, some evaluations have none.
        values = [row.get(key) for row in rows]
        values_TS = [values[t * seeds : (t + 1) * seeds] for t in range(steps)]
        has = [t for t, values_S in enumerate(values_TS) if values_S != [None] * seeds]
        if has:
            chosen = [has[i] for i in thinned(len(has))]
            xs = [rows[t * seeds][x] for t in chosen]
            ys_ST = [known(ys_T) for ys_T in zip(*(values_TS[t] for t in chosen), strict=True)]
            found.append(Curve(chart, x, y, xs, ys_ST))
    return found


def plain_view(run: Run, label: str, among: int = 1) -> View:  # noqa: ARG001 (as all readers)
    """A view for a run without a reader: every logged number over its first key."""
    rows = run.metrics()
    first = next(iter(rows), {})
    keys = [k for k, v in first.items() if isinstance(v, int | float) and not k.endswith(_UNTOLD)]
    x = next((key for key in ("step", *keys) if key in first), "step")
    charts = {key: (key, key, "") for key in keys if key != x}
    return view(
        run, label, run.family, "ipsrl", curves=curves(rows, x, charts),
        summary=run.result() if run.finished else {},
    )  # fmt: skip
