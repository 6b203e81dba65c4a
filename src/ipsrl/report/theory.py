"""Figures of the theorems, from the arrays that `ipsrl reproduce theory` saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import load_file

# Corners of the simplex in the plane: outcomes 1, 2, 3.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])


def log_ratio_slopes(path: Path) -> Figure:
    """d/dt log(p_i / p_j) of the integrated flow (lines) and of the theorem (dots)."""
    arrays = load_file(path)
    names = sorted({key.split("/")[0] for key in arrays if "/measured/" in key})
    figure = Figure(figsize=(5 * len(names), 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for pair in ("01", "02", "12"):
            i, j = int(pair[0]) + 1, int(pair[1]) + 1
            measured = arrays[f"{name}/measured/{pair}"]
            predicted = arrays[f"{name}/predicted/{pair}"]
            (line,) = axis.plot(arrays["times"][1:], measured[1:], label=f"log p{i}/p{j}")
            axis.plot(arrays["times"][1::25], predicted[1::25], "o", color=line.get_color())
        axis.set(xscale="log", xlabel="time", ylabel="slope", title=_title(name))
        axis.axhline(0, color="0.8", zorder=0)
        axis.legend(frameon=False, title="line: integrated, dots: theorem")
    return figure


def simplex_trajectories(path: Path) -> Figure:
    """Paths of p over three outcomes from a ring of starts; a cross marks the closed-form end."""
    arrays = load_file(path)
    names = sorted(key.removesuffix("/p") for key in arrays if key.endswith("/p"))
    figure = Figure(figsize=(3.2 * len(names), 3.4), layout="constrained")
    target = arrays["rewards"] / arrays["rewards"].sum()
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _triangle(axis, arrays["rewards"])
        for p in arrays[f"{name}/p"]:
            x, y = (p @ CORNERS).T
            axis.plot(x, y, color="tab:blue", linewidth=0.9)
            axis.plot(x[-1], y[-1], ".", color="tab:blue")
        axis.plot(*(target @ CORNERS), "o", mfc="none", color="tab:red", label="r / R")
        if f"{name}/end" in arrays:
            axis.plot(*(arrays[f"{name}/end"] @ CORNERS), "kx", label="closed-form end")
        axis.set_title(_title(name), fontsize=9)
        axis.legend(frameon=False, fontsize=7, loc="upper right")
    return figure


def finite_group_floor(path: Path, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Predicted floor over G and over eps, with what trained policies reached.

    Args:
      path: predicted curves.
      rows: trained cells with group_size, eps, and total_l1 as median, low and high.
    """
    arrays = load_file(path)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axis, key, label, other in (
        (panels[0], "group_size", "group size G (eps = 0)", "eps"),
        (panels[1], "eps", "clip eps (G = 256)", "group_size"),
    ):
        axis.plot(arrays[key], arrays[f"floor_of_{key}"], label="closed form")
        rest = 0 if other == "eps" else 256
        cells = [row for row in rows if row[other] == rest and row[key] > 0]
        l1 = [row["total_l1"] for row in cells]
        middle = np.array([value["median"] for value in l1])
        spread = [
            middle - [value["low"] for value in l1],
            [value["high"] for value in l1] - middle,
        ]
        axis.errorbar([row[key] for row in cells], middle, spread, fmt="o", label="trained, range")
        axis.set(xscale="log", xlabel=label, ylabel="total L1 on 8x8")
        axis.legend(frameon=False)
    return figure


def ties_and_drift(path: Path) -> Figure:
    """Effective outcomes over time: equal rewards above, where noise counts time, unequal below.

    Args:
      path: paths by panel ("GRPO, equal"), then by line: of a group size and step, or a prediction.
    """
    arrays = load_file(path)
    panels = sorted({key.split("/")[0] for key in arrays}, key=lambda name: name.split(", ")[::-1])
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axis, panel in zip(figure.subplots(2, 2, sharey=True).flat, panels, strict=True):
        names = sorted({key.split("/")[1] for key in arrays if key.startswith(f"{panel}/")})
        predicted = [name for name in names if not name.startswith("G = ")]
        styles = dict(zip(predicted, ("k--", "k:"), strict=False))
        for name in names:
            x, y = arrays[f"{panel}/{name}/time"], arrays[f"{panel}/{name}/effective"]
            axis.plot(x, y, styles.get(name, "-"), label=name, linewidth=1.2)
        noise = panel.endswith(", equal")
        axis.set(
            title=f"{panel} rewards",
            xlabel="steps x noise of a step / outcomes" if noise else "steps x lr",
            ylabel="effective outcomes of 8",
            ylim=(0, 8.5),
        )
        axis.legend(frameon=False, fontsize=8)
    return figure


def _title(name: str) -> str:
    """Label of a flow without its number."""
    return name.split(": ", 1)[-1]


def _triangle(axis: Axes, rewards: np.ndarray) -> None:
    outline = CORNERS[[0, 1, 2, 0]]
    axis.plot(outline[:, 0], outline[:, 1], color="0.7", linewidth=1)
    for (x, y), reward in zip(CORNERS, rewards, strict=True):
        axis.text(x, y + (0.04 if y > 0 else -0.09), f"r = {reward:g}", ha="center", fontsize=8)
    axis.set(aspect="equal", xlim=(-0.15, 1.15), ylim=(-0.15, 1.0))
    axis.axis("off")
