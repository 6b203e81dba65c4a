"""Figures of hyper-grid runs, drawn from their run directories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ipsrl.config import StrictConfig
from ipsrl.runs import Run


class GridShape(StrictConfig, extra="ignore"):
    """The parts of a hyper-grid run's configuration that a figure needs."""

    dims: int = 2  # the lattice's, which has no such keys
    side: int = 8


def of_grids(runs: Mapping[str, Path]) -> dict[str, tuple[str, Figure]]:
    """Figures of runs on grids, by caption: end of the file name, and figure.

    Args:
      runs: finished run directories by label.
    """
    by_grid: dict[tuple[int, int], dict[str, Path]] = defaultdict(dict)
    for label, directory in runs.items():
        shape = Run.open(directory).config(GridShape)
        by_grid[shape.dims, shape.side][label] = directory
    figures = {}
    for (dims, side), members in by_grid.items():
        grid = "x".join([str(side)] * dims)
        figures[f"{grid}: distance to the target"] = f"{grid}-l1", learning_curves(members)
        if enumerable := {k: v for k, v in members.items() if Run.open(v).arrays()}:
            drawn = terminal_distributions(enumerable)
            figures[f"{grid}: terminal distributions"] = f"{grid}-terminal", drawn
    return figures


def terminal_distributions(runs: Mapping[str, Path]) -> Figure:
    """Where the policies end, beside the target (paper, Figure 1).

    Each panel is the seed with the median distance.  Grids of more than two dimensions show the
    marginal of the first two coordinates.

    Args:
      runs: run directories by label, all of the same grid.
    """
    panels = {}
    for label, directory in runs.items():
        run = Run.open(directory)
        shape, result, arrays = run.config(GridShape), run.result(), run.arrays()
        l1 = result["total_l1"]  # None of a seed that diverged, which stands last
        middle = int(np.argsort(np.array(l1, float))[(len(l1) - l1.count(None)) // 2])
        panels.setdefault("target", _plane(arrays["target"], shape))
        distance = f"total L1 {l1[middle]:.3f}"
        panels[f"{plain(label)}\n{distance}"] = _plane(arrays["terminal"][middle], shape)
    figure = Figure(figsize=(2.3 * len(panels) + 0.8, 2.9), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    # One scale for all, set by the target; a collapsed policy saturates it.
    top = 1.5 * panels["target"].max()
    for axis, (title, plane) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(plane, origin="lower", cmap="viridis", vmin=0, vmax=top)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.colorbar(image, ax=axes, label="probability", extend="max", shrink=0.8)
    return figure


def learning_curves(runs: Mapping[str, Path]) -> Figure:
    """Total L1 over trajectories: median over the seeds, their range, and the floor if known.

    Args:
      runs: run directories by label.
    """
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axis = figure.subplots()
    for label, directory in runs.items():
        run = Run.open(directory)
        floor = run.result()["floor_l1"]
        by_trajectories = defaultdict(list)
        for row in run.metrics():
            if row["total_l1"] is not None:  # not enumerable, or diverged
                by_trajectories[row["trajectories"]].append(row["total_l1"])
        if not by_trajectories:
            continue
        x = list(by_trajectories)
        middle, low, high = (
            [statistic(l1) for l1 in by_trajectories.values()]
            for statistic in (np.median, min, max)
        )
        (line,) = axis.plot(x, middle, label=plain(label))
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        if floor is not None:
            axis.axhline(floor, color=line.get_color(), linestyle=":", linewidth=1)
    axis.set_yscale("log")
    axis.set_xlabel("trajectories per seed")
    axis.set_ylabel("total L1 to the target")
    if axis.get_lines():
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(alpha=0.3)
    axis.set_title(
        "median and range over the seeds; dotted: floor of the group frequency", fontsize=9
    )
    return figure


def as_png(figure: Figure) -> bytes:
    """The figure as PNG, without a date, so that the same numbers give the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def plain(label: str) -> str:
    """A label shown literally: no formula between dollars, not hidden by its first underscore."""
    label = label.replace("$", r"\$")
    return label if label and not label.startswith("_") else " " + label


def _plane(p: np.ndarray, shape: GridShape) -> np.ndarray:
    """Marginal of the first two coordinates, as rows of an image."""
    cube = p.reshape((shape.side,) * shape.dims)
    if shape.dims == 1:
        return cube[None]
    return cube.sum(axis=tuple(range(2, shape.dims))).T
