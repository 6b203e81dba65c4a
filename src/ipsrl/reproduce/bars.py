"""Published figures on hyper-grids that a small machine can run again, and ours beside them."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ipsrl.config import shipped_configs
from ipsrl.core.metrics import total_l1
from ipsrl.grids import Config, train
from ipsrl.report.figures import of_grids
from ipsrl.report.page import write_page
from ipsrl.runs import Folder, Run
from ipsrl.sweep.results import interval, of_another, show, shown, train_once, write_rows


@dataclass(frozen=True)
class Bar:
    """A published figure for a grid.

    Attributes:
      says: their figures.
      samples: of which they computed a total L1; 0 for none.
    """

    says: str
    samples: int = 0


BARS = {
    "mips-8x8": Bar("L1 of 10,000 samples: MIPS .057, counts .226, GRPO 1.768", 10_000),
    "mips-64x64": Bar("L1 of 50,000 samples: MIPS .262, TB .270, counts 1.844, GRPO 1.966", 50_000),
    "torchgfn-8x2": Bar("L1 of 200,000 samples: TB .012 +- .015", 200_000),
    "torchgfn-16x2": Bar("L1 of 200,000 samples: TB .052 +- .05", 200_000),
    "torchgfn-8x4": Bar("L1 of 200,000 samples: TB .25 +- .35", 200_000),
    "torchgfn-16x4": Bar("L1 of 200,000 samples: TB .66 +- .55", 200_000),
    "sparse-8x6": Bar("all 64 modes within 100,000 trajectories (the aim)"),
    "sparse-8x8": Bar("5 modes (ours, before there were explorers)"),
    "deceptive-256x2": Bar("modes: PRT 2,165, teacher 2,453"),
    "deceptive-32x4": Bar("modes: TB 16.6, PER 47, PRT 120, teacher 247"),
    "ent-ppo-20x4": Bar("figures only", 200_000),
}
"""By the beginning of the names of cells; sources are in the configurations."""


def reproduce(name: str, preset: str, out: Path) -> None:
    """Train every cell, print the table, and write figures and a page to `out`."""
    folder, rows = Folder.make(out), []
    for path in shipped_configs("hypergrid/bars"):
        config = Config.load(path)
        if preset == "quick":
            if not path.stem.startswith("sparse-8x6"):
                continue
            config = Config(**{**config.model_dump(), "seeds": 2})
        rows.append(_recorded(folder, path.stem, config))
    write_rows(out, rows)
    title = f"{name}, {preset} preset"
    _print(f"{title}: median [lowest, highest] over the seeds", rows)
    runs = {row["cell"]: out / row["cell"] for row in rows if (out / row["cell"]).exists()}
    write_page(out / "index.html", title=title, figures=of_grids(runs), rows=rows, runs=runs)


def _recorded(folder: Folder, cell: str, config: Config) -> dict[str, Any]:
    """The row of a cell, from its record or by training.

    A record has a kilobyte and can be committed; then it stands for a run that is gone.
    """
    name = f"cells/{cell}.json"
    if name not in folder:
        train_once(config, folder.path / cell, train)
        made = {"of": config.model_dump(mode="json"), "row": _row(cell, folder.path / cell)}
        folder.write(name, json.dumps(made, indent=1).encode() + b"\n")
    found = json.loads((folder.path / name).read_bytes())
    # Compared as configurations: keys that have come since then count with their defaults.
    if Config(**found["of"]) != config:
        raise of_another(folder.path / name, "the result")
    return found["row"]


def _row(cell: str, directory: Path) -> dict[str, Any]:
    run = Run.open(directory)
    result, config = run.result(), run.config(Config)
    bar = BARS[max((start for start in BARS if cell.startswith(start)), key=len)]
    return {
        "cell": cell,
        "published": bar.says,
        "total_l1": None if None in result["total_l1"] else interval(result["total_l1"]),
        "of_samples": interval(_of_samples(run, bar.samples)) if bar.samples else None,
        "modes_visited": interval(result["modes_visited"]),
        "modes_total": result["modes_total"],
        "all_visited_at": _all_visited(run, config, result["modes_total"]),
        "trajectories": result["trajectories"],
        "seeds": config.seeds,
    }


def _of_samples(run: Run, samples: int) -> list[float]:
    """Total L1 of fresh samples, drawn from the exact distribution of each seed."""
    arrays, rng = run.arrays(), np.random.default_rng(0)
    shares = [
        rng.multinomial(samples, p / p.sum()) / samples for p in arrays["terminal"].astype(float)
    ]
    return [float(total_l1(share, arrays["target"].astype(float))) for share in shares]


def _all_visited(run: Run, config: Config, modes: int) -> float | None:
    """Median over the seeds of the trajectories until every mode was visited; None if never."""
    first = dict.fromkeys(range(config.seed, config.seed + config.seeds), math.inf)
    for row in run.metrics():
        if row["modes_visited"] == modes:
            first[row["seed"]] = min(first[row["seed"]], row["trajectories"])
    median = statistics.median(first.values())
    return None if math.isinf(median) else median


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    headings = ("cell", "published", "total L1", "of samples", "modes", "all at", "trajectories")
    for heading in (*headings, "seeds"):
        left = heading in ("cell", "published")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        at = row["all_visited_at"]
        table.add_row(
            row["cell"],
            row["published"],
            shown(row["total_l1"], ".3f"),
            shown(row["of_samples"], ".3f"),
            f"{shown(row['modes_visited'], ',.0f')} of {row['modes_total']:,}",
            "never" if at is None else f"{at:,.0f}",
            f"{row['trajectories']:,}",
            str(row["seeds"]),
        )
    show(table)
