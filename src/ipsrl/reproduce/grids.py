"""Tables of hyper-grids: Table 1 and Figure 1, and two of ours."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rich.table import Table

from ipsrl.config import shipped_configs
from ipsrl.grids import Config, train
from ipsrl.report.figures import of_grids
from ipsrl.report.page import write_page
from ipsrl.runs import Run
from ipsrl.sweep.results import interval, show, shown, train_once, write_rows


@dataclass(frozen=True)
class Cells:
    """One folder of configurations, one file per cell; called, it reproduces them as an item.

    Attributes:
      folder: below configs/.
      cells: glob of the files in it.
      paper: the paper's mean L1 by cell.
      quick: changes of the quick preset, by cell prefix.
    """

    folder: str
    cells: str = "*"
    paper: Mapping[str, float] = field(default_factory=dict)
    quick: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, name: str, preset: str, out: Path) -> None:
        """Train every cell, print the table, and write figures and a page to `out`."""
        files = {path.stem: path for path in shipped_configs(self.folder)}
        # The paper's rows first, in its order.
        order = [cell for cell in self.paper if cell in files]
        runs = {}
        for cell in [*order, *(cell for cell in files if cell not in order)]:
            if not fnmatch(cell, self.cells):
                continue
            config = Config.load(files[cell])
            if preset == "quick":
                for prefix, changes in self.quick.items():
                    if cell.startswith(prefix):
                        config = Config(**{**config.model_dump(), **changes})
            runs[cell] = out / cell
            train_once(config, runs[cell], train)
        rows = [_row(cell, run, self.paper.get(cell)) for cell, run in runs.items()]
        write_rows(out, rows)
        _print(name, preset, rows)
        write_page(
            out / "index.html", title=f"{name}, {preset} preset", figures=of_grids(runs),
            rows=rows, runs=runs,
        )  # fmt: skip


# Mean per-state L1.
_PAPER = {
    "2d-grpo": 2.8e-2,
    "2d-flowrl": 2.8e-2,
    "2d-ips-grpo": 3.0e-3,
    "4d-grpo": 5.2e-4,
    "4d-flowrl": 5.2e-4,
    "4d-ips-grpo": 3.7e-4,
}
TABLE_1 = Cells("hypergrid/table-1", paper=_PAPER, quick={"4d": {"iterations": 500, "seeds": 2}})
FIGURE_1 = Cells("hypergrid/table-1", cells="2d-*", paper=_PAPER)
GROUP_SIZE = Cells("hypergrid/group-size", quick={"": {"seeds": 2}})
CRITIC = Cells("hypergrid/critic", quick={"": {"seeds": 2}})
ESTIMATORS = Cells("hypergrid/estimators", quick={"": {"seeds": 2}})


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


def _median_time(reached: list[int | None]) -> float | None:
    """Median over seeds, where never is later than any time; None if it is never."""
    median = statistics.median(math.inf if n is None else n for n in reached)
    return None if math.isinf(median) else median


def _print(name: str, preset: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"{name}, {preset} preset: median [lowest, highest] over the seeds")
    headings = (
        "cell", "paper mean L1", "our mean L1", "our total L1", "floor", "modes",
        "trajectories", "to L1 .15", "to L1 .05", "seeds",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    show(table)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["cell"],
        "" if row["paper_mean_l1"] is None else f"{row['paper_mean_l1']:.1e}",
        shown(row["mean_l1"], ".1e"),
        shown(row["total_l1"], ".3f"),
        "" if row["floor_l1"] is None else f"{row['floor_l1']:.3f}",
        f"{row['modes_found']:g}/{row['modes_total']}",
        f"{row['trajectories']:,}",
        *("never" if row[key] is None else f"{row[key]:,.0f}" for key in ("to_0.15", "to_0.05")),
        str(row["seeds"]),
    ]
