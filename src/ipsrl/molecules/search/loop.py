"""Search for molecules that score high and differ: the loop that all methods share.

    sample -> score -> penalise -> scale -> loss -> store

Each is a part of its own that does not know the others: `Prior.sample`, `Oracle`,
`DiversityFilter`, `signal`, `update`, `Memory`.  Step i of a seed draws from a generator made of
(seed, i), so a resumed run needs no generator state.
"""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ipsrl.core.metrics import distinct_yield, effective_outcomes, oracle_burden
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.molecules.config import Config
from ipsrl.molecules.generator.prior import Prior, padded
from ipsrl.molecules.generator.weights import pack, unpack
from ipsrl.molecules.molecule import canonical, random_smiles
from ipsrl.molecules.scoring.aggregate import Scoring
from ipsrl.molecules.search.diversity import DiversityFilter
from ipsrl.molecules.search.learning import Lesson, signal, update
from ipsrl.molecules.search.memory import Entry, Memory
from ipsrl.molecules.search.oracle import Call, Oracle, Status
from ipsrl.molecules.search.outcomes import Drawn, OutcomeProbability

IDLE = 50  # batches in a row without one new molecule, after which the search is over
LOST = 5  # batches in a row with half the best one's valid share, after which the agent has drifted


@dataclass(frozen=True)
class Result:
    """Outcome of a run.

    Attributes:
      calls: oracle calls made; `failed` and `timeouts` of them gave no value.
      failed: calls that a component has no value for.
      timeouts: calls that a component has no value for within its limit.
      samples: SMILES drawn: calls, repeats and `invalid` ones, and those that the cut of the last
        batch left out.
      invalid: SMILES drawn that are no molecule; they cost no call.
      steps: batches.
      hits: distinct molecules with a reward above the threshold (yield).
      ob100: calls until 100 hits; None if there are fewer.
      scaffolds: Murcko scaffolds among the hits.
      best: highest reward; None if no call has one.
      restored: times that the drift guard put the best agent back.
      ended: budget, or idle when no new molecule came any more.
      reasons: the five most frequent ones of calls without a value, and how often each.
      cut: values outside [0, 1] that the identity transform cut to it, by component.
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

    def warning(self) -> str:
        """What nobody who uses the result may overlook; "" if all is well."""
        lines = [
            f"WARNING: {count} values of the component {name!r} are not in [0, 1], and were cut to "
            "it. Give it a transform."
            for name, count in self.cut.items()
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


class Search:
    """A search between two steps: agent, oracle, filter, memory and what is known of outcomes."""

    def __init__(self, config: Config, scoring: Scoring, prior: Prior) -> None:
        self.config, self.prior = config, prior
        self.agent = Prior(copy.deepcopy(prior.model), prior.vocabulary)
        self.optimiser = torch.optim.Adam(self.agent.model.parameters(), lr=config.lr)
        self.oracle = Oracle(scoring, config.budget)
        self.filter = DiversityFilter(config.bucket)
        self.memory = Memory(config.memory)
        self.probability = OutcomeProbability(config, self._log_likelihood)
        self.made: list[tuple[int, float]] = []  # of each call: its step, its reward penalised
        self.best: dict[str, np.ndarray] = {}
        self.tally = {
            "steps": 0, "idle": 0, "lost": 0, "restored": 0, "samples": 0, "invalid": 0,
            "best": -1.0, "best_valid": 0.0,
        }  # fmt: skip

    # --- one step ---------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """Draw a batch, score it, and learn from it; returns a line of metrics."""
        config, tally = self.config, self.tally
        tally["steps"] += 1
        rng = np.random.default_rng([config.seed, tally["steps"]])
        generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
        drawn = self.agent.sample(config.batch, generator)
        texts = self.agent.decode(drawn.ids_NT)
        smiles = [canonical(text) for text in texts]
        calls, new = self._score(smiles)
        right = None
        if (above := config.success_above) is not None:
            right = np.array([call is not None and call.reward > above for call in calls])
        self.probability.show(smiles, drawn.ids_NT, drawn.log_probs_NT.sum(-1).numpy(), right)
        restored = self._guard(smiles, calls)

        # What a lost agent drew teaches the one that was put back nothing.
        rows = [] if restored else self._learned(smiles, calls)
        learned = [calls[i] for i in rows]
        rewards = self.filter.penalise(
            np.array([call.reward if call else 0.0 for call in learned]),
            [call.scaffold if call else "" for call in learned],
        )
        found: dict[str, Entry] = {}
        for i, call, reward in zip(rows, learned, rewards.tolist(), strict=True):
            if call:
                entry = Entry(call.smiles, texts[i] or "", call.scaffold, reward)
                found.setdefault(call.smiles, entry)
        entries = list(found.values())
        scaffolds = [entry.scaffold for entry in entries]
        filtered = {name for name in scaffolds if self.filter.full([name])[0]}
        self.memory.add(entries)
        self.filter.add(scaffolds)
        self.made += [(tally["steps"], _reward(found.get(call.smiles))) for call in new]
        batch = Lesson(drawn.ids_NT[rows], [smiles[i] for i in rows], rewards)
        loss = 0.0 if restored else self._learn(batch, entries, filtered, rng)
        valid = [call.reward for call in calls if call and call.status is Status.VALID]
        return {
            "step": tally["steps"],
            "calls": len(self.oracle.calls),
            "new": len(new),
            "valid": 1 - smiles.count(None) / len(smiles),
            "reward": float(np.mean(valid)) if valid else None,
            "penalised": float(rewards.mean()) if len(rewards) else 0.0,
            "effective_outcomes": self._effective(),
            "memory": len(self.memory.entries),
            "restored": int(tally["restored"]),
            "hits": len(self.hits),
            "loss": loss,
        }

    def _score(self, smiles: list[str | None]) -> tuple[list[Call | None], list[Call]]:
        """The call of each sample, and the calls that were made now."""
        before = len(self.oracle.calls)
        answers = iter(self.oracle([text for text in smiles if text is not None]))
        calls = [None if text is None else next(answers) for text in smiles]
        new = self.oracle.calls[before:]
        self.tally["samples"] += len(smiles)
        self.tally["invalid"] += smiles.count(None)
        self.tally["idle"] = 0 if new else self.tally["idle"] + 1
        return calls, new

    def _learned(self, smiles: list[str | None], calls: list[Call | None]) -> list[int]:
        """Rows that are learned from: not what failed, and not what the budget does not cover.

        REINVENT learns from each molecule once and not from invalid SMILES; in a group, repeats and
        invalid SMILES are what its shares and its mean are about.
        """
        rows = [
            i for i, (text, call) in enumerate(zip(smiles, calls, strict=True))
            if (call.status is Status.VALID if call else text is None)
        ]  # fmt: skip
        if self.config.method != "reinvent":
            return rows
        first = {smiles[i]: i for i in reversed(rows) if smiles[i] is not None}
        return sorted(first.values())

    def _learn(
        self, batch: Lesson, found: list[Entry], filtered: set[str], rng: np.random.Generator
    ) -> float:
        """Updates on the batch and on the memory; returns the loss of the first."""
        config = self.config
        replayed = self.memory.draw(config.replay, rng)
        memory = self._group(replayed, [entry.written for entry in replayed])
        joined = Lesson(
            padded([*batch.ids_NT.tolist(), *memory.ids_NT.tolist()]),
            batch.smiles + memory.smiles,
            np.concatenate([batch.rewards_N, memory.rewards_N]),
        )
        loss = self._update(joined)
        self.memory.purge(filtered)
        for _ in range(config.augmentations):
            entries = [*found, *self.memory.entries]
            seeds = rng.integers(2**31 - 1, size=len(entries)).tolist()
            self._update(self._group(entries, list(map(self._rewritten, entries, seeds))))
        return loss

    def _update(self, group: Lesson) -> float:
        if not group.smiles:
            return 0.0
        taught = signal(self.config, self.probability, group)
        return update(self.config, self.agent, self.prior, self.optimiser, group.ids_NT, taught)

    def _group(self, entries: list[Entry], written: list[str]) -> Lesson:
        return Lesson(
            self.agent.encode(written),
            [entry.smiles for entry in entries],
            np.array([entry.reward for entry in entries]),
        )

    def _rewritten(self, entry: Entry, seed: int) -> str:
        """A random SMILES of it, where the vocabulary has its tokens."""
        text = random_smiles(entry.smiles, seed)
        return text if self.agent.vocabulary.covers(text) else entry.written

    def _guard(self, smiles: list[str | None], calls: list[Call | None]) -> bool:
        """Remember the agent whose batch earned most, and go back to it when it has drifted."""
        tally = self.tally
        rewards = [call.reward if call and call.reward > 0 else 0.0 for call in calls]
        mean, valid = float(np.mean(rewards)), 1 - smiles.count(None) / len(smiles)
        drifted = valid < tally["best_valid"] / 2
        tally["lost"] = tally["lost"] + 1 if drifted else 0
        if not self.best or (not drifted and mean > tally["best"]):
            tally["best"], tally["best_valid"] = mean, valid
            self.best = pack(self.agent.model, self.optimiser)
        if tally["lost"] < LOST:
            return False
        unpack(self.best, self.agent.model, self.optimiser)
        tally["lost"], tally["restored"] = 0, tally["restored"] + 1
        return True

    def _effective(self) -> float:
        """Effective outcomes of the batch: exp of the entropy of their shares."""
        ids = self.probability.batches[-1].outcomes_G
        _, counts = np.unique(ids[ids != NO_OUTCOME], return_counts=True)
        return float(effective_outcomes(counts / counts.sum())) if len(counts) else 0.0

    def _log_likelihood(self, ids_NT: torch.Tensor) -> np.ndarray:
        return self.agent.total_log_probs(ids_NT, batch=self.config.micro_batch).numpy()

    # --- what it has found ------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        return int(self.tally["steps"])

    @property
    def ended(self) -> str:
        """Why the search is over, or "" while it is not."""
        if self.oracle.left == 0:
            return "budget"
        return "idle" if self.tally["idle"] >= IDLE else ""

    @property
    def hits(self) -> list[Call]:
        """Calls with a reward above the threshold."""
        return [call for call in self.oracle.calls if call.reward > self.config.threshold]

    def result(self) -> Result:
        calls, threshold = self.oracle.calls, self.config.threshold
        rewards = np.array([call.reward for call in calls])
        ids = np.arange(len(calls))
        return Result(
            calls=len(calls),
            failed=sum(call.status is Status.FAILED for call in calls),
            timeouts=sum(call.status is Status.TIMEOUT for call in calls),
            samples=int(self.tally["samples"]),
            invalid=int(self.tally["invalid"]),
            steps=self.steps,
            hits=distinct_yield(rewards, ids, threshold=threshold),
            ob100=oracle_burden(rewards, ids, threshold=threshold),
            scaffolds=len({call.scaffold for call in self.hits}),
            best=max((call.reward for call in calls if call.reward >= 0), default=None),
            restored=int(self.tally["restored"]),
            ended=self.ended,
            reasons=dict(Counter(call.reason for call in calls if call.reason).most_common(5)),
            cut={
                component.column: cut
                for i, component in enumerate(self.config.components)
                if component.transform.kind == "identity"
                and (cut := sum(call.raw[i] < 0 or call.raw[i] > 1 for call in calls))
            },
        )

    def table(self, first: int) -> pa.Table:
        """Calls from number `first` + 1 on, with their raw values; null where there is none."""
        calls, made = self.oracle.calls[first:], self.made[first:]
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
        for i, name in enumerate(self.oracle.scoring.names):
            columns[name] = _numbers([call.raw[i] for call in calls])
        return pa.table(columns)

    # --- checkpoints ------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """All that `restore` needs beside the table of calls."""
        memo = {
            "tally": self.tally, "counts": self.filter.counts,
            "memory": self.memory.entries, "molecules": self.probability.molecules,
        }  # fmt: skip
        arrays = pack(self.agent.model, self.optimiser)
        arrays |= {f"best/{name}": array for name, array in self.best.items()}
        for i, batch in enumerate(self.probability.batches):
            arrays[f"history/{i}/outcomes"] = batch.outcomes_G
            arrays[f"history/{i}/ids"] = batch.ids_GT.numpy()
            arrays[f"history/{i}/log_p"] = batch.log_p_G
        return arrays | {"memo": np.frombuffer(json.dumps(memo).encode(), np.uint8)}

    def restore(self, arrays: dict[str, np.ndarray], rows: list[dict[str, Any]]) -> None:
        """Put back what `state` and `table` returned."""
        memo = json.loads(arrays["memo"].tobytes())
        self.tally = memo["tally"]
        self.filter = DiversityFilter(self.config.bucket, memo["counts"])
        self.memory = Memory(self.config.memory, [Entry(*entry) for entry in memo["memory"]])
        unpack(arrays, self.agent.model, self.optimiser)
        self.best = {
            name.removeprefix("best/"): array
            for name, array in arrays.items() if name.startswith("best/")
        }  # fmt: skip
        self.probability.molecules = memo["molecules"]
        batches = sum(name.endswith("/log_p") for name in arrays)
        self.probability.batches = [
            Drawn(
                arrays[f"history/{i}/outcomes"],
                torch.from_numpy(arrays[f"history/{i}/ids"]),
                arrays[f"history/{i}/log_p"],
            )
            for i in range(batches)
        ]
        names = self.oracle.scoring.names
        calls = [
            Call(
                row["call"], row["smiles"], row["scaffold"], Status(row["status"]), row["reason"],
                tuple(_nan(row[name]) for name in names), _nan(row["reward"]),
            )
            for row in rows
        ]  # fmt: skip
        self.oracle = Oracle(self.oracle.scoring, self.config.budget, calls)
        self.made = [(row["step"], _nan(row["penalised"])) for row in rows]


def _numbers(values: list[float]) -> pa.Array:
    """NaN becomes null: a file should not hold a number that is none."""
    return pa.array(values, pa.float64(), from_pandas=True)


def _reward(entry: Entry | None) -> float:
    return entry.reward if entry else math.nan


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
