"""Figure of a diagnosis, from the JSON file that `ipsrl diagnose` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipsrl.errors import RunError
from ipsrl.report.figures import as_png, plain
from ipsrl.runs import Folder


def collapse_figure(path: Path) -> Figure:
    """Effective outcomes and reward over steps, shares of the top outcomes, and coverage.

    Args:
      path: diagnosis.json.
    Raises:
      RunError: if the file is not a diagnosis.
    """
    try:
        diagnosis = json.loads(path.read_bytes())
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        over_steps, over_windows, over_samples = figure.subplots(1, 3)
        _over_steps(over_steps, diagnosis)
        _top_outcomes(over_windows, diagnosis)
        _coverage(over_samples, diagnosis)
        figure.suptitle(diagnosis["verdict"], fontsize=10)
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError
    ) as error:  # fmt: skip
        raise RunError(
            f"{path} is not a diagnosis ({type(error).__name__}: {error}). "
            "Write it with: ipsrl diagnose FILE --out DIRECTORY."
        ) from None
    return figure


def write_figure(diagnosis: str, out: Path) -> None:
    """Write diagnosis.json and, drawn from it, diagnosis.png.

    Args:
      diagnosis: the JSON.
      out: directory, made if needed.
    Raises:
      RunError: if it cannot be written.
    """
    folder = Folder.make(out)
    try:
        folder.claim("diagnosis.json", "diagnosis.png")
        folder.write("diagnosis.json", diagnosis.encode())
        folder.write("diagnosis.png", as_png(collapse_figure(out / "diagnosis.json")))
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error}). Choose another --out.") from None


def _over_steps(axis: Axes, diagnosis: dict[str, Any]) -> None:
    steps = np.array(diagnosis["steps"], float)  # whole numbers may have more than 64 bits
    effective = np.array(diagnosis["effective"], float)  # None becomes NaN: a gap in the line
    axis.plot(steps, effective, color="tab:blue")
    axis.set_xlabel("step")
    axis.set_ylabel("effective outcomes per group", color="tab:blue")
    axis.set_ylim(bottom=0)
    if diagnosis["collapsed_at"] is not None:
        axis.axvline(diagnosis["collapsed_at"], color="tab:red", linestyle=":")
    if diagnosis["reward_name"] is not None:
        right = axis.twinx()
        right.plot(steps, np.array(diagnosis["reward"], float), color="tab:gray", linewidth=0.9)
        right.set_ylabel("mean reward", color="tab:gray")


def _top_outcomes(axis: Axes, diagnosis: dict[str, Any]) -> None:
    starts = diagnosis["top_starts"]
    edges = np.array([*starts, diagnosis["steps"][-1] + 1], float)
    shares = np.array(diagnosis["top_shares"], float)
    # A window has its share from its first step to that of the next.
    shares = np.concatenate([shares, shares[:, -1:]], axis=1)
    below = np.zeros(len(edges))
    for name, share in zip(diagnosis["top_outcomes"], shares, strict=True):
        short = name if len(name) <= 16 else name[:13] + "..."
        axis.fill_between(edges, below, below + share, step="post", label=plain(_drawable(short)))
        below = below + share
    axis.set(xlabel="step", ylabel="share of the completions", ylim=(0, 1))
    axis.margins(x=0)
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _drawable(name: str) -> str:
    """The name, or its escapes where Matplotlib's font lacks a sign: beyond Latin."""
    return name if name.isprintable() and max(name, default="") < "\u0250" else ascii(name)[1:-1]


def _coverage(axis: Axes, diagnosis: dict[str, Any]) -> None:
    for quarter, curve in diagnosis["coverage"].items():
        axis.plot(curve["samples"], curve["distinct"], marker=".", label=f"{quarter} quarter")
    axis.set(xlabel="completions of a prompt", ylabel="different outcomes, expected")
    axis.set_xscale("log", base=2)
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
