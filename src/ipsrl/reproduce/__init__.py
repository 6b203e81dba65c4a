"""Items of the paper (and ours): the configurations behind them, and our numbers beside its own."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ipsrl.config import StrictConfig, shipped_configs
from ipsrl.errors import ConfigError
from ipsrl.grids import Config, train
from ipsrl.report.page import check_libraries, write_report
from ipsrl.runs import Folder, Run


@dataclass(frozen=True)
class Item:
    """One folder of configurations, one file per cell.

    Attributes:
      folder: below configs/.
      cells: glob of the files in it.
      paper: the paper's mean L1 by cell.
      quick: what the quick preset changes, by cell prefix.
    """

    folder: str
    cells: str = "*"
    paper: Mapping[str, float] = field(default_factory=dict)
    quick: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


# Table 1 of the paper: mean per-state L1.
_TABLE_1 = {
    "2d-grpo": 2.8e-2,
    "2d-flowrl": 2.8e-2,
    "2d-ips-grpo": 3.0e-3,
    "4d-grpo": 5.2e-4,
    "4d-flowrl": 5.2e-4,
    "4d-ips-grpo": 3.7e-4,
}
ITEMS = {
    "table-1": Item(
        "hypergrid/table-1", paper=_TABLE_1, quick={"4d": {"iterations": 500, "seeds": 2}}
    ),
    "figure-1": Item("hypergrid/table-1", cells="2d-*", paper=_TABLE_1),
    "group-size": Item("hypergrid/group-size", quick={"": {"seeds": 2}}),
    "estimators": Item("hypergrid/estimators", quick={"": {"seeds": 2}}),
}


def reproduce(name: str, preset: str, out: Path) -> None:
    """Train every cell of an item, print the table, and write figures and a page to `out`.

    Runs in `out` that have ended are used again, and interrupted ones continue.
    """
    check_libraries()
    of_language_models = name in ("table-2", "figure-2", "figures-4-5", "table-4")
    of_molecules = name in ("molecule-keys", "table-3")
    if preset == "cpu" and not (of_language_models or of_molecules):
        raise ConfigError(f"{name} has no preset cpu: paper runs on a CPU. Choose quick or paper.")
    if preset == "paper" and name == "molecule-keys":
        raise ConfigError(f"{name} is not in the paper. Choose quick or cpu.")
    # Before hours of training.
    Folder.make(out).claim("table.json", "index.html")
    if name == "figure-3":
        from ipsrl.reproduce.lattice import reproduce_figure_3

        reproduce_figure_3(preset, out)
    elif name == "theory":
        from ipsrl.reproduce.theory import reproduce_theory

        reproduce_theory(preset, out)
    elif of_language_models:
        from ipsrl.reproduce.hypospace import reproduce_hypospace

        reproduce_hypospace(name, preset, out)
    elif name == "molecule-keys":
        from ipsrl.reproduce.molecules import reproduce_molecules

        reproduce_molecules(preset, out)
    elif name == "table-3":
        from ipsrl.reproduce.table_3 import reproduce_table_3

        reproduce_table_3(preset, out)
    else:
        _reproduce_table(name, preset, out)
    print(f"figures and page: {out / 'index.html'}")


def _reproduce_table(name: str, preset: str, out: Path) -> None:
    item = ITEMS[name]
    files = {path.stem: path for path in shipped_configs(item.folder)}
    # The paper's rows first, in its order.
    order = [cell for cell in item.paper if cell in files]
    runs = {}
    for cell in [*order, *(cell for cell in files if cell not in order)]:
        if not fnmatch(cell, item.cells):
            continue
        config = Config.load(files[cell])
        if preset == "quick":
            for prefix, changes in item.quick.items():
                if cell.startswith(prefix):
                    config = Config(**{**config.model_dump(), **changes})
        runs[cell] = out / cell
        train_once(config, runs[cell])
    rows = [_row(cell, run, item.paper.get(cell)) for cell, run in runs.items()]
    write_rows(out, rows)
    _print(name, preset, rows)
    write_report(runs, out / "index.html", title=f"{name}, {preset} preset", rows=rows)


def write_rows(out: Path, found: Any, name: str = "table.json") -> None:
    """The rows of a table, or whatever an item found, as JSON."""
    Folder.make(out).write(name, json.dumps(found, indent=2).encode() + b"\n")


def train_once(config: StrictConfig, directory: Path, train: Callable[..., Any] = train) -> None:
    """Train into the directory, unless that is done; go on if it was interrupted.

    Args:
      config: what to train.
      directory: of the run.
      train: of the family that the configuration belongs to.
    Raises:
      ConfigError: if the directory holds a run of another configuration.
    """
    if not (directory / "config.toml").exists():
        train(config, directory)
        return
    run = Run.open(directory)
    if run.config(type(config)) != config:
        raise ConfigError(
            f"{directory} holds a run of another configuration, which would be mixed into this "
            "table. Remove it, or choose another --out."
        )
    if not run.finished:
        train(config, directory, resume=True)


def _row(cell: str, directory: Path, paper: float | None) -> dict[str, Any]:
    run = Run.open(directory)
    result, config = run.result(), run.config(Config)
    return {
        "cell": cell,
        "paper_mean_l1": paper,
        "mean_l1": interval(result["mean_l1"]),
        "total_l1": interval(result["total_l1"]),
        "floor_l1": result["floor_l1"],
        "modes_found": statistics.median(result["modes_found"]),
        "modes_total": result["modes_total"],
        "trajectories": result["trajectories"],
        "to_0.15": _median_time(result["trajectories_to"]["0.15"]),
        "to_0.05": _median_time(result["trajectories_to"]["0.05"]),
        "seeds": config.seeds,
    }


def interval(values: Sequence[float]) -> dict[str, float]:
    """Median and range; of five seeds the range holds the true median with 94 % (1 - 2/2^5)."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def _median_time(reached: list[int | None]) -> float | None:
    """Median over seeds, where never is later than any time; None if it is never."""
    median = statistics.median(math.inf if n is None else n for n in reached)
    return None if math.isinf(median) else median


def _print(name: str, preset: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"{name}, {preset} preset: median \\[lowest, highest] over the seeds")
    headings = (
        "cell", "paper mean L1", "our mean L1", "our total L1", "floor", "modes",
        "trajectories", "to L1 .15", "to L1 .05", "seeds",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    show(table)


def show(table: Table) -> None:
    """Print a table, uncut where nobody looks at a terminal."""
    console = Console()
    if not console.is_terminal:  # a pipe has no width; rich would cut at 80
        console.width = Console(width=1000).measure(table).maximum
    console.print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    mean, total = row["mean_l1"], row["total_l1"]
    return [
        row["cell"],
        "" if row["paper_mean_l1"] is None else f"{row['paper_mean_l1']:.1e}",
        f"{mean['median']:.1e} [{mean['low']:.1e}, {mean['high']:.1e}]",
        f"{total['median']:.3f} [{total['low']:.3f}, {total['high']:.3f}]",
        "" if row["floor_l1"] is None else f"{row['floor_l1']:.3f}",
        f"{row['modes_found']:g}/{row['modes_total']}",
        f"{row['trajectories']:,}",
        *("never" if row[key] is None else f"{row[key]:,.0f}" for key in ("to_0.15", "to_0.05")),
        str(row["seeds"]),
    ]
