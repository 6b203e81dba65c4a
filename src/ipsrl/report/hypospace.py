"""Figures of HypoSpace: recovery, answers over training, structures (Figures 2, 4, 5; Table 4)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from ipsrl.report.figures import plain

_WINDOWS = 20
_NAMED = 8


def recovery_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recovery of the test half over the number of responses, with 95 % bands, by domain.

    Args:
      rows: cells with domain, method and test, as `ipsrl reproduce table-2` writes them.
    """
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    figure = Figure(figsize=(4.2 * len(domains), 3.6), layout="constrained")
    panels = figure.subplots(1, len(domains), squeeze=False)[0]
    for axis, domain in zip(panels, domains, strict=True):
        for row in rows:
            if row["domain"] != domain:
                continue
            draws = row["test"]["draws"]
            mean, low, high = np.array(row["test"]["recovery"]).T
            (line,) = axis.plot(draws, mean, label=plain(row["method"]))
            axis.fill_between(draws, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        found = next(row["test"] for row in rows if row["domain"] == domain)
        axis.plot(found["draws"], found["uniform"], "k--", linewidth=1, label="ideal uniform")
        axis.plot(found["draws"], found["one_mode"], "k:", linewidth=1, label="one mode")
        axis.set_xscale("log", base=2)
        axis.set(xlabel="responses to a prompt", ylabel="recovery", ylim=(0, 1), title=domain)
        axis.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize=8)
    return figure


def recovery_grid(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recovery by group size and clip, beside the paper's and the pull towards the target."""
    figure = Figure(figsize=(12.6, 3.6), layout="constrained")
    ours, paper, pull = figure.subplots(1, 3)
    for eps in sorted({row["eps"] for row in rows}):
        chosen = sorted((r for r in rows if r["eps"] == eps), key=lambda r: r["group_size"])
        sizes = [row["group_size"] for row in chosen]
        mean, low, high = np.array([row["test"]["recovery_rate"] for row in chosen]).T
        ours.errorbar(sizes, mean, [mean - low, high - mean], marker="o", label=f"eps {eps:g}")
        paper.plot(sizes, [row["paper"] / 100 for row in chosen], marker="o")
        pull.plot(sizes, [row["pull"] for row in chosen], marker="o")
    for axis, title in (
        (ours, "recovery, ours"),
        (paper, "recovery, the paper"),
        (pull, "predicted pull to the target"),
    ):
        axis.set_xscale("log", base=2)
        axis.set(xlabel="group size G", title=title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    ours.legend(frameon=False)
    return figure


def over_training(runs: Mapping[str, Path]) -> Figure:
    """Shares of the answers to one training prompt, the one with most right answers, by method.

    Args:
      runs: run directories of `ipsrl train hypospace` on one data set, by label.
    """
    first = next(iter(runs.values()))
    sets = [json.loads(line) for line in (first / "data.jsonl").read_text().splitlines()]
    asked = max((s for s in sets if s["split"] == "train"), key=lambda s: len(s["admissible"]))
    figure = Figure(figsize=(4.2 * len(runs), 4.0), layout="constrained")
    panels = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    given = {
        label: _answers(run / "rl" / "trainer" / "completions", asked["prompt"])
        for label, run in runs.items()
    }
    counts = Counter(outcome for _, outcomes in given.values() for outcome in outcomes)
    right = sorted(set(asked["admissible"]) & set(counts), key=lambda key: (-counts[key], key))
    colors = mpl.colormaps["turbo"](np.linspace(0.05, 0.95, max(len(right), 1)))
    last = max((step for steps, _ in given.values() for step in steps), default=1)
    edges = np.linspace(0, last, _WINDOWS + 1)
    for axis, (label, (steps, outcomes)) in zip(panels, given.items(), strict=True):
        window = np.clip(np.searchsorted(edges, steps) - 1, 0, _WINDOWS - 1)
        total = np.bincount(window, minlength=_WINDOWS)
        below = np.zeros(_WINDOWS)
        for i, key in enumerate(right):
            hits = np.bincount(window[[o == key for o in outcomes]], minlength=_WINDOWS)
            name = plain(key or "no edges") if i < _NAMED else None
            share = hits / np.maximum(total, 1)
            axis.bar(
                edges[:-1], share, np.diff(edges), below, align="edge", label=name, color=colors[i]
            )
            below = below + share
        not_asked = np.flatnonzero(total == 0)
        axis.bar(
            edges[not_asked], 1, np.diff(edges)[not_asked], align="edge", color="0.9", hatch="//",
            edgecolor="0.7", linewidth=0, label="not asked",
        )  # fmt: skip
        axis.set(title=label, xlabel="step", ylim=(0, 1))
        axis.margins(x=0)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=6, frameon=False, ncols=3,
                  loc="outside lower center")  # fmt: skip
    panels[0].set_ylabel(f"share of the answers\n({len(asked['admissible'])} are right)")
    return figure


def structures(path: Path, *, most: int = 12) -> Figure:
    """Structures that methods gave for one view, with how often (Figures 4 and 5).

    Args:
      path: JSON of view, size, admissible (how many are right) and counts: for each method, the
        number of responses by key.
      most: structures of each method that are drawn.
    """
    found = json.loads(path.read_bytes())
    figure = Figure(figsize=(1.35 * most, 2.1 * len(found["counts"])), layout="constrained")
    parts = figure.subfigures(len(found["counts"]), 1, squeeze=False)[:, 0]
    for part, (method, counts) in zip(parts, found["counts"].items(), strict=True):
        right = sorted(counts.items(), key=lambda pair: -pair[1])
        part.suptitle(
            f"{method}: {len(right)} of {found['admissible']} structures in "
            f"{found['responses']} responses, {sum(counts.values())} of them right",
            fontsize=9,
        )
        for i, (key, count) in enumerate(right[:most]):
            axis: Any = part.add_subplot(1, most, i + 1, projection="3d")
            layers = [
                [int(cell) for cell in layer] for layer in key.split("/")
            ]  # bottom up, row by row
            blocks = np.array(layers, bool).reshape(len(layers), found["size"], found["size"])
            # x to the right, y away from the reader, z up.
            # Seen isometrically, one block can lie exactly behind another: let it shine through.
            axis.voxels(blocks.transpose(2, 1, 0)[:, ::-1], facecolor="#1f77b470", edgecolor="k",
                        linewidth=0.4)  # fmt: skip
            size, height = found["size"], found["max_height"]
            axis.set(xlim=(0, size), ylim=(0, size), zlim=(0, height))
            axis.set_box_aspect((size, size, height))
            axis.set_proj_type("ortho")
            axis.view_init(elev=35.26, azim=-45)  # isometric
            axis.set(xticks=[], yticks=[], zticks=[])
            axis.set_title(f"{count}", fontsize=8, pad=0)
    return figure


def _answers(folder: Path, prompt: str) -> tuple[list[int], list[str | None]]:
    """Steps and outcomes of all logged completions of one prompt."""
    steps: list[int] = []
    outcomes: list[str | None] = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path, columns=["step", "prompt", "outcome"]).to_pylist()
        for row in table:
            text = row["prompt"]
            if not isinstance(text, str):  # messages
                text = "\n".join(message["content"] for message in text)
            if prompt in text:
                steps.append(row["step"])
                outcomes.append(row["outcome"])
    return steps, outcomes
