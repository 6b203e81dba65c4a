"""Several runs side by side: charts of all their curves, what differs in their configurations.

Runs that differ in the seed alone are one line: the median of their seeds, and the range.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipsrl.report.view import Curve, Number, Table, View, known

_SEED = re.compile(r"[/_.\- ]*seed[/_.\- ]*\d+$")
_OF_ONE_RUN = ("seed", "dataset")  # the data set of HypoSpace lies in the run


@dataclass(frozen=True)
class Line:
    """Median over the seeds; low and high are their range, and empty for one seed."""

    name: str
    xs: Sequence[Number]
    ys: Sequence[Number]
    low: Sequence[Number]
    high: Sequence[Number]
    seeds: int
    reference: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines of several runs on the same axes."""

    title: str
    x: str
    y: str
    log: str
    lines: Sequence[Line]


def groups(views: Sequence[View]) -> dict[str, list[View]]:
    """Views by what they are called together: those that differ in the seed alone are one."""
    alike: dict[Any, list[View]] = defaultdict(list)
    for one in views:
        kept = [pair for pair in one.config.items() if pair[0] not in _OF_ONE_RUN]
        alike[one.family, _SEED.sub("", one.label), tuple(kept)].append(one)
    named = {}
    for (_, short, _), members in alike.items():
        name = short if len(members) > 1 and short not in named else members[0].label
        named[name] = members
    return named


def charts(views: Sequence[View]) -> list[Chart]:
    """A chart for each name of one, with the lines of all runs that have it."""
    by_chart: dict[tuple[str, str, str, str], list[Line]] = {}
    together = groups(views)
    for label, members in together.items():
        by_line: dict[tuple[Any, ...], list[Curve]] = defaultdict(list)
        for member in members:
            for curve in member.curves:
                axes = curve.chart, curve.x, curve.y, curve.log
                by_line[*axes, curve.name].append(curve)
        for (*axes, name), curves in by_line.items():
            lines = by_chart.setdefault(tuple(axes), [])
            if not curves[0].reference:
                shown = ", ".join(filter(None, (label if len(together) > 1 else "", name)))
                lines.append(_line(shown or "this run", curves))
            elif not any(line.name == name for line in lines):
                first = curves[0]
                lines.append(Line(name, first.xs, first.ys_ST[0], [], [], 1, reference=True))
    return [Chart(*axes, lines) for axes, lines in by_chart.items()]


def _line(name: str, curves: Sequence[Curve]) -> Line:
    """Seeds of all curves, at the x that all of them have."""
    xs = [x for x in curves[0].xs if all(x in set(curve.xs) for curve in curves[1:])]
    rows = []
    for curve in curves:
        place = {x: t for t, x in enumerate(curve.xs)}
        rows += [[ys[place[x]] for x in xs] for ys in curve.ys_ST]
    if len(rows) == 1:
        return Line(name, xs, rows[0], [], [], 1)
    values = np.array(rows, float)  # None becomes NaN
    some = ~np.isnan(values).all(axis=0)
    middle, low, high = (np.full(len(xs), np.nan) for _ in range(3))
    middle[some] = np.nanmedian(values[:, some], axis=0)
    low[some], high[some] = np.nanmin(values[:, some], axis=0), np.nanmax(values[:, some], axis=0)
    return Line(name, xs, known(middle), known(low), known(high), len(rows))


def differing(views: Sequence[View]) -> list[str]:
    """Keys of the configurations that are not the same in all runs that have them or not."""
    keys = dict.fromkeys(key for one in views for key in one.config)
    return [key for key in keys if len({one.config.get(key) for one in views}) > 1]


def overview(views: Sequence[View]) -> Table:
    """A row for each run: its state, what differs, its numbers."""
    keys = [key for key in differing(views) if key not in _OF_ONE_RUN[1:]]
    numbers = list(dict.fromkeys(key for one in views for key in one.summary))
    rows = []
    for one in views:
        state = f"{one.state}{f', {one.progress}' if one.state == 'running' else ''}"
        values = [interval(one.summary.get(key)) for key in numbers]
        rows.append([one.label, state, *(one.config.get(key) for key in keys), *values])
    note = "Median [lowest, highest] over the seeds." if _has_seeds(views) else ""
    return Table("Runs", ["run", "state", *keys, *numbers], rows, note)


def _has_seeds(views: Sequence[View]) -> bool:
    return any(isinstance(value, list) for one in views for value in one.summary.values())


def interval(value: Any) -> Any:
    """The values of seeds as median, low and high; others as they are."""
    if not isinstance(value, list):
        return value
    found = [each for each in value if each is not None]
    if not found:
        return None
    if len(found) < len(value):  # never, for some
        return f"{statistics.median(found):.4g} in {len(found)} of {len(value)}"
    return {"median": statistics.median(found), "low": min(found), "high": max(found)}
