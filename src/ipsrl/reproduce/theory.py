"""The theorems as figures: log-ratios, simplex trajectories, and the floor of finite groups.

And two tables: what wrong answers that earn something keep, with and without success; and how fast
noise concentrates a policy whose outcomes tie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from safetensors.numpy import save

from ipsrl.config import shipped_configs
from ipsrl.core.floor import floor_l1, stationary_distribution
from ipsrl.core.methods import GRPO, IPS
from ipsrl.grids import Config, HyperGrid, train
from ipsrl.report.page import write_page
from ipsrl.report.theory import (
    finite_group_floor,
    log_ratio_slopes,
    simplex_trajectories,
    ties_and_drift,
)
from ipsrl.runs import Folder, Run
from ipsrl.sweep.results import interval, show, shown, train_once, write_rows
from ipsrl.theory.flows import Flow, solve
from ipsrl.theory.groups import simulate, trace
from ipsrl.theory.ties import concentration_rate, drift, tie_noise

REWARDS = np.array([1.0, 0.7, 0.3])
# Numbered, because the arrays of a file are sorted by name.
FLOWS = {
    "1: expected return (Theorem 3.1)": Flow(REWARDS, alpha=0.0),
    "2: expected return + entropy": Flow(REWARDS, alpha=0.0, beta=0.3),
    "3: expected return + KL": Flow(
        REWARDS, alpha=0.0, beta=0.3, reference=np.array([0.1, 0.2, 0.7])
    ),
    "4: IPS (Theorem 4.1)": Flow(REWARDS),
    "5: IPS + KL (Eq. 8)": Flow(REWARDS, beta=1.0, reference=np.array([0.1, 0.2, 0.7])),
}
# Ten answers, of which wrong ones earn something: reward and number of right ones, reward of wrong.
WRONG_ANSWERS = {
    "correct + .2 format": (1.2, 1, 0.2),
    "correct + 1 format": (2.0, 1, 1.0),
    "correct 1, wrong .1": (1.0, 1, 0.1),
    "three correct + 1 format": (2.0, 3, 1.0),
}
STEPS, GROUP = 150, 16
# Outcomes that tie, and the same but for one; half of all samples are paid.  Group size and step.
TIES = {"equal": np.ones(8), "unequal": np.array([2.0] + [1.0] * 7)}
PAID, POINTS = 0.5, 41
WALKS = ((8, 0.2), (8, 0.4), (32, 0.4))
WALK_ENDS = {"equal": 4.0, "unequal": 60.0}  # c t / K, and lr t
TIMES = np.concatenate([[0.0], np.geomspace(0.01, 3000.0, 400)])


def reproduce(name: str, preset: str, out: Path) -> None:
    """Integrate the flows, train the hyper-grids of the floor, draw a figure per statement."""
    flows = out / "flows.safetensors"
    Folder.make(out).claim("success.json")
    Folder.make(out).claim("ties.json")
    Folder.make(out).write(flows.name, save(_integrate()))

    runs = {}
    for folder in ("hypergrid/group-size", "hypergrid/eps"):
        for path in shipped_configs(folder):
            config = Config.load(path)
            if preset == "quick":
                config = Config(**{**config.model_dump(), "seeds": 2})
            runs[path.stem] = out / path.stem
            train_once(config, runs[path.stem], train)
    rows = [_row(cell, run) for cell, run in runs.items()]
    write_rows(out, rows)
    rewards = HyperGrid(2, 8).rewards
    sizes = np.unique(np.geomspace(8, 2048, 60).astype(int))
    clips = np.geomspace(1 / 256, 0.3, 40)
    predicted = {
        "group_size": sizes,
        "floor_of_group_size": np.array([floor_l1(rewards, int(size)) for size in sizes]),
        "eps": clips,
        "floor_of_eps": np.array([floor_l1(rewards, 256, eps=float(eps)) for eps in clips]),
    }
    floor = out / "floor.safetensors"
    Folder(out).write(floor.name, save(predicted))

    table = Table(title=f"{name}, {preset} preset: total L1 on 8x8, predicted and trained")
    for heading in ("cell", "G", "eps", "predicted", "trained [lowest, highest]", "seeds"):
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["cell"], str(row["group_size"]), f"{row['eps']:g}", f"{row['floor_l1']:.3f}",
            shown(row["total_l1"], ".3f"), str(row["seeds"]),
        )  # fmt: skip
    show(table)
    success = _success(2 if preset == "quick" else 5)
    write_rows(out, success, "success.json")
    _show_success(success)
    paths, ties = _ties(20 if preset == "quick" else 200)
    walks = out / "ties.safetensors"
    Folder(out).write(walks.name, save(paths))
    write_rows(out, ties, "ties.json")
    _show_ties(ties)
    figures = {
        "Theorems 3.1 and 4.1: measured and predicted slopes": ("slopes", log_ratio_slopes(flows)),
        "Three outcomes under five objectives": ("simplex", simplex_trajectories(flows)),
        "The floor of finite groups": ("floor", finite_group_floor(floor, rows)),
        "Ties and drift": ("ties", ties_and_drift(walks)),
    }
    write_page(out / "index.html", title=f"{name}, {preset} preset", rows=rows, figures=figures)


def _success(seeds: int) -> list[dict[str, Any]]:
    """Probability of right answers after training, of the rarest of them, and at rest."""
    rows = []
    for case, (reward, number, other) in WRONG_ANSWERS.items():
        right = np.arange(10) < number
        rewards = np.where(right, reward, other)
        for name, method, success in (
            ("GRPO", GRPO(), None),
            ("IPS", IPS(), None),
            ("IPS with success", IPS(), right),
        ):
            p = simulate(
                rewards, GROUP, method, success=success, lr=0.2, groups=8,
                iterations=STEPS + 1, averaged=1, seeds=seeds,
            )  # fmt: skip
            rest = None  # GRPO ends on one of the best, as chance leads it
            if isinstance(method, IPS):
                at_rest = stationary_distribution(rewards, GROUP, success=success)
                rest = float(at_rest[right].sum())
            rows.append(
                {
                    "case": case,
                    "method": name,
                    "predicted": rest,
                    "right": interval(p[:, right].sum(-1).tolist()),
                    "least_right": interval(p[:, right].min(-1).tolist()),
                    "seeds": seeds,
                }
            )
    return rows


def _show_success(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"ten answers, G = {GROUP}, {STEPS} steps: probability of right ones")
    headings = ("case", "method", "at rest", "after training", "least right one", "seeds")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in headings[:2] else "right")
    for row in rows:
        predicted = "" if row["predicted"] is None else f"{row['predicted']:.3f}"
        measured = [shown(row[key], ".3f") for key in ("right", "least_right")]
        table.add_row(row["case"], row["method"], predicted, *measured, str(row["seeds"]))
    show(table)


def _ties(seeds: int) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Effective outcomes over time for a figure, and the rates at the start for a table."""
    lines: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    rows = []
    for case, rewards in TIES.items():
        for name in ("GRPO", "IPS"):
            for size, lr in WALKS:
                line, row = _walk(case, name, size, lr, seeds)
                lines[f"{name}, {case}/G = {size}, lr = {lr:g}"] = line
                rows.append(row)
        times, outcomes = np.linspace(0, WALK_ENDS[case], 401), len(rewards)
        if case == "equal":
            grown = times * outcomes * concentration_rate(np.full(outcomes, 1 / outcomes))
            early = slice(0, 20)
            line = times[early], 1 / (1 / outcomes + grown[early])
            lines[f"GRPO, {case}/rate at the start"] = line
            continue
        lines[f"GRPO, {case}/drift alone"] = times, _drifting(rewards, times)
        for size in sorted({size for size, _ in WALKS}):
            rest = 1 / (stationary_distribution(rewards, size) ** 2).sum()
            lines[f"IPS, {case}/at rest, G = {size}"] = times, np.full(len(times), rest)
    axes = ("time", "effective")
    return {
        f"{key}/{axis}": v
        for key, line in lines.items()
        for axis, v in zip(axes, line, strict=True)
    }, rows


