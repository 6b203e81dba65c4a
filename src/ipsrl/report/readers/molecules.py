"""Searches for molecules, and the training of a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from ipsrl.molecules.component import kinds_of_reasons
from ipsrl.report.readers.base import curves, cut_off, plain_view, settings, view
from ipsrl.report.readers.frequencies import frequencies
from ipsrl.report.routes import has_routes, routes
from ipsrl.report.view import Bars, Curve, Gallery, Part, Table, View, known
from ipsrl.runs import Folder, Parts, Run

MOLECULES = 10_000
"""Molecules that the gallery holds."""
DRAWN = 2_500
"""Number of the best molecules that are drawn; RDKit needs a millisecond or two for each."""
FAILED = 500
"""And so many of those without a value."""
WINDOWS = 60
SCAFFOLDS = 40
REASONS = 20
ROUTES = "routes"
"""Folder in a run that `ipsrl molecules route --out` may be given."""

_NUMBERS = {
    "calls": "calls",
    "hits": "hits",
    "ob100": "calls until 100 hits",
    "scaffolds": "scaffolds of the hits",
    "best": "best reward",
    "samples": "SMILES drawn",
    "invalid": "of these not molecules",
    "failed": "calls that failed",
    "timeouts": "calls out of time",
    "steps": "steps",
    "restored": "times the best agent was put back",
    "ended": "ended by",
}
"""What the page calls the numbers of a result."""
_CHARTS = {
    "hits": ("Hits", "molecules above the threshold", ""),
    "reward": ("Reward, raw", "mean of the batch", ""),
    "penalised": ("Reward, after the diversity filter", "mean of the batch", ""),
    "ips/reward": ("Reward, scaled", "mean of the batch", ""),
    "valid": ("Valid SMILES", "share of the batch", ""),
    "effective_outcomes": ("Effective outcomes", "of the batch", ""),
    "memory": ("Memory", "molecules", ""),
    "loss": ("Loss", "loss", ""),
}
_NO_COMPONENT = ("call", "step", "smiles", "scaffold", "status", "reason")


def read(run: Run, label: str, among: int = 1) -> View:
    """The view of a run, which may be going on, on a page of so many."""
    config = settings(run)
    if "components" not in config:
        return plain_view(run, label, among)  # of a prior
    rows = run.metrics()
    result = run.result() if run.finished else {}
    calls = _calls(run)
    names = [c.get("name") or c["kind"] for c in config["components"]]
    found, parts = curves(rows, "calls", _CHARTS), []
    if calls is not None:
        found += _components(calls, names)
        parts = _parts(calls, names, float(config["threshold"]), among)
    if has_routes(run.directory / ROUTES):
        parts.append(routes(run.directory / ROUTES, among=among))
    return view(
        run,
        label,
        title=f"{config.get('method')} from the prior {PurePath(str(config['prior'])).name}: "
        f"{', '.join(names)}",
        command="ipsrl train molecules",
        done=(rows[-1]["calls"] if rows else 0, config["budget"], "calls"),
        alarms=[
            *_alarms(result, rows),
            *cut_off(rows[-1]["calls"] if rows else 0, result.get("calls"), "calls"),
        ],
        summary=_summary(result, rows),
        curves=found,
        parts=parts,
    )


def _calls(run: Run) -> pa.Table | None:
    """All oracle calls up to the last checkpoint; None if there are none."""
    try:
        calls = Parts(run.files, "calls").read()
    except FileNotFoundError:  # the run has ended just now, and its parts became one table
        calls = Parts(Folder(run.directory), "calls").read()
    return calls if calls is not None and len(calls) else None


def _alarms(result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What went wrong so far."""
    counts = result or (rows[-1] if rows else {"calls": 0, "failed": 0, "timeouts": 0})
    failed, late = counts["failed"], counts["timeouts"]
    found = [
        f"{count:,} values of the component {name!r} are not in [0, 1], and were cut to it."
        for name, count in result.get("cut", {}).items()
    ]
    if lost := failed + late:
        found.insert(
            0,
            f"{lost:,} of {counts['calls']:,} oracle calls have no value ({failed:,} failed, "
            f"{late:,} ran out of time), and nothing was learned from them.",
        )
    return found


