"""Runs on grids and in environments of one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

from ipsrl.llm.collapse import expected_distinct
from ipsrl.report.readers.base import curves_of_seeds, cut_off, settings, view
from ipsrl.report.readers.frequencies import frequencies
from ipsrl.report.view import Arrows, Curve, Number, Part, Planes, View, known
from ipsrl.runs import Run
from ipsrl.runs.formats import read_parquet

FEW = 10
"""Runs on a page up to which each shows several seeds."""
CELLS = 200
"""Most cells of a plane in each direction; of a larger grid a cell of the plane is a block."""

_CHARTS = {
    "total_l1": ("Distance to the target", "total L1, exact"),
    "sampled_l1": ("Distance of the last samples to the target", "total L1 of samples"),
    "effective_outcomes": ("Effective outcomes", "exp of the entropy"),
    "modes_visited": ("Modes visited", "modes"),
    "expected_reward": ("Reward, raw", "expected reward"),
    "ips/reward": ("Reward, scaled", "mean of the batch"),
    "loss": ("Loss", "loss"),
}


_NUMBERS = {
    "total_l1": "total L1 to the target",
    "mean_l1": "total L1 per state",
    "modes_visited": "modes visited in training",
    "modes_found": "modes with a tenth of their mass",
    "modes_total": "modes of the target",
    "effective_outcomes": "effective outcomes",
    "sampled_l1": "total L1 of the last samples",
    "sampled_floor": "total L1 of as many samples of the target",
    "floor_l1": "predicted floor of total L1",
    "trajectories": "trajectories of each seed",
}
"""What the page calls the numbers of a result; before that, those of the last metrics."""


def read(run: Run, label: str, among: int = 1) -> View:
    """The view of a run, which may be going on, on a page of so many."""
    config, rows = settings(run), run.metrics()
    seeds = int(config.get("seeds", 1))
    batch = int(config.get("batch", 1))
    whole = int(config.get("iterations", 0)) * batch
    result = run.result() if run.finished else {}
    parts: list[Part] = []
    coverage: list[Curve] = []
    if "outcomes.parquet" in run.files:
        table = read_parquet(run.outcomes_path)
        parts.append(_frequencies(table, config, batch))
        coverage = _coverage(table)
    if run.finished and (arrays := run.arrays()):
        parts += _distributions(config, result, arrays, among)
    return view(
        run,
        label,
        title=f"{_method(config)} on {_environment(config)}, {seeds} seeds",
        command=f"ipsrl train {'env' if 'env' in config else 'hypergrid'}",
        done=(rows[-1]["trajectories"] if rows else 0, whole, "trajectories"),
        alarms=[*_alarms(rows[-seeds:]), *_missing(rows, seeds, result)],
        summary=_summary(result, rows[-seeds:]),
        curves=[*curves_of_seeds(rows, "trajectories", _CHARTS), *coverage],
        parts=parts,
    )


def _method(config: Mapping[str, Any]) -> str:
    estimator = config.get("estimator")
    return f"{config.get('method')}{f' ({estimator})' if estimator else ''}"


def _environment(config: Mapping[str, Any]) -> str:
    if "env" in config:
        return PurePath(str(config["env"])).name
    if "dims" in config:
        grid = "x".join([str(config["side"])] * config["dims"])
        return f"the {grid} hyper-grid" + (
            ", deceptive" if config.get("reward") == "deceptive" else ""
        )
    return "the lattice"


def _alarms(last: list[dict[str, Any]]) -> list[str]:
    lost = [str(row["seed"]) for row in last if "loss" in row and row["loss"] is None]
    return [f"The loss is no longer finite: seed {', '.join(lost)} diverged."] if lost else []


def _missing(rows: Sequence[Mapping[str, Any]], seeds: int, result: Mapping[str, Any]) -> list[str]:
    last = {row["seed"]: row["trajectories"] for row in rows}
    first = min(last.values()) if len(last) == seeds else 0
    return cut_off(first, result.get("trajectories"), "trajectories")


def _summary(result: Mapping[str, Any], last: list[dict[str, Any]]) -> dict[str, Any]:
    values = {
        key: [row.get(key) for row in last]
        for key in _NUMBERS
        if any(row.get(key) is not None for row in last)
    }
    values |= result
    found = {name: values.get(key) for key, name in _NUMBERS.items()}
    for threshold, reached in result.get("trajectories_to", {}).items():
        found[f"trajectories to total L1 {threshold}"] = reached
    return {name: value for name, value in found.items() if value not in (None, [])}


def _coverage(table: pa.Table) -> list[Curve]:
    """Different outcomes among N samples of a seed, of the first and last quarter of the steps."""
    step_R, seed_R, ids_R, counts_R = _columns(table, "step", "seed", "outcome", "count")
    steps, seeds = np.unique(step_R), np.unique(seed_R)
    quarter = max(1, len(steps) // 4)
    parts = {"first quarter": steps[:quarter], "last quarter": steps[-quarter:]}
    found = []
    for name, chosen in parts.items() if len(steps) > 1 else [("", steps)]:
        in_quarter = np.isin(step_R, chosen) & (ids_R >= 0)
        counts_SK = [
            _totals(ids_R[own], counts_R[own])
            for own in (in_quarter & (seed_R == seed) for seed in seeds)
        ]
        least = min(int(counts.sum()) for counts in counts_SK)
        samples = [2**k for k in range(least.bit_length())]
        ys_ST = [known(expected_distinct(counts, samples)) for counts in counts_SK]
        if samples:
            axes = "Coverage", "samples of a seed", "different outcomes, expected"
            found.append(Curve(*axes, samples, ys_ST, name, "x"))
    return found


def _totals(ids_R: np.ndarray, counts_R: np.ndarray) -> np.ndarray:
    """How often each outcome came that came; an id may be a hash, and far above their number."""
    ids_K, which_R = np.unique(ids_R, return_inverse=True)
    return np.bincount(which_R, counts_R, len(ids_K)).astype(int)


def _columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    return [table[name].to_numpy() for name in names]


def _frequencies(table: pa.Table, config: Mapping[str, Any], batch: int) -> Part:
    step_R, ids_R, counts_R = _columns(table, "step", "outcome", "count")
    title, note = "Outcomes over training", "Of the last batch before each checkpoint, all seeds."
    if len(np.unique(step_R)) == 1:
        title = "Outcomes of the last batch"
        note = "All seeds together. A smaller --checkpoint-every records more moments."
    return frequencies(
        step_R * batch, ids_R, counts_R, lambda state: _state(config, state),
        title=title, x="trajectories", note=note,
    )  # fmt: skip


def _state(config: Mapping[str, Any], state: int) -> str:
    """The coordinates of a state, where its number says them."""
    if "env" in config:
        return str(state)
    side, dims = shape(config)
    return f"({', '.join(str(state // side**axis % side) for axis in reversed(range(dims)))})"


def shape(config: Mapping[str, Any]) -> tuple[int, int]:
    """Side and dimensions of the grid of a configuration; the lattice's has no such keys."""
    return int(config.get("side", 8)), int(config.get("dims", 2))


