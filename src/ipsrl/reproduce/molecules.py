"""The ablation that Table 3 lacks: which outcome makes IPS act on molecules?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from rich.table import Table

from ipsrl.config import shipped_configs
from ipsrl.core.metrics import effective_outcomes
from ipsrl.errors import RunError
from ipsrl.molecules.config import Config
from ipsrl.paths import below
from ipsrl.report.molecules import curve, hits_by_calls
from ipsrl.report.page import write_page
from ipsrl.reproduce.records import add_record, read_records
from ipsrl.runs import Folder, Run, differences
from ipsrl.sweep.results import interval, show, shown, train_once, write_rows

Methods = Mapping[str, Mapping[str, str | float | bool]]
"""Keys of a configuration that choose a method, by the name that a table has for it."""


def ips(outcome: str, estimator: str = "group") -> dict[str, str]:
    """Keys of IPS-GRPO by this outcome."""
    return {"method": "ips-grpo", "outcome": outcome, "estimator": estimator}


METHODS: Methods = {
    **{name: {"method": name} for name in ("reinvent", "grpo", "flowrl")},
    **{
        f"ips {outcome} {estimator}": ips(outcome, estimator)
        for estimator in ("group", "replay")
        for outcome in ("smiles", "scaffold", "generic-scaffold")
    },
    "ips smiles likelihood": ips("smiles", "likelihood"),
    "ips similarity kernel": ips("similarity", "kernel"),
    "ips nearest-drug group": ips(f"{__name__}:nearest_drug"),
}


@dataclass(frozen=True)
class Preset:
    """How much is run.

    Attributes:
      seeds: of every cell.
      objectives: files of a folder below configs/.
      methods: what is compared.
      changes: to every configuration.
    """

    seeds: int
    objectives: tuple[str, ...] = ("qed-band", "four-drugs")
    methods: Methods = field(default_factory=lambda: METHODS)
    changes: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "quick": Preset(
        1, ("qed-band",),
        {name: METHODS[name] for name in ("reinvent", "ips scaffold group")}, {"budget": 640},
    ),
    "cpu": Preset(5),
}  # fmt: skip


def nearest_drug(smiles: list[str]) -> list[int]:
    """Outcome: the most similar reference of four-drugs, which is a mode of that objective."""
    return nearest_of(smiles, "four-drugs")


def nearest_of(smiles: list[str], objective: str) -> list[int]:
    """The reference of an objective that each molecule is most similar to."""
    from ipsrl.molecules.molecule import similarities

    return similarities(smiles, drugs(objective)).argmax(1).tolist()


@cache
def drugs(objective: str) -> list[str]:
    """The molecules that an objective of one similarity names."""
    (file,) = (path for path in shipped_configs("molecules/keys") if path.stem == objective)
    (component,) = Config.load(file).components
    return component.smiles


def cells(preset: Preset, folder: str = "molecules/keys") -> dict[str, list[Config]]:
    """Configurations by cell, one for each seed."""
    files = {path.stem: path for path in shipped_configs(folder)}
    found = {}
    for objective in preset.objectives:
        # The files that Table 3 needs are the user's, so they lie where the command is given.
        base = Config.load(files[objective], Path.cwd()).model_dump(exclude_unset=True)
        for method, keys in preset.methods.items():
            settings = {**base, **keys, **preset.changes}
            found[f"{objective} {method}"] = [
                Config(**{**settings, "seed": seed}) for seed in range(preset.seeds)
            ]
    return found


def directory(out: Path, cell: str, seed: int) -> Path:
    """The directory of one run."""
    return out / cell.replace(" ", "-") / f"seed-{seed}"


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every cell with every seed, print the table, draw the figures to `out`."""
    preset = PRESETS[preset_name]
    found = records(out, cells(preset), modes)
    rows = [row(cell, records) for cell, records in found.items()]
    figures = hits_figures(preset, found)
    write_table(out, f"{name}, {preset_name} preset", rows, figures)


def hits_figures(
    preset: Preset, found: dict[str, list[dict[str, Any]]]
) -> dict[str, tuple[str, Figure]]:
    """Hits by oracle calls for each objective: end of the file name, figure, caption."""
    return {
        f"{objective}: hits by oracle calls": (
            f"{objective}-hits",
            hits_by_calls(
                {
                    method: [one["curve"] for one in found[f"{objective} {method}"]]
                    for method in preset.methods
                }
            ),
        )
        for objective in preset.objectives
    }


def write_table(
    out: Path,
    title: str,
    rows: list[dict[str, Any]],
    figures: dict[str, tuple[str, Figure]],
    note: str = "",
) -> None:
    """Print the rows and the note, and write them and the figures to `out`."""
    write_rows(out, rows)
    table = Table(title=f"{title}: median [lowest, highest]", caption=note)
    for heading in rows[0]:
        first = heading == "cell"
        table.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for line in rows:
        table.add_row(*(_shown(value) for value in line.values()))
    show(table)
    write_page(out / "index.html", title=title, figures=figures, rows=rows, note=note)


