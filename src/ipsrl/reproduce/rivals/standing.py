"""Standings: which contestants are within noise of the best, or of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipsrl.hypospace.recovery import bootstrap
from ipsrl.reproduce.rivals.contestants import is_exact, is_ours

Interval = tuple[float, float, float]
"""Mean over the seeds, and the ends of its 95 % bootstrap interval."""


def intervals(values: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Mean and 95 % percentile interval from resampling the seeds, of each name.

    Args:
      values: one per seed, by name; as many for each.
    """
    stacked = np.array(list(values.values()), float).T[:, None]  # seeds, one set, names
    ends = zip(*bootstrap(stacked), strict=True)
    return {
        name: (float(mean), float(low), float(high))
        for name, (mean, low, high) in zip(values, ends, strict=True)
    }


def fair(found: Mapping[str, Interval]) -> dict[str, Interval]:
    """The contestants that need no exact p, which nobody has in practice."""
    return {name: one for name, one in found.items() if not is_exact(name)}


def within_noise(found: Mapping[str, Interval]) -> set[str]:
    """Names whose interval overlaps with that of the best, which is the highest mean."""
    best = max(found.values())
    return {name for name, (_, _, high) in found.items() if high >= best[1]}


def standings(tasks: Mapping[str, Mapping[str, Interval]]) -> list[dict[str, Any]]:
    """Number of tasks in which each is within noise of the best that needs no exact p.

    Args:
      tasks: interval of the coverage of each contestant, by task.
    Returns:
      for each contestant: its tasks, in how many it is within noise of the best, and in how many it
      is better than every one of ours (its interval lies above theirs).
    """
    rows: dict[str, dict[str, Any]] = {}
    for found in tasks.values():
        allowed = fair(found)
        best = within_noise(allowed)
        ours = [one for name, one in allowed.items() if is_ours(name)]
        for name, (_, low, _) in allowed.items():
            row = rows.setdefault(
                name, {"contestant": name, "tasks": 0, "within noise": 0, "above all of ours": 0}
            )
            row["tasks"] += 1
            row["within noise"] += name in best
            if ours and not is_ours(name):
                row["above all of ours"] += all(low > high for _, _, high in ours)
    return sorted(rows.values(), key=lambda row: -row["within noise"] / row["tasks"])
