"""Search for molecules that score high and differ: the loop that all methods share.

    sample -> score -> penalise -> scale -> loss -> store

Each is a part of its own that does not know the others: `Prior.sample`, `Oracle`,
`DiversityFilter`, `signal`, `update`, `Memory`.  Step i of a seed draws from a generator made of
(seed, i), so a resumed run needs no generator state.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ipsrl.core.methods import ExemplarReplay
from ipsrl.core.metrics import effective_outcomes
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.molecules.config import Config
from ipsrl.molecules.generator.pretraining import REPEATED, read_smiles
from ipsrl.molecules.generator.prior import Prior, padded
from ipsrl.molecules.generator.weights import pack, unpack
from ipsrl.molecules.molecule import random_smiles
from ipsrl.molecules.scoring.aggregate import Scoring
from ipsrl.molecules.search.diversity import DiversityFilter
from ipsrl.molecules.search.learning import Lesson, signal, update
from ipsrl.molecules.search.memory import Entry, Memory
from ipsrl.molecules.search.oracle import Call, Oracle, Status
from ipsrl.molecules.search.outcomes import OutcomeProbability

RECENT = 5  # batches whose mean reward ends a search, if it is to
IDLE = 50  # batches in a row without one new molecule, after which the search is over
LOST = 5  # batches in a row with half the best one's valid share, after which the agent has drifted


class Sample(NamedTuple):
    """One sequence that the agent drew.

    Attributes:
      written: its SMILES as the agent wrote it; None for one that does not end.
      smiles: canonical; None for what is not a molecule.
      ids_T: tokens.
      call: that of its molecule; None without one, or where the budget does not cover it.
    """

    written: str | None
    smiles: str | None
    ids_T: torch.Tensor
    call: Call | None

    @property
    def is_learned(self) -> bool:
        """Not what failed, and not what the budget does not cover: 0 would be a lie."""
        return self.call.status is Status.VALID if self.call else self.smiles is None


class Made(NamedTuple):
    """The record of an oracle call in a search: its step, and its reward after the filter."""

    step: int
    penalised: float


@dataclass
class Tally:
    """The counts of a search, and its best batch.

    Attributes:
      steps: batches drawn.
      idle: batches in a row without a new molecule.
      lost: batches in a row that have drifted.
      restored: times that the best agent was put back.
      hits: calls with a reward above the threshold.
      recent: mean rewards of the molecules of the last batches.
      samples: SMILES drawn, of which `invalid` are not molecules.
      best: mean reward of the best batch, and `best_valid` its share of molecules.
      left_out: lines of the file of known ones that are not molecules, by reason.
    """

    steps: int = 0
    idle: int = 0
    lost: int = 0
    restored: int = 0
    hits: int = 0
    samples: int = 0
    invalid: int = 0
    best: float = -1.0
    best_valid: float = 0.0
    recent: list[float] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


class Search:
    """A search between two steps: agent, oracle, filter, memory and what is known of outcomes.

    Args:
      agent: what it starts with; the prior if not given.
    """

    def __init__(
        self, config: Config, scoring: Scoring, prior: Prior, agent: Prior | None = None
    ) -> None:
        prior = prior.decorating(config.decorate) if config.decorate else prior
        self.config, self.prior = config, prior
        self.agent = replace(prior, model=copy.deepcopy((agent or prior).model))
        self.optimiser = torch.optim.Adam(self.agent.model.parameters(), lr=config.lr)
        self.oracle = Oracle(scoring, config.budget, stereo=config.scaffold_stereo)
        self.filter = DiversityFilter(config)
        self.memory = Memory(config.memory)
        self.exemplars: dict[int, Entry] = {}  # of each right outcome, the oldest first
        self.probability = OutcomeProbability(config, self._log_likelihood)
        self.made: list[Made] = []  # one for each call of the oracle
        self.best: dict[str, np.ndarray] = {}
        self.tally = Tally()

    # --- one step ---------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """Draw a batch, score it, and learn from it; returns a line of metrics."""
        config, tally = self.config, self.tally
        if tally.steps == 0 and config.inception:
            self._begin(Path(config.inception))
        tally.steps += 1
        rng = np.random.default_rng([config.seed, tally.steps])
        samples, new = self._draw(self.agent.generator(int(rng.integers(2**63 - 1))))
        restored = self._guard(samples)

        # What a lost agent drew teaches the one that was put back nothing.
        learned = [] if restored else self._learned(samples)
        calls = [sample.call for sample in learned]
        kinds = self.filter.keys({call.smiles: call.scaffold for call in calls if call})
        rewards = self.filter.penalise(
            np.array([call.reward if call else 0.0 for call in calls]),
            [kinds[call.smiles] if call else "" for call in calls],
        )
        found: dict[str, Entry] = {}
        for sample, reward in zip(learned, rewards.tolist(), strict=True):
            if call := sample.call:
                entry = Entry(call.smiles, sample.written or "", kinds[call.smiles], reward)
                found.setdefault(call.smiles, entry)
        entries = list(found.values())
        raw = {call.smiles: call.reward for call in calls if call}
        purged = self._purged(entries)
        self.memory.add(entries)
        self._remember(entries)
        self.filter.add((e.kind for e in entries), (raw[e.smiles] for e in entries))
        self.made += [Made(tally.steps, _reward(found.get(call.smiles))) for call in new]
        told = {"loss": 0.0}
        if not restored:
            told = self._learn(learned, rewards, entries, purged, rng)
        calls = [sample.call for sample in samples]
        valid = [call.reward for call in calls if call and call.status is Status.VALID]
        tally.recent = [*tally.recent, float(np.mean(valid)) if valid else 0.0][-RECENT:]
        return {
            "step": tally.steps,
            "calls": len(self.oracle.calls),
            "new": len(new),
            "failed": self.oracle.statuses[Status.FAILED],
            "timeouts": self.oracle.statuses[Status.TIMEOUT],
            "valid": _valid_share(samples),
            "reward": float(np.mean(valid)) if valid else None,
            "penalised": float(rewards.mean()) if len(rewards) else 0.0,
            "effective_outcomes": self._effective(),
            "memory": len(self.memory.entries),
            "restored": tally.restored,
            "hits": tally.hits,
            **told,
        }

    def _begin(self, known: Path) -> None:
        """Score known molecules, and begin the memory with them; the filter does not count them.

        What the agent cannot write is scored as well, but cannot be learned from.
        """
        written: dict[str, str] = {}
        molecules, left_out = read_smiles(known)
        for text, smiles in molecules.items():
            written.setdefault(smiles, text)
        self.tally.left_out = {why: n for why, n in left_out.items() if why != REPEATED}
        calls = [call for call in self.oracle(list(written)) if call]
        kinds = self.filter.keys({call.smiles: call.scaffold for call in calls})
        entries = [
            Entry(call.smiles, text, kinds[call.smiles], call.reward)
            for call in calls
            for text in dict.fromkeys((written[call.smiles], call.smiles))
            if self.agent.can_write(text)
        ]
        self.memory.add(entries)  # which takes a molecule as it is written first
        self.made += [Made(0, call.reward) for call in calls]
        self.tally.hits += sum(call.reward > self.config.threshold for call in calls)

    def _draw(self, generator: torch.Generator) -> tuple[list[Sample], list[Call]]:
        """A batch with its calls, and the calls that were made now."""
        drawn = self.agent.sample(self.config.batch, generator)
        written = self.agent.decode(drawn.ids_NT)
        smiles = [self.agent.molecule(text) for text in written]
        before = len(self.oracle.calls)
        answers = iter(self.oracle([text for text in smiles if text is not None]))
        calls = [None if text is None else next(answers) for text in smiles]
        new = self.oracle.calls[before:]
        self.tally.hits += sum(call.reward > self.config.threshold for call in new)
        right = None
        if (above := self.config.success_above) is not None:
            right = np.array([call is not None and call.reward > above for call in calls])
        self.probability.show(smiles, drawn.ids_NT, drawn.log_probs_NT.sum(-1).numpy(), right)
        self.tally.samples += len(smiles)
        self.tally.invalid += smiles.count(None)
        self.tally.idle = 0 if new else self.tally.idle + 1
        return list(map(Sample, written, smiles, drawn.ids_NT, calls)), new

    def _learned(self, samples: list[Sample]) -> list[Sample]:
        """Those that are learned from.

        REINVENT learns from each molecule once and not from invalid SMILES; in a group, repeats and
        invalid SMILES are what its shares and its mean are about.
        """
        learned = [sample for sample in samples if sample.is_learned]
        if self.config.method != "reinvent":
            return learned
        first: dict[str, Sample] = {}
        for sample in learned:
            if sample.smiles is not None:
                first.setdefault(sample.smiles, sample)
        return list(first.values())

    def _learn(
        self,
        batch: list[Sample],
        rewards_N: np.ndarray,
        found: list[Entry],
        purged: set[str],
        rng: np.random.Generator,
    ) -> dict[str, float]:
        """Updates on the batch and on the memory; metrics of the first."""
        config = self.config
        replayed = self.memory.draw(config.replay, rng)
        memory = self._group(replayed, [entry.written for entry in replayed])
        joined = Lesson(
            padded([*(sample.ids_T.tolist() for sample in batch), *memory.ids_NT.tolist()]),
            [sample.smiles for sample in batch] + memory.smiles,
            np.concatenate([rewards_N, memory.rewards_N]),
        )
        loss, scaled_N = self._update(joined)
        told = {"loss": loss}
        if batch and scaled_N is not None:  # the memory's come after the batch's
            told["ips/reward"] = float(scaled_N[: len(batch)].mean())
        self.memory.purge(purged)
        self.exemplars = {o: e for o, e in self.exemplars.items() if e.kind not in purged}
        for _ in range(config.augmentations):
            entries = [*found, *self.memory.entries]
            seeds = rng.integers(2**31 - 1, size=len(entries)).tolist()
            self._update(self._group(entries, list(map(self._rewritten, entries, seeds))))
        return told

    def _purged(self, entries: list[Entry]) -> set[str]:
        """Kinds that the memory is to forget, as the filter is before it counts the batch."""
        match self.config.purge:
            case "zero":
                return {entry.kind for entry in entries if entry.reward == 0}
            case "full":
                return {entry.kind for entry in entries if self.filter.full(entry.kind)}
        return set()

    def _remember(self, entries: list[Entry]) -> None:
        """Take exemplars of what is right, if the method learns from them."""
        method, above = self.config.shaping(), self.config.success_above or 0.0
        if isinstance(method, ExemplarReplay):
            right = [entry for entry in entries if entry.reward > above]
            ids = self.probability.ids([entry.smiles for entry in right]).tolist()
            method.remember(self.exemplars, zip(ids, right, strict=True))

    def _update(self, group: Lesson) -> tuple[float, np.ndarray | None]:
        """The loss of an update on a group, and its scaled rewards, if the method scales."""
        if not group.smiles:
            return 0.0, None
        taught_N, scaled_N = signal(self.config, self.probability, group, self.prior)
        exemplars = [entry.written for entry in self.exemplars.values()]
        loss = update(
            self.config, self.agent, self.prior, self.optimiser, group.ids_NT, taught_N,
            self.agent.encode(exemplars) if exemplars else None,
        )  # fmt: skip
        return loss, scaled_N

    def _group(self, entries: list[Entry], written: list[str]) -> Lesson:
        return Lesson(
            self.agent.encode(written),
            [entry.smiles for entry in entries],
            np.array([entry.reward for entry in entries]),
        )

    def _rewritten(self, entry: Entry, seed: int) -> str:
        """A random SMILES of the molecule, if the agent can write it."""
        text = random_smiles(entry.smiles, seed)
        return text if self.agent.can_write(text) else entry.written

    def _guard(self, samples: list[Sample]) -> bool:
        """Remember the agent whose batch earned most, and go back to it when it has drifted."""
        tally, valid = self.tally, _valid_share(samples)
        calls = [sample.call for sample in samples]
        mean = float(np.mean([call.reward if call and call.reward > 0 else 0.0 for call in calls]))
        drifted = valid < tally.best_valid / 2
        tally.lost = tally.lost + 1 if drifted else 0
        if not self.best or (not drifted and mean > tally.best):
            tally.best, tally.best_valid = mean, valid
            self.best = pack(self.agent.model, self.optimiser)
        if tally.lost < LOST:
            return False
        unpack(self.best, self.agent.model, self.optimiser)
        tally.lost, tally.restored = 0, tally.restored + 1
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
    def ended(self) -> str:
        """The reason why the search is over; "" while it goes on."""
        if self.oracle.left == 0:
            return "budget"
        recent, until = self.tally.recent, self.config.until
        if until is not None and len(recent) == RECENT and np.mean(recent) > until:
            return "until"
        return "idle" if self.tally.idle >= IDLE else ""

    @property
    def hits(self) -> list[Call]:
        """Calls with a reward above the threshold: looks through all calls."""
        return [call for call in self.oracle.calls if call.reward > self.config.threshold]


def _valid_share(samples: list[Sample]) -> float:
    return 1 - sum(sample.smiles is None for sample in samples) / len(samples)


def _reward(entry: Entry | None) -> float:
    return entry.reward if entry else math.nan