def records(
    out: Path, configs: dict[str, list[Config]], measure: Callable[[Path, Config], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The `record` of every cell and seed, a whole table of one seed first."""
    Folder.make(out)  # before runs fill it, so that it keeps a list of what is ours
    found: dict[str, list[dict[str, Any]]] = {cell: [] for cell in configs}
    for seed in range(max(map(len, configs.values()))):
        for cell, seeds in configs.items():
            found[cell].append(record(out, cell, seeds[seed], measure))
    return found


def record(
    out: Path, cell: str, config: Config, measure: Callable[[Path, Config], dict[str, Any]]
) -> dict[str, Any]:
    """The record of one run for the table, from `out`/records.jsonl or by running it.

    Args:
      out: of the table.
      cell: the name of the run's cell.
      config: of the run.
      measure: more that the table needs of a run directory.
    Raises:
      RunError: for a line that is not a record, or a run of other files or versions.
    """
    from ipsrl.molecules import train
    from ipsrl.molecules.scoring.inputs import inputs

    def check(place: str, environment: dict[str, Any]) -> None:
        if changed := differences(_here(environment.get("inputs", {})), _here(inputs(config))):
            raise RunError(
                f"{place} was measured with other files or versions ({changed}), and cannot stand "
                "in one table with what is measured now. Remove it, or choose another --out."
            )

    file = out / "records.jsonl"  # which may come from elsewhere, to be continued
    for number, known in enumerate(read_records(file), 1):
        # Compared as configurations: keys that have come since then count with their defaults.
        if Config(**known["config"]) == config:
            check(f"line {number} of {file}", known.get("environment", {}))
            return known
    folder = directory(out, cell, config.seed)
    train_once(config, folder, train)
    run = Run.open(folder)
    check(str(folder), run.environment())
    result, environment = run.result(), run.environment()
    made = {
        "cell": cell,
        "seed": config.seed,
        "config": below(Path.cwd(), config.model_dump()),
        "environment": {**environment, "inputs": _here(environment["inputs"])},
        **{name: result[name] for name in ("calls", "hits", "ob100", "scaffolds")},
        "failed": result["failed"] + result.get("timeouts", 0),
        "valid": 1 - result["invalid"] / result["samples"],
        "effective_outcomes": float(
            np.mean([line["effective_outcomes"] for line in run.metrics()])
        ),
        "curve": [*curve(folder)],  # lists, as JSON will have them
        **measure(folder, config),
    }
    add_record(file, made)
    return made


def _here(inputs: dict[str, str]) -> dict[str, str]:
    """Digests of files, by their names in the working directory."""
    return {below(Path.cwd(), name): digest for name, digest in inputs.items()}


def row(cell: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a cell over the seeds."""
    calls = max(one["calls"] for one in records)
    return {
        "cell": cell,
        "hits": interval([one["hits"] for one in records]),
        "ob100": burden([one["ob100"] for one in records], calls),
        "scaffolds": interval([one["scaffolds"] for one in records]),
        "modes": interval([one["modes"] for one in records]),
        "effective modes at the end": interval([one["effective_modes"][-1] for one in records]),
        "valid %": interval([100 * one["valid"] for one in records]),
        "effective outcomes, by its own key": interval(
            [one["effective_outcomes"] for one in records]
        ),
        "calls": calls,
        "seeds": len(records),
    }


def burden(ob100: list[int | None], calls: int) -> str:
    """OB100 over the seeds; more than `calls` for seeds that did not bring 100 hits."""
    found = sorted(math.inf if one is None else one for one in ob100)
    median, low, high = (
        f"> {calls:,}" if math.isinf(one) else f"{one:,.0f}"
        for one in (statistics.median(found), found[0], found[-1])
    )
    return f"{median} [{low}, {high}]"


def modes(folder: Path, config: Config) -> dict[str, Any]:
    """The results for each mode: the molecules most similar to one of the references.

    Returns:
      hits of each reference, how many have hits, and effective modes: exp of the entropy of the
      shares of reward, for each fifth of the calls.
    """
    from ipsrl.molecules.molecule import similarities

    references = [text for component in config.components for text in component.smiles]
    calls = pq.read_table(folder / "calls.parquet", columns=["smiles", "reward"]).to_pylist()
    rewards = np.array([call["reward"] or 0.0 for call in calls])
    nearest = similarities([call["smiles"] for call in calls], references).argmax(1)

    def by_reference(values: np.ndarray, of: np.ndarray) -> np.ndarray:
        return np.bincount(of, weights=values, minlength=len(references))

    hits = by_reference(rewards > config.threshold, nearest)
    fifths = zip(np.array_split(rewards, 5), np.array_split(nearest, 5), strict=True)
    earned = [by_reference(values, of) for values, of in fifths]
    return {
        "hits_by_mode": hits.astype(int).tolist(),
        "modes": int((hits > 0).sum()),
        "effective_modes": [
            float(effective_outcomes(one / one.sum())) if one.any() else 0.0 for one in earned
        ],
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return shown(value)
    return f"{value:,}" if isinstance(value, int) else value
