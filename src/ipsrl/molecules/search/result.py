"""The result of a search: its figures, and the table of its calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ipsrl.core.metrics import oracle_burden
from ipsrl.molecules.component import kinds_of_reasons
from ipsrl.molecules.search.loop import Search
from ipsrl.molecules.search.oracle import Status


@dataclass(frozen=True)
class Result:
    """Outcome of a run.

    Attributes:
      calls: oracle calls made; `failed` and `timeouts` of them gave no value.
      failed: calls that a component has no value for.
      timeouts: calls that a component has no value for within its limit.
      samples: SMILES drawn: calls, repeats and `invalid` ones, and those that the cut of the last
        batch left out.
      invalid: SMILES drawn that are not molecules; they cost no call.
      steps: batches.
      hits: distinct molecules with a reward above the threshold (yield).
      ob100: calls until 100 hits; None if there are fewer.
      scaffolds: Murcko scaffolds among the hits.
      best: highest reward; None if no call has one.
      restored: times that the drift guard put the best agent back.
      ended: budget, until where its mean reward is reached, or idle when no new molecule came any
        more.
      reasons: the five most frequent ones of calls without a value, and how often each; reasons of
        one kind (`kinds_of_reasons`) are one.
      cut: values outside [0, 1] that the identity transform cut to it, by component.
      left_out: lines of the file of known molecules (inception) that are not molecules, by reason.
    """

    calls: int
    failed: int
    timeouts: int
    samples: int
    invalid: int
    steps: int
    hits: int
    ob100: int | None
    scaffolds: int
    best: float | None
    restored: int
    ended: str
    reasons: dict[str, int]
    cut: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)  # which older runs do not have

    def warning(self) -> str:
        """A warning that every user of the result must see; "" if all is well."""
        lines = [
            f"WARNING: {count} values of the component {name!r} are not in [0, 1], and were cut to "
            "it. Give it a transform."
            for name, count in self.cut.items()
        ]
        lines += [
            f"WARNING: lines of known molecules that are left out: {count} ({why})."
            for why, count in self.left_out.items()
        ]
        if lost := self.failed + self.timeouts:
            lines += [
                f"WARNING: {lost} of {self.calls} oracle calls ({lost / self.calls:.1%}) have no "
                f"value: {self.failed} failed, {self.timeouts} ran out of time.",
                "They cost their call, have no reward, and nothing was learned from them. Most "
                "frequent reasons:",
                *(f"  {count:6}  {reason}" for reason, count in self.reasons.items()),
            ]
        return "\n".join(lines)


def result_of(search: Search) -> Result:
    """The figures of a search as it is now."""
    calls, hits, statuses = search.oracle.calls, search.hits, search.oracle.statuses
    rewards, ids = np.array([call.reward for call in calls]), np.arange(len(calls))
    return Result(
        calls=len(calls),
        failed=statuses[Status.FAILED],
        timeouts=statuses[Status.TIMEOUT],
        samples=search.tally.samples,
        invalid=search.tally.invalid,
        steps=search.tally.steps,
        hits=len(hits),
        ob100=oracle_burden(rewards, ids, threshold=search.config.threshold),
        scaffolds=len({call.scaffold for call in hits}),
        best=max((call.reward for call in calls if call.reward >= 0), default=None),
        restored=search.tally.restored,
        ended=search.ended,
        reasons=dict(kinds_of_reasons(call.reason for call in calls if call.reason).most_common(5)),
        cut={
            component.column: cut
            for i, component in enumerate(search.config.components)
            if component.transform.kind == "identity"
            and (cut := sum(call.raw[i] < 0 or call.raw[i] > 1 for call in calls))
        },
        left_out=search.tally.left_out,
    )


def table_of(search: Search, first: int) -> pa.Table:
    """Calls from number `first` + 1 on, with their raw values; null where there is none."""
    calls, made = search.oracle.calls[first:], search.made[first:]
    columns: dict[str, pa.Array] = {
        "call": pa.array([call.number for call in calls], pa.int64()),
        "step": pa.array([step for step, _ in made], pa.int64()),
        "smiles": pa.array([call.smiles for call in calls], pa.string()),
        "scaffold": pa.array([call.scaffold for call in calls], pa.string()),
        "status": pa.array([call.status.value for call in calls], pa.string()),
        "reason": pa.array([call.reason for call in calls], pa.string()),
        "reward": _numbers([call.reward for call in calls]),
        "penalised": _numbers([reward for _, reward in made]),
    }
    for i, name in enumerate(search.oracle.scoring.names):
        columns[name] = _numbers([call.raw[i] for call in calls])
    return pa.table(columns)


def filter_of(search: Search) -> pa.Table:
    """How often the filter has counted each scaffold since the last table of this kind."""
    added, search.filter.added = search.filter.added, Counter()
    return pa.table(
        {
            "step": pa.array([search.tally.steps] * len(added), pa.int64()),
            "scaffold": pa.array(list(added), pa.string()),
            "drawn": pa.array(list(added.values()), pa.int64()),
        }
    )


def _numbers(values: list[float]) -> pa.Array:
    """NaN becomes null: a file should not hold a number that is none."""
    return pa.array(values, pa.float64(), from_pandas=True)
