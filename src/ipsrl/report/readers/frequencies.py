"""How often outcomes came over a run, from rows of (step, outcome, how often)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ipsrl.report.view import Frequencies

WINDOWS = 60
SAMPLES = 8
"""Least samples of a window, on average."""
NAMED = 200
"""Outcomes whose names are kept, of which `report.colours` chooses for all stacks of a page."""


def frequencies(
    step_R: np.ndarray,
    ids_R: np.ndarray,
    counts_R: np.ndarray,
    name: Callable[[int], str],
    *,
    title: str,
    x: str,
    note: str = "",
) -> Frequencies:
    """Counts by window and outcome; rows may stand in any order.

    Args:
      step_R: step of each row.
      ids_R: outcome of each row; below 0 for none.
      counts_R: samples that a row stands for.
      name: of an outcome.
      title: heading.
      x: what the steps are.
      note: what readers must know.
    """
    steps_T, step_R = np.unique(step_R, return_inverse=True)
    most = max(1, min(len(steps_T), WINDOWS, int(counts_R.sum()) // SAMPLES))
    windows = np.array_split(np.arange(len(steps_T)), most)
    window_T = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
    window_R = window_T[step_R]
    has_R = ids_R >= 0
    ids_K, which_R = np.unique(ids_R[has_R], return_inverse=True)
    totals_K = np.bincount(which_R, counts_R[has_R], len(ids_K))
    order_K = np.argsort(-totals_K, kind="stable")
    place_K = np.empty(len(ids_K), int)
    place_K[order_K] = np.minimum(np.arange(len(ids_K)), NAMED)
    counts_KW = np.zeros((NAMED + 1, len(windows)), int)
    np.add.at(counts_KW, (place_K[which_R], window_R[has_R]), counts_R[has_R])
    shown = min(len(ids_K), NAMED)
    if len(windows) == 1:
        why = (
            "are few samples" if len(steps_T) > 1 else f"is one moment only, at {x} {steps_T[0]:,}"
        )
        note = f"{note} There {why}, hence no course.".strip()
    return Frequencies(
        title=title,
        x=x,
        starts=[int(steps_T[window[0]]) for window in windows],
        ends=[int(steps_T[window[-1]]) for window in windows],
        names=[name(int(one)) for one in ids_K[order_K[:shown]]],
        counts_KW=counts_KW[:shown].tolist(),
        rest_W=counts_KW[NAMED].tolist(),
        rest=len(ids_K) - shown,
        none_W=np.bincount(window_R[~has_R], counts_R[~has_R], len(windows)).astype(int).tolist(),
        note=note,
    )
