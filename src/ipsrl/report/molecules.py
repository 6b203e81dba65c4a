"""Figures of molecules: hits over oracle calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ipsrl.report.figures import plain
from ipsrl.runs import Run

Curve = tuple[list[int], list[int]]
"""Oracle calls after each step of a search, and the hits by then."""


def curve(folder: Path) -> Curve:
    """The curve of a run directory of `ipsrl train molecules`."""
    rows = Run.open(folder).metrics()
    return [row["calls"] for row in rows], [row["hits"] for row in rows]


def hits_by_calls(curves: Mapping[str, Sequence[Curve]]) -> Figure:
    """Distinct hits by oracle calls: the median over the seeds, and their range.

    Args:
      curves: one for each seed, by label.
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    for label, seeds in curves.items():
        grid = np.linspace(0, min(calls[-1] for calls, _ in seeds), 200)
        hits = [np.interp(grid, [0, *calls], [0, *found]) for calls, found in seeds]
        (line,) = axis.plot(grid, np.median(hits, axis=0), label=plain(label))
        low, high = np.min(hits, axis=0), np.max(hits, axis=0)
        axis.fill_between(grid, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axis.set(xlabel="oracle calls", ylabel="distinct molecules above the threshold")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    return figure