def _summary(result: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not result:
        return {key: rows[-1][key] for key in ("calls", "hits", "reward") if rows}
    return {name: result[key] for key, name in _NUMBERS.items()}


def _components(calls: pa.Table, names: list[str]) -> list[Curve]:
    """Mean raw value of each component by windows of calls; runs of any length share a chart."""
    windows = np.array_split(np.arange(len(calls)), min(len(calls), WINDOWS))
    ends = [int(window[-1]) + 1 for window in windows]
    found = []
    for name in names:
        values = calls[name].to_numpy().astype(float)
        means = []
        for window in windows:
            some = values[window][~np.isnan(values[window])]
            means.append(some.mean() if len(some) else np.nan)
        axes = f"Component: {name}", "calls", f"raw value, mean of a {WINDOWS}th of the calls"
        found.append(Curve(*axes, ends, [known(means)]))
    return found


def _parts(calls: pa.Table, names: list[str], threshold: float, among: int) -> list[Part]:
    parts: list[Part] = []
    if reasons := kinds_of_reasons(reason for reason in calls["reason"].to_pylist() if reason):
        most = dict(reasons.most_common(REASONS))
        note = "Reasons that differ after the kind of error are one. " * any(
            reason.endswith(": ...") for reason in most
        )
        if others := len(reasons) - len(most):
            most[f"others ({others:,})"] = reasons.total() - sum(most.values())
        title = "Calls without a value, by reason"
        parts.append(Bars(title, list(most), list(most.values()), note))
    scaffolds = calls["scaffold"].combine_chunks().dictionary_encode()
    texts, ids_R = scaffolds.dictionary.to_pylist(), scaffolds.indices.to_numpy()
    stack = frequencies(
        calls["call"].to_numpy(), ids_R, np.ones(len(ids_R), int),
        lambda one: texts[one] or "no ring", title="Scaffolds over the calls", x="calls",
    )  # fmt: skip
    parts.append(stack)
    return [*parts, _scaffolds(calls, threshold), _gallery(calls, names, among)]


def _scaffolds(calls: pa.Table, threshold: float) -> Table:
    hit = (calls["reward"].to_numpy() > threshold).astype(int)  # NaN, without a value, is not
    table = calls.select(["scaffold", "reward"]).append_column("hit", [hit])
    grouped = table.group_by("scaffold").aggregate(
        [("hit", "sum"), ("reward", "max"), ("scaffold", "count")]
    )
    grouped = grouped.sort_by([("hit_sum", "descending"), ("scaffold_count", "descending")])
    rows = [
        [row["scaffold"] or "no ring", row["hit_sum"], row["scaffold_count"], row["reward_max"]]
        for row in grouped.slice(0, SCAFFOLDS).to_pylist()
    ]
    note = f"{len(rows)} of {len(grouped):,}." if len(rows) < len(grouped) else ""
    return Table(
        "Scaffolds", ["scaffold", "hits", "molecules", "best reward"], rows, note, search=True
    )


def _gallery(calls: pa.Table, names: list[str], among: int) -> Gallery:
    from ipsrl.report.readers.drawing import packed

    best = calls.sort_by([("reward", "descending"), ("call", "ascending")]).slice(
        0, MOLECULES // among
    )
    columns = ["reward", *(["penalised"] if "penalised" in calls.column_names else []), *names]
    data = [best[name].to_pylist() for name in ("smiles", "scaffold", "status", "reason", "call")]
    data += [best[name].to_pylist() for name in columns]
    note = f"The best {len(best):,} of {len(calls):,} molecules. " if len(best) < len(calls) else ""
    smiles = best["smiles"].to_pylist()
    rewards = best["reward"].to_pylist()
    lost = [text for text, reward in zip(smiles, rewards, strict=True) if reward is None]
    most, of_lost = DRAWN // among, FAILED // among
    drawn = dict.fromkeys([*smiles[:most], *lost[:of_lost]])
    if len(drawn) < len(smiles):
        note += f"The best {most:,} are drawn, and {of_lost} of those without a value."
    return Gallery(
        "Molecules",
        ["call", *columns],
        list(map(list, zip(*data, strict=True))),
        packed(drawn),
        note,
    )
