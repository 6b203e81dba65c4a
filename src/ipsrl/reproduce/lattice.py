"""Figure 3: GRPO and IPS-GRPO on 35 and 7 paths, and variants in which GRPO ends elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ipsrl.config import shipped_configs
from ipsrl.grids import LatticeConfig, train
from ipsrl.report.lattice import figure_3, shares_of_a, variants
from ipsrl.report.page import write_page
from ipsrl.sweep.results import interval, show, shown, train_once, write_rows


def reproduce(name: str, preset: str, out: Path) -> None:
    """Train every variant, print where its seeds end, and draw the four panels to `out`."""
    runs = {}
    for path in shipped_configs("lattice/figure-3"):
        config = LatticeConfig.load(path)
        if preset == "quick":
            config = LatticeConfig(**{**config.model_dump(), "iterations": 1000})
        runs[path.stem] = out / path.stem
        train_once(config, runs[path.stem], train)
    rows = [_row(variant, run) for variant, run in runs.items()]
    write_rows(out, rows)
    table = Table(title=f"{name}, {preset} preset: share of A among A and B, over the seeds")
    for heading in ("variant", "median [lowest, highest]", ".4 to .6", "> .9", "< .1", "seeds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["variant"],
            shown(row["share_of_a"], ".3f"),
            *(str(row[key]) for key in ("balanced", "on_a", "on_b", "seeds")),
        )
    show(table)
    figures = {
        "GRPO and IPS-GRPO on 35 and 7 paths": (
            "figure-3",
            figure_3(runs["grpo"], runs["ips-grpo"]),
        ),
        "Every variant": ("variants", variants(runs)),
    }
    write_page(
        out / "index.html", title=f"{name}, {preset} preset", rows=rows, figures=figures, runs=runs
    )


def _row(name: str, directory: Path) -> dict[str, Any]:
    shares = shares_of_a(directory)
    return {
        "variant": name,
        "share_of_a": interval(shares),
        "balanced": sum(0.4 <= share <= 0.6 for share in shares),
        "on_a": sum(share > 0.9 for share in shares),
        "on_b": sum(share < 0.1 for share in shares),
        "seeds": len(shares),
    }
