"""Several runs side by side: charts of all their curves, what differs in their configurations.

Runs that differ in the seed alone are one line: the median of their seeds, and the range.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipsrl.report.readers.base import WRITTEN, thinned
from ipsrl.report.view import Curve, Number, Table, View, known

POINTS = 10_000
"""Points of all lines of a chart; but a line has 50."""

_SEED = re.compile(r"[/_.,\- ]*seed[/_.=\- ]*\d+$")
_OF_ONE_RUN = ("seed", "dataset")  # the data set of HypoSpace lies in the run


@dataclass(frozen=True)
class Line:
    """A curve of runs: median over the seeds; low and high are their range, empty for one seed.

    Attributes:
      run: what the runs are called together; "" for what they are compared with.
      name: which of several lines of a run it is.
    """

    run: str
    name: str
    xs: Sequence[Number]
    ys: Sequence[Number]
    low: Sequence[Number]
    high: Sequence[Number]
    seeds: int


@dataclass(frozen=True)
class Chart:
    """Lines of several runs on the same axes; without lines, those axes."""

    family: str
    title: str
    x: str
    y: str
    log: str
    lines: Sequence[Line] = ()


def groups(views: Sequence[View]) -> dict[str, list[View]]:
    """Views by what they are called together: those that differ in the seed alone are one."""
    alike: dict[Any, list[View]] = defaultdict(list)
    for one in views:
        kept = [pair for pair in one.config.items() if pair[0] not in _OF_ONE_RUN]
        alike[one.family, _SEED.sub("", one.label), tuple(kept)].append(one)
    labels = Counter(one.label for one in views)
    named = {}
    for (_, short, _), members in alike.items():
        taken = short in named or labels[short] > sum(one.label == short for one in members)
        named[members[0].label if taken or len(members) == 1 else short] = members
    return named


def charts(views: Sequence[View]) -> list[Chart]:
    """A chart for each name of one, with the lines of all runs that have it, family by family.

    A chart that the first runs lack stands behind the one that it follows in a later run.
    """
    found: dict[Chart, list[Line]] = {}
    order: list[Chart] = []
    for label, members in groups(views).items():
        by_line: dict[tuple[Chart, str], list[Curve]] = defaultdict(list)
        for member in members:
            for curve in member.curves:
                axes = Chart(member.family, curve.chart, curve.x, curve.y, curve.log)
                by_line[axes, curve.name].append(curve)
        place = len(order)
        for (axes, name), curves in by_line.items():
            if axes not in found:
                order.insert(place, axes)
            place = order.index(axes) + 1
            lines, first = found.setdefault(axes, []), curves[0]
            if not first.reference:
                lines.append(_line(label, name, curves))
            elif not any(line.name == name for line in lines):
                lines.append(Line("", name, first.xs, first.ys_ST[0], [], [], 1))
    families = list(dict.fromkeys(axes.family for axes in order))
    order.sort(key=lambda axes: families.index(axes.family))
    return [replace(axes, lines=_fitting(found[axes])) for axes in order]


def _fitting(lines: Sequence[Line]) -> list[Line]:
    """The lines of a chart, with so many points that a page of many runs stays small."""
    found = []
    for line in lines:
        kept = thinned(len(line.xs), max(50, POINTS // len(lines)))
        xs, ys, low, high = (
            [values[i] for i in kept] if values else []
            for values in (line.xs, line.ys, line.low, line.high)
        )
        found.append(replace(line, xs=xs, ys=ys, low=low, high=high))
    return found


def _line(run: str, name: str, curves: Sequence[Curve]) -> Line:
    """Seeds of all curves, at the x of the longest; a shorter one counts as far as it goes."""
    xs = max((curve.xs for curve in curves), key=len)
    rows = [ys for curve in curves for ys in _at(xs, curve)]
    if len(rows) == 1:
        return Line(run, name, xs, rows[0], [], [], 1)
    values = np.array(rows, float)  # None becomes NaN
    some = ~np.isnan(values).all(axis=0)
    middle, low, high = (np.full(len(xs), np.nan) for _ in range(3))
    middle[some] = np.nanmedian(values[:, some], axis=0)
    low[some], high[some] = np.nanmin(values[:, some], axis=0), np.nanmax(values[:, some], axis=0)
    return Line(run, name, xs, known(middle), known(low), known(high), len(rows))


def _at(xs: Sequence[Number], curve: Curve) -> Sequence[Sequence[Number]]:
    """The values of a curve at other x: between two of its own on the line that joins them."""
    if xs == curve.xs:
        return curve.ys_ST
    own, wanted = np.array(curve.xs, float), np.array(xs, float)
    rows = np.array(curve.ys_ST, float)
    return [known(np.interp(wanted, own, ys, left=np.nan, right=np.nan)) for ys in rows]


def differing(views: Sequence[View]) -> list[str]:
    """Keys that have several values in the configurations of one family.

    A key that only some runs have, and with one value, goes with the method, and is left out.
    """
    keys = dict.fromkeys(key for one in views for key in one.config)
    families = {one.family for one in views}
    return [
        key
        for key in keys
        if any(
            len({v.config[key] for v in views if v.family == family and key in v.config}) > 1
            for family in families
        )
    ]


def overview(views: Sequence[View]) -> list[Table]:
    """For each family what its runs found, a row for each, and what differs in what they were."""
    tables = []
    families = list(dict.fromkeys(one.family for one in views))
    for family in families:
        members = [one for one in views if one.family == family]
        of = f", {family}" if len(families) > 1 else ""
        numbers = list(dict.fromkeys(key for one in members for key in one.summary))
        seeds = any(isinstance(value, list) for one in members for value in one.summary.values())
        note = "Median [lowest, highest] over the seeds." if seeds else ""
        found = [
            [one.label, _state(one), *(interval(one.summary.get(key)) for key in numbers),
             one.about.get(WRITTEN, "")]
            for one in members
        ]  # fmt: skip
        tables.append(Table(f"Runs{of}", ["run", "state", *numbers, WRITTEN], found, note))
        if keys := [key for key in differing(members) if key != "dataset"]:
            settings = [[one.label, *(one.config.get(key) for key in keys)] for one in members]
            title = f"What differs in the configuration{of}"
            tables.append(Table(title, ["run", *keys], settings))
    return tables


def _state(one: View) -> str:
    return f"{one.state}, {one.progress}" if one.progress else one.state


def alike(views: Sequence[View]) -> dict[str, str]:
    """What is told of all runs and is the same for them, such as their versions."""
    told = [one.about for one in views if one.about]
    return {
        key: value
        for key, value in (told[0] if told else {}).items()
        if all(other.get(key) == value for other in told)
    }


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
