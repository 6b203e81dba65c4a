"""Figure 3 of the paper: force fields of two policies on the lattice, and their outcomes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipsrl.report.readers.grids import ends, visited
from ipsrl.runs import Run


def figure_3(grpo: Path, ips: Path) -> Figure:
    """Four panels: the force field and the outcome probabilities of GRPO, and of IPS-GRPO.

    Args:
      grpo: finished run directory of a lattice.
      ips: another.
    """
    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplots(2, 2)
    # Lettered as in the paper.
    runs = {"GRPO": (grpo, "ad"), "IPS-GRPO": (ips, "bc")}
    for row, (name, (directory, letters)) in zip(panels, runs.items(), strict=True):
        run = Run.open(directory)
        shares = shares_of_a(directory)
        middle = int(np.argsort(shares)[len(shares) // 2])
        arrays = run.arrays()
        _force_field(row[0], arrays["policy"][middle], arrays["target"])
        row[0].set_title(f"({letters[0]}) {name}: policy of the median seed; numbers are paths")
        _frequencies(row[1], run)
        row[1].set_title(f"({letters[1]}) {name}: probability of A (35 paths) and B (7 paths)")
    return figure


def variants(runs: Mapping[str, Path]) -> Figure:
    """Share of A at the end of every seed of every run."""
    figure = Figure(figsize=(7, 0.4 * len(runs) + 1.2), layout="constrained")
    axis = figure.subplots()
    for height, directory in enumerate(runs.values()):
        shares = shares_of_a(directory)
        axis.plot(shares, [height] * len(shares), "o", alpha=0.5)
    axis.axvspan(0.4, 0.6, color="0.9", zorder=0)
    axis.set_yticks(range(len(runs)), list(runs))
    axis.set_xlim(-0.03, 1.03)
    axis.set_xlabel("P(A) / (P(A) + P(B)), one dot per seed")
    return figure


def shares_of_a(directory: Path) -> list[float]:
    """P(A) / (P(A) + P(B)) of each seed at the end, exactly."""
    rows = Run.open(directory).metrics()
    last = [row["mode_mass"] for row in rows if row["trajectories"] == rows[-1]["trajectories"]]
    return [a / (a + b) for a, b in last]


def _force_field(axis: Axes, policy_SA: np.ndarray, target_S: np.ndarray) -> None:
    side = math.isqrt(len(target_S))
    steps = side - 1
    cells = [(x, y) for x in range(side) for y in range(side - x)]
    visits = visited(policy_SA)
    walked = [(x, y) for x, y in cells if x + y < steps]
    x, y = np.array(walked).T
    arrows = policy_SA[x * side + y, :2]
    strength = np.sqrt(visits[x, y])  # the square root lets rare cells be seen
    axis.quiver(
        x, y, arrows[:, 0], arrows[:, 1], strength, cmap="Blues", clim=(-0.2, 1), angles="xy",
        scale_units="xy", scale=1.6, width=0.008,
    )  # fmt: skip
    for x, y in cells:
        axis.text(x - 0.12, y - 0.25, str(math.comb(x + y, x)), fontsize=7, color="0.5")
    for name, (x, y) in ends(target_S).items():
        axis.plot(x, y, "s", color="tab:orange" if name == "A" else "tab:green", markersize=11)
        axis.text(
            x + 0.2,
            y + 0.2,
            f"{name}, {math.comb(x + y, x)} paths: {visits[x, y]:.2f}",
            fontsize=11,
        )
    axis.set(xlim=(-0.5, side), ylim=(-0.5, side), xlabel="right", ylabel="up", aspect="equal")


def _frequencies(axis: Axes, run: Run) -> None:
    by_trajectories = defaultdict(list)
    for row in run.metrics():
        by_trajectories[row["trajectories"]].append(row["mode_mass"])
    mass = np.array(list(by_trajectories.values()))  # [evaluations, seeds, modes]
    for mode, (name, color) in enumerate({"A": "tab:orange", "B": "tab:green"}.items()):
        low, middle, high = np.quantile(mass[:, :, mode], (0, 0.5, 1), axis=-1)
        axis.plot(list(by_trajectories), middle, color=color, label=f"{name}, median")
        axis.fill_between(list(by_trajectories), low, high, color=color, alpha=0.2, linewidth=0)
    axis.set(ylim=(-0.02, 1.02), xlabel="trajectories per seed", ylabel="exact probability")
    axis.legend(frameon=False, title="band: all seeds")
