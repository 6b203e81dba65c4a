"""Results of runs: intervals over seeds, tables, and which runs are finished."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ipsrl.config import StrictConfig
from ipsrl.errors import RunError
from ipsrl.runs import Folder, Run
from ipsrl.sweep.config import Cell


def finished(config: StrictConfig, directory: Path) -> bool:
    """True if the run exists and has ended.

    Args:
      config: what was to be trained.
      directory: of the run.
    Raises:
      RunError: if the directory holds a run of another configuration.
    """
    if not (directory / "config.toml").exists():
        return False
    run = Run.open(directory)
    if run.config(type(config)) != config:
        raise of_another(directory, "a run")
    return run.finished


def of_another(path: Path, what: str) -> RunError:
    """The error for what cannot stand in one table with the rest."""
    return RunError(
        f"{path} holds {what} of another configuration, which would be mixed into this table. "
        "Remove it, or choose another --out."
    )


def check_unmixed(out: Path, *, sweep: bool) -> None:
    """A folder holds the table of a sweep or of an item of `ipsrl reproduce`, not of both.

    Args:
      out: folder in which one is about to write its table.
      sweep: whether that is a sweep.
    Raises:
      RunError: if the other has written there.
    """
    if ("index.html" if sweep else "sweep.svg") in Folder(out).listed:
        other = "reproduce" if sweep else "sweep"
        raise RunError(
            f"{out} holds the table of `ipsrl {other}`, which would be overwritten. Choose another "
            "--out."
        )


def train_once(config: StrictConfig, directory: Path, train: Callable[..., Any]) -> None:
    """Train into the directory, unless that is done; go on if it was interrupted.

    Args:
      config: what to train.
      directory: of the run.
      train: of the family that the configuration belongs to.
    Raises:
      RunError: if the directory holds a run of another configuration.
    """
    if finished(config, directory):
        return
    if (directory / "config.toml").exists():
        train(config, directory, resume=True)
    else:
        train(config, directory)


def interval(values: Sequence[float]) -> dict[str, float]:
    """Median and range; of five seeds the range holds the true median with 94 % (1 - 2/2^5)."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def shown(found: Mapping[str, float] | None, form: str = ".4g") -> str:
    """An interval in a table, with this format of its numbers; "" if there is none."""
    if found is None:
        return ""
    median, low, high = (format(found[key], form) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def write_rows(out: Path, found: Any, name: str = "table.json") -> None:
    """The rows of a table, or whatever was found, as JSON."""
    Folder.make(out).write(name, json.dumps(found, indent=2).encode() + b"\n")


def failures(out: Path) -> dict[str, str]:
    """Why runs have failed, by their names in the table that is there; empty without one."""
    try:
        rows = json.loads((out / "table.json").read_text()) if "table.json" in Folder(out) else []
    except ValueError:  # cut off; it is written anew
        return {}
    return {run: why for row in rows for run, why in row["failed"].items()}


def show(table: Table) -> None:
    """Print a table, uncut where nobody looks at a terminal; its texts are not read as markup."""
    plain = partial(Console, markup=False, emoji=False)  # in a SMILES are [ and :
    console = plain()
    if not console.is_terminal:  # a pipe has no width; rich would cut at 80
        console.width = plain(width=1000).measure(table).maximum
    try:
        console.print(table)
    except SystemExit:  # rich's, when whoever read it has gone, as `head` does
        raise BrokenPipeError from None


def rows_of(
    cells: Iterable[Cell], out: Path, measures: Sequence[str], failed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each cell.

    Args:
      cells: of the sweep.
      out: folder of their runs.
      measures: keys of result.json, dotted.
      failed: why a run has no result, by its name.
    Returns:
      cell, values by key, runs, failed, and measures: median, low, high and the values over seeds
      of each, or None where no run has it yet.
    """
    rows = []
    for cell in cells:
        ended = [run for run in cell.runs if (out / run / "result.json").exists()]
        results = [Run.open(out / run).result() for run in ended if run not in failed]
        found = {
            name: [value for result in results for value in _measured(result, name.split("."))]
            for name in measures
        }
        rows.append({
            "cell": cell.name,
            "values": cell.values,
            "runs": list(cell.runs),
            "failed": {run: failed[run] for run in cell.runs if run in failed},
            "measures": {
                name: {**interval(values), "values": values} if values else None
                for name, values in found.items()
            },
        })  # fmt: skip
    return rows


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table: median [lowest, highest] over seeds."""
    table = Table(title=f"{title}: median [lowest, highest] over the seeds")
    axes, measures = rows[0]["values"], rows[0]["measures"]
    for heading in axes or ["cell"]:
        table.add_column(heading, no_wrap=True)
    # A key and a measure may have one name, such as reward.
    named = (f"{name}, result" if name in axes else name for name in measures)
    for heading in (*named, "of seeds", "runs failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        found = row["measures"].values()
        table.add_row(
            *(map(str, row["values"].values()) if axes else [row["cell"]]),
            *(shown(one) for one in found),
            str(max((len(one["values"]) for one in found if one), default=0)),
            str(len(row["failed"])) if row["failed"] else "",
        )
    show(table)


def _measured(found: Any, parts: Sequence[str]) -> Iterator[float]:
    """Values of a measure, of which a run of several seeds has several; none for what is null."""
    if parts:
        # A list has numbers for keys: an interval is a list of mean, low and high.
        inside = {str(i): one for i, one in enumerate(found)} if isinstance(found, list) else found
        for end in range(1, len(parts) + 1):  # a key may have dots, such as a threshold of .3
            if isinstance(inside, dict) and (key := ".".join(parts[:end])) in inside:
                yield from _measured(inside[key], parts[end:])
                return
        return
    for value in found if isinstance(found, list) else [found]:
        if isinstance(value, int | float):
            yield value
