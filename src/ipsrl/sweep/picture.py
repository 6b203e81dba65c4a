"""The picture of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ipsrl.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_library() -> None:
    """
    Raises:
      MissingExtra: without the library that draws, before hours of training.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("report", error.name or "matplotlib") from None


def picture(title: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Median, range and seeds of every cell, a panel for each measure, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    measures = rows[0]["measures"]
    with mpl.rc_context({
        "svg.fonttype": "none", "svg.hashsalt": "ipsrl", "font.size": 9, "text.parse_math": False
    }):  # fmt: skip
        height = 1.1 + 0.32 * len(rows)
        figure: Figure = Figure(figsize=(3.2 + 3.4 * len(measures), height), layout="constrained")
        figure.suptitle(f"{title}: median, range and seeds")
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axis, measure in zip(panels, measures, strict=True):
            for y, row in enumerate(rows):
                if (found := row["measures"][measure]) is None:
                    continue
                axis.plot([found["low"], found["high"]], [y, y], color="0.6", lw=2, zorder=1)
                seeds = found["values"]
                axis.scatter(seeds, [y] * len(seeds), s=12, color="0.35", zorder=2)
                axis.scatter([found["median"]], [y], s=46, marker="D", color="#0072b2", zorder=3)
            axis.set_xlabel(measure)
            axis.grid(axis="x", color="0.9")
            axis.set_axisbelow(True)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
        panels[0].set_yticks(range(len(rows)), [row["cell"] for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.5)
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