def _walk(
    case: str, name: str, size: int, lr: float, seeds: int
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Times and effective outcomes of one method, and a row that compares them with noise alone."""
    rewards, c = TIES[case], tie_noise(size, lr, paid=PAID)
    unit = len(rewards) / c if case == "equal" else 1 / lr
    every = max(1, round(WALK_ENDS[case] * unit / (POINTS - 1)))
    p = trace(
        rewards, size, GRPO() if name == "GRPO" else IPS(), every=every, points=POINTS, paid=PAID,
        lr=lr, seeds=seeds,
    ).astype(float)  # fmt: skip
    time, s2 = np.arange(POINTS) * every / unit, (p**2).sum(-1)
    # Over the first eighth: by the rate along each path, and what it gained.
    early = 1 + POINTS // 8
    rates = c * every * concentration_rate(p[:, :early] / p[:, :early].sum(-1, keepdims=True))
    derived = (rates[:, 1:] + rates[:, :-1]).sum(-1) / 2
    gained = s2[:, early - 1] - s2[:, 0]
    row = {
        "case": case, "method": name, "group_size": size, "lr": lr, "noise": c,
        "derived": float(derived.mean()),
        "gained": float(gained.mean()),
        "error": float((gained - derived).std(ddof=1) / np.sqrt(seeds)),
        "effective": float((1 / s2[:, -1]).mean()),
        "seeds": seeds,
    }  # fmt: skip
    return (time, (1 / s2).mean(0)), row


def _drifting(rewards: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Effective outcomes of a policy that moves by `drift` alone, by Euler's method."""
    theta, found = np.zeros(len(rewards)), []
    for step in np.diff(times, append=times[-1]):
        p = np.exp(theta - theta.max())
        p /= p.sum()
        found.append(1 / (p**2).sum())
        theta = theta + step * drift(p, rewards, paid=PAID)
    return np.array(found)


def _show_ties(rows: list[dict[str, Any]]) -> None:
    table = Table(title="eight outcomes, half of all samples paid: growth of sum p^2 at the start")
    headings = (
        "rewards",
        "method",
        "G",
        "lr",
        "of noise alone",
        "simulated",
        "effective at the end",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in headings[:2] else "right")
    for row in rows:
        table.add_row(
            row["case"], row["method"], str(row["group_size"]), f"{row['lr']:g}",
            f"{row['derived']:.4f}", f"{row['gained']:.4f} +- {row['error']:.4f}",
            f"{row['effective']:.2f}",
        )  # fmt: skip
    show(table)


def _integrate() -> dict[str, np.ndarray]:
    """Trajectories from a ring of starts; slopes along the first, from the path and the formula."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    starts = 1.5 * np.stack([np.cos(angles), np.cos(angles + 2), np.cos(angles + 4)], -1)
    arrays: dict[str, np.ndarray] = {"times": TIMES, "rewards": REWARDS}
    for name, flow in FLOWS.items():
        theta = solve(flow, starts, TIMES)
        p = np.exp(theta - theta.max(-1, keepdims=True))
        arrays[f"{name}/p"] = p / p.sum(-1, keepdims=True)
        if flow.alpha > 0 or flow.beta > 0:
            arrays[f"{name}/end"] = flow.stationary()
        if flow.beta == 0:
            logits = theta[0]
            measured = np.gradient(logits, TIMES, axis=0, edge_order=2)
            for i, j in ((0, 1), (0, 2), (1, 2)):
                arrays[f"{name}/measured/{i}{j}"] = measured[:, i] - measured[:, j]
                arrays[f"{name}/predicted/{i}{j}"] = flow.log_ratio_slopes(logits)[:, i, j]
    return {key: np.ascontiguousarray(value) for key, value in arrays.items()}


def _row(cell: str, directory: Path) -> dict[str, Any]:
    run = Run.open(directory)
    result, config = run.result(), run.config(Config)
    return {
        "cell": cell,
        "group_size": config.group_size,
        "eps": getattr(config.shaping(), "eps", 0.0),
        "floor_l1": result["floor_l1"],
        "total_l1": interval(result["total_l1"]),
        "seeds": config.seeds,
    }
