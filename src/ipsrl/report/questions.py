"""A figure of a model's answers to open questions."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.figure import Figure

_LABELLED = 0.06  # least share whose name fits into its part


def shares_of_answers(counts: Mapping[str, Mapping[str | None, int]]) -> Figure:
    """A bar for each model, cut into its answers: one answer is one part, all wrong ones are grey.

    Args:
      counts: answers by "question model"; of each right answer, and of None for all others.
    """
    colours = mpl.colormaps["tab20"].colors  # pyright: ignore[reportAttributeAccessIssue]
    colours = [each for each in colours if len(set(each)) > 1]  # grey is for what is wrong
    names = [key for counted in counts.values() for key in counted if key is not None]
    colour = {key: colours[i % len(colours)] for i, key in enumerate(dict.fromkeys(names))}
    figure = Figure(figsize=(9.6, 0.9 + 0.55 * len(counts)), layout="constrained")
    axis = figure.subplots()
    for y, counted in enumerate(counts.values()):
        total, left = sum(counted.values()), 0.0
        right = ((key, count) for key, count in counted.items() if key is not None)
        for key, count in sorted(right, key=lambda item: -item[1]):
            share = count / total
            axis.barh(y, share, left=left, color=colour[key], edgecolor="white", linewidth=0.7)
            if share >= _LABELLED:
                axis.text(left + share / 2, y, key, ha="center", va="center", fontsize=8)
            left += share
        axis.barh(y, 1 - left, left=left, color="0.85", edgecolor="white", linewidth=0.7)
        if 1 - left >= _LABELLED:
            axis.text((1 + left) / 2, y, "wrong", ha="center", va="center", fontsize=8)
    axis.set_yticks(range(len(counts)), list(counts))
    axis.invert_yaxis()
    axis.set(xlabel="share of the answers; every part is a different right answer", xlim=(0, 1))
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    return figure