def marginal(p: np.ndarray, side: int, dims: int) -> np.ndarray:
    """The marginal of the first two coordinates of a grid, as rows from the bottom up."""
    cube = p.reshape((side,) * dims)
    return cube[None] if dims == 1 else cube.sum(axis=tuple(range(2, dims))).T


def by_distance(l1_S: Sequence[Number]) -> list[int]:
    """Seeds from the nearest to the target on; one that diverged has no distance, and is last."""
    return sorted(range(len(l1_S)), key=lambda seed: (l1_S[seed] is None, l1_S[seed]))


def distance(l1: Number) -> str:
    """The distance of a seed in words."""
    return f"total L1 {'unknown' if l1 is None else f'{l1:.3f}'}"


def _distributions(
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    among: int,
) -> list[Part]:
    """Where the seeds end, beside the target; on the lattice also how they get there."""
    if "env" in config:
        return []
    side, dims = shape(config)
    l1, block = result["total_l1"], -(-side // CELLS)

    def plane(p: np.ndarray) -> list[list[Number]]:
        rows = marginal(p, side, dims)
        for axis in (0, 1):
            rows = np.add.reduceat(rows, np.arange(0, rows.shape[axis], block), axis)
        return [known([float(f"{p:.4g}") for p in row]) for row in rows]  # the digits shown

    target = plane(arrays["target"])
    order = by_distance(l1)
    best, middle, worst = order[0], order[len(order) // 2], order[-1]
    chosen = dict.fromkeys([middle, best, worst] if among <= FEW else [middle])
    words = {middle: "median", best: "best", worst: "worst"} if len(l1) > 1 else {middle: "the"}
    first = int(config.get("seed", 0))
    names = [f"{words[s]} seed, {first + s}: {distance(l1[s])}" for s in chosen]
    note = "Probability"
    if dims > 2:
        note += " of the first two coordinates; a brighter cell than any has more than 1.5 times "
        note += "the target's largest."
    else:
        note += "; the scale ends at 1.5 times the target's largest."
    if block > 1:
        note += f" A cell is the sum of {block} x {block} of the grid."
    parts: list[Part] = [
        Planes(
            "Where the policy ends",
            ["target", *names],
            [target, *(plane(arrays["terminal"][seed]) for seed in chosen)],
            1.5 * max(p for row in target for p in row if p is not None),
            block=block,
            note=note,
        )
    ]
    if "dims" not in config:
        parts.append(_arrows(arrays["policy"][middle], arrays["target"], first + middle))
    return parts


def visited(policy_SA: np.ndarray) -> np.ndarray:
    """Probabilities that a walk on the lattice passes its cells [x, y].

    Args:
      policy_SA: of a step right, up, and of the end.
    """
    side = math.isqrt(len(policy_SA))
    visits = np.zeros((side, side))
    visits[0, 0] = 1.0
    walked = [(x, y) for x in range(side) for y in range(side - 1 - x)]
    for x, y in sorted(walked, key=sum):
        right, up = policy_SA[x * side + y, :2]
        visits[x + 1, y] += visits[x, y] * right
        visits[x, y + 1] += visits[x, y] * up
    return visits


def ends(target_S: np.ndarray) -> dict[str, tuple[int, int]]:
    """The cells that pay, by name: A is what more paths lead to."""
    side = math.isqrt(len(target_S))
    cells = (divmod(int(state), side) for state in np.flatnonzero(target_S))
    return dict(zip("AB", sorted(cells, key=lambda at: -math.comb(sum(at), at[0])), strict=True))


def _arrows(policy_SA: np.ndarray, target_S: np.ndarray, seed: int) -> Arrows:
    """The force field of the lattice: steps right and up, and where they lead."""
    side, visits = math.isqrt(len(target_S)), visited(policy_SA)
    cells = [(x, y) for x in range(side) for y in range(side - x)]
    return Arrows(
        title=f"Force field of seed {seed}",
        cells=[
            [x, y, *known([*policy_SA[x * side + y, :2].tolist(), float(visits[x, y])])]
            for x, y in cells
            if x + y < side - 1
        ],
        marks=[
            (f"{name}, {math.comb(x + y, x)} paths", f"({x}, {y})", x, y, known([visits[x, y]])[0])
            for name, (x, y) in ends(target_S).items()
        ],
        note="Arrows are the probabilities of a step right and up; strong where cells are visited.",
    )
