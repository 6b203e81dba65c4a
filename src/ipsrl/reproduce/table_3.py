"""Table 3: molecules that bind, look like drugs and can be made; REINVENT against IPS-GRPO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ipsrl.core.metrics import distinct_yield, oracle_burden
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.molecules.config import Config
from ipsrl.paths import below
from ipsrl.reproduce.molecules import (
    METHODS,
    Preset,
    burden,
    cells,
    hits_figures,
    records,
    write_table,
)
from ipsrl.sweep.results import interval

FOLDER = "molecules/table-3"
THRESHOLDS = (0.80, 0.85)
# The paper's yield and OB100: mean and standard deviation over 3 seeds.  Its outcome is not stated;
# of a group's SMILES, the words of section 5.3, is the literal reading.
LITERAL = "ips smiles group"
PAPER = {
    ("synth", 0.80, "reinvent"): ("5695 +- 173", "605 +- 41"),
    ("synth", 0.80, LITERAL): ("7371 +- 212", "554 +- 34"),
    ("synth", 0.85, "reinvent"): ("418 +- 78", "2934 +- 68"),
    ("synth", 0.85, LITERAL): ("1580 +- 58", "1178 +- 43"),
    ("all-amide", 0.80, "reinvent"): ("1 +- 1", "> 5000"),
    ("all-amide", 0.80, LITERAL): ("1478 +- 102", "773 +- 51"),
    ("all-amide", 0.85, "reinvent"): ("0", "> 5000"),
    ("all-amide", 0.85, LITERAL): ("20 +- 12", "> 5000"),
}
NOTE = (
    "The paper's columns are its mean and standard deviation over 3 seeds. Only the order of the "
    "methods can be compared with ours: on the docking engine, prior, stock of building blocks and "
    "reaction model depend the rewards that molecules get; the preset paper has its engine and "
    "model, the others have not."
)

_METHODS = {name: METHODS[name] for name in ("reinvent", LITERAL, "ips scaffold group")}
_TWO = {name: METHODS[name] for name in ("reinvent", LITERAL)}
PRESETS = {
    "quick": Preset(1, ("synth",), _TWO, {"budget": 64}),
    "cpu": Preset(3, ("synth", "all-amide"), _METHODS),
    "paper": Preset(3, ("paper-synth", "paper-all-amide"), _METHODS),
}


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every cell with every seed, print the table, draw the figures to `out`.

    Raises:
      MissingExtra: if a library of the search or of docking is not installed.
      InvalidInput: if the stock or the receptor is not there.
    """
    preset = PRESETS[preset_name]
    configs = cells(preset, FOLDER)
    check_files([seeds[0] for seeds in configs.values()])
    found = records(out, configs, at_thresholds)
    rows = [
        row(task, threshold, method, found[f"{task} {method}"])
        for task in preset.objectives for threshold in THRESHOLDS for method in preset.methods
    ]  # fmt: skip
    figures = hits_figures(preset, found)
    write_table(out, f"{name}, {preset_name} preset", rows, figures, NOTE)


def check_files(configs: Sequence[Config]) -> None:
    """Check that libraries and the files of the user are there, before any work is done."""
    from ipsrl.molecules import train  # noqa: F401 (which imports what a search needs)
    from ipsrl.molecules.docking.docking import check_libraries

    parts = [component for config in configs for component in config.components]
    files = [
        *(part.synthesis.stock for part in parts if part.synthesis),
        *(part.docking.receptor for part in parts if part.docking),
    ]
    for engine in {part.docking.engine for part in parts if part.docking}:
        check_libraries(engine)
    if missing := [name for name in dict.fromkeys(files) if not Path(name).is_file()]:
        raise InvalidInput(
            f"{' and '.join(below(Path.cwd(), missing))} not found in {Path.cwd()}. Make the "
            "receptor with `ipsrl molecules receptor 7UVU --out 7uvu`, and give a file of "
            "purchasable SMILES the name of the stock (docs/molecules.md, Table 3)."
        )


def at_thresholds(folder: Path, _: Config) -> dict[str, Any]:
    """Yield, Murcko scaffolds of these hits, and OB100, at each threshold of the table."""
    calls = pq.read_table(folder / "calls.parquet", columns=["reward", "scaffold"]).to_pydict()
    rewards = np.array([np.nan if reward is None else reward for reward in calls["reward"]])
    ids, scaffolds = np.arange(len(rewards)), outcome_ids(calls["scaffold"])
    return {
        "yield": {f"{t:.2f}": distinct_yield(rewards, ids, threshold=t) for t in THRESHOLDS},
        "yield_scaffolds": {
            f"{t:.2f}": distinct_yield(rewards, scaffolds, threshold=t) for t in THRESHOLDS
        },
        "burden": {f"{t:.2f}": oracle_burden(rewards, ids, threshold=t) for t in THRESHOLDS},
    }


def row(task: str, threshold: float, method: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The results over the seeds, beside the paper's."""
    key = f"{threshold:.2f}"
    theirs = PAPER.get((task.removeprefix("paper-"), threshold, method), ("", ""))
    calls = max(one["calls"] for one in records)
    return {
        "cell": f"{task} {key} {method}",
        "yield": interval([one["yield"][key] for one in records]),
        "paper yield": theirs[0],
        "ob100": burden([one["burden"][key] for one in records], calls),
        "paper ob100": theirs[1],
        "scaffolds": interval([one["yield_scaffolds"][key] for one in records]),
        "failed": interval([one["failed"] for one in records]),
        "calls": calls,
        "seeds": len(records),
    }
