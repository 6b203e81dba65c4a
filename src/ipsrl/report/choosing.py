"""The figure of `ipsrl reproduce choosing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def pulls_and_recoveries(
    rows: Sequence[Mapping[str, Any]], curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Pull of each estimator in closed form, and what bandits recovered that it trained.

    Args:
      rows: of the table: per_member, estimator, ideal, and recovery as median, low and high.
      curves: answers per member and pull, by estimator.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (loads, pull) in curves.items():
        left.plot(loads, pull, label=name)
    left.set(xscale="log", xlabel="right answers / G", ylabel="pull towards equal parts")
    for name in dict.fromkeys(row["estimator"] for row in rows):
        mine = [row for row in rows if row["estimator"] == name]
        share = {
            key: np.array([row["recovery"][key] / row["ideal"] for row in mine])
            for key in ("median", "low", "high")
        }
        error = [share["median"] - share["low"], share["high"] - share["median"]]
        x = [row["per_member"] for row in mine]
        right.errorbar(x, share["median"], error, fmt="o-", capsize=2, label=name)
    right.set(xscale="log", xlabel="right answers / G", ylabel="recovery over the ideal sampler's")
    for axis in (left, right):
        axis.set_ylim(0, None)
        axis.legend(frameon=False, fontsize=8)
    return figure
