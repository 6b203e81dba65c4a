"""Estimators of p(outcome), in closed form and trained, by right answers per member.

The page docs/choosing.md shows these figures, and `ipsrl advise` answers by the same table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ipsrl.core.estimators import Estimator, GroupFrequency, LeaveOneOut, Likelihood, Replay
from ipsrl.core.methods import GRPO, IPS
from ipsrl.report.choosing import pulls_and_recoveries
from ipsrl.report.page import write_page
from ipsrl.sweep.results import interval, show, write_rows
from ipsrl.theory.choice import choose
from ipsrl.theory.estimates import quality
from ipsrl.theory.groups import trace

GROUP, VISITS, WAYS = 8, 8, 4
PER_MEMBER = (0.5, 1, 4, 16, 64)
# A policy that is right half of the time, knows its first right answer e^5 times better than its
# last, and learns from one group a step.
WRONG, SKEW, LR = 64, 5.0, 0.2
EARLY, STEPS, SAMPLES = 500, 4000, 64
ESTIMATES: dict[str, Estimator | None] = {
    "none (GRPO)": None,
    "group": GroupFrequency(),
    "leave-one-out": LeaveOneOut(),
    "replay": Replay(VISITS),
    "likelihood": Likelihood(),
}

CLOSED = ("bias", "sd", "weight", "weight_sd", "pull", "passes")


def reproduce(name: str, preset: str, out: Path) -> None:
    """Compute closed forms of the estimators and train bandits; write a table and a figure."""
    rows = [
        _row(per_member, estimate, 3 if preset == "quick" else 20)
        for per_member in PER_MEMBER
        for estimate in ESTIMATES
    ]
    write_rows(out, rows)
    table = Table(title=f"{name}, {preset} preset: G = {GROUP}, {rows[0]['seeds']} seeds")
    headings = (
        "answers / G", "estimator", "bias of p^ / p", "sd", "weight", "sd", "pull", "passes",
        f"recovery, {EARLY} steps", f"{STEPS} steps", "validity", "validity", "advised",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "estimator" else "right")
    for row in rows:
        closed = [row[key] for key in CLOSED]
        table.add_row(
            str(row["per_member"]), row["estimator"],
            *("" if value is None else f"{value:.3g}" for value in closed),
            *(f"{row[key]['median']:.3f}" for key in
              ("recovery_early", "recovery", "validity_early", "validity")),
            "yes" if row["advised"] else "",
        )  # fmt: skip
    show(table)
    figures = {
        "Pull of the estimators, and recovery of trained bandits": (
            "choosing",
            pulls_and_recoveries(rows, _curves()),
        )
    }
    write_page(out / "index.html", title=f"{name}, {preset} preset", rows=rows, figures=figures)


def _row(per_member: float, estimate: str, seeds: int) -> dict[str, Any]:
    """One estimator at one number of answers, in closed form and trained."""
    answers = round(per_member * GROUP)
    right = np.arange(answers + WRONG) < answers
    known = np.exp(np.linspace(SKEW, 0.0, answers))
    start = np.concatenate([known / known.sum(), np.full(WRONG, 1 / WRONG)]) / 2
    estimator = ESTIMATES[estimate]
    p = trace(
        right.astype(float), GROUP, GRPO() if estimator is None else IPS(), success=right,
        estimator=estimator, start=start, lr=LR, every=EARLY, points=STEPS // EARLY + 1,
        seeds=seeds,
    )[:, [1, -1], :answers].astype(float)  # fmt: skip
    recovery = (1 - (1 - p) ** SAMPLES).mean(-1)
    closed = dict.fromkeys(CLOSED)
    if estimator is not None:
        found = quality(estimate, 1 / answers, GROUP, visits=VISITS)
        closed = found._asdict() | {"bias": found.mean - 1}
    advised = {
        choose(per_member, short=True, back=True),
        choose(per_member, short=False, back=True),
    }
    return {
        "per_member": per_member,
        "estimator": estimate,
        **{key: closed[key] for key in CLOSED},
        "ideal": 1 - (1 - 1 / answers) ** SAMPLES,
        "recovery_early": interval(recovery[:, 0].tolist()),
        "recovery": interval(recovery[:, 1].tolist()),
        "validity_early": interval(p[:, 0].sum(-1).tolist()),
        "validity": interval(p[:, 1].sum(-1).tolist()),
        "advised": estimate in advised,
        "seeds": seeds,
    }


def _curves() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pull of the estimators over answers per member, 1/4 to 256."""
    loads = np.geomspace(0.25, 256, 41)
    named = {
        "group": {}, "leave-one-out": {}, f"replay, {VISITS} visits": {"visits": VISITS},
        "replay, 32 visits": {"visits": 32}, "likelihood": {},
        f"likelihood, {WAYS} texts per answer": {"ways": WAYS},
    }  # fmt: skip
    return {
        name: (
            loads,
            np.array([
                quality(name.split(",")[0], 1 / (load * GROUP), GROUP, **options).pull
                for load in loads
            ]),
        )
        for name, options in named.items()
    }  # fmt: skip
