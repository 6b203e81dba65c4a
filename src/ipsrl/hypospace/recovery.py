"""Recovery of H_O by N responses: metrics, exact curves, intervals, references.

    VR = valid / N     NR = distinct keys / N     RR = |distinct admissible keys| / |H_O|

A Boolean expression outside the space does not count for NR; the benchmark counts in the same way.
Averages are plain means over observation sets, and then over seeds.
Source: HypoSpace (2510.15614); the paper, section 5.2, reports RR from parallel samples.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ipsrl.core.metrics import expected_distinct, recovery
from ipsrl.errors import InvalidInput
from ipsrl.hypospace.datasets import ObservationSet
from ipsrl.hypospace.task import (
    AnyTask,
    Judgement,
    Malformed,
    Refused,
    Unreadable,
    Verdict,
    judge,
)

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95 % bootstrap interval."""

Protocol = Literal["parallel", "sequential", "benchmark"]
"""Samples of one prompt; prompts that show the answers so far; HypoSpace's own variant of these,
in which a set is asked a multiple of |H_O| times, and again for what cannot be read."""

_LEVEL = 0.95


@dataclass(frozen=True)
class Response:
    """One line of a file of responses."""

    id: str
    """Id of the observation set."""
    response: str
    seed: int = 0
    """Seed of the training run that it comes from."""
    truncated: bool = False
    """True if the limit of tokens cut it off."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the responses to some observation sets, beside two references.

    Lists belong to `draws`, the numbers of responses 1, 2, 4, ..., N.
    """

    sets: int
    seeds: int
    responses: int
    """N, per observation set and seed; in the benchmark's protocol, N / |H_O|."""
    protocol: str
    valid_rate: Interval
    novelty_rate: Interval
    recovery_rate: Interval
    verdicts: dict[str, int]
    """How often each verdict was given; "truncated" stands for no answer before the cut."""
    draws: list[int]
    recovery: list[Interval]
    distinct: list[Interval]
    """Admissible keys found per observation set."""
    one_mode: list[float]
    """Recovery of a policy that gives one admissible answer per set, always the same."""
    uniform: list[float]
    """Recovery of a sampler that draws uniformly from H_O."""
    truncated: int = 0
    """Responses that the limit of tokens cut off, with an answer or without."""

    def json(self) -> str:
        """All numbers as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """All numbers as a table for people."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        number = f"{self.responses} {self.protocol} responses"
        if self.protocol == "benchmark":
            number += " for each admissible answer"
        lines = [
            f"{self.sets} observation sets, {seeds}, {number}",
            f"  valid      VR  {_shown(self.valid_rate)}",
            f"  novel      NR  {_shown(self.novelty_rate)}",
            f"  recovered  RR  {_shown(self.recovery_rate)}",
            "",
            "     N   recovery                 distinct   one mode   ideal uniform",
        ]
        for row in zip(
            self.draws, self.recovery, self.distinct, self.one_mode, self.uniform, strict=True
        ):
            n, recovered, distinct, one, uniform = row
            lines.append(
                f"{n:6}   {_shown(recovered)}   {distinct[0]:8.2f}   {one:8.4f}   {uniform:13.4f}"
            )
        counts = ", ".join(f"{name} {count}" for name, count in self.verdicts.items())
        lines += ["", f"verdicts: {counts}"]
        if self.truncated:
            lines.append(
                f"{self.truncated} of {sum(self.verdicts.values())} responses were cut off at the "
                "limit of tokens: raise --max-tokens (in training, max_completion_length)"
            )
        return "\n".join(lines)


def recovery_curve(
    keys: Sequence[Hashable | None], admissible: Iterable[Hashable], draws: Sequence[int]
) -> np.ndarray:
    """Expected recovery rate of m of N responses, exactly, over all orders in which they may come.

        E RR(m) = 1/|H| sum_(h in H) [1 - C(N - n_h, m) / C(N, m)],   n_h responses with key h

    Args:
      keys: keys of N responses, None for none.
      admissible: H_O, at least one key.
      draws: numbers m, 1 <= m <= N.
    Returns:
      float64 array [draws].
    Raises:
      InvalidInput: if H_O is empty, or a number is not between 1 and N.
    """
    wanted = set(admissible)
    recovery(keys, wanted)  # refuses an empty set
    counts = list(Counter(key for key in keys if key in wanted).values())
    return expected_distinct(counts, draws, total=len(keys)) / len(wanted)


def ordered_curve(
    keys: Sequence[Hashable | None], admissible: Iterable[Hashable], draws: Sequence[int]
) -> np.ndarray:
    """Recovery rate of the first m responses, for sequential prompting, where the order matters.

    Args:
      keys, admissible, draws: see `recovery_curve`.
    Returns:
      float64 array [draws].
    """
    wanted = set(admissible)
    return np.array([recovery(keys[:m], wanted) for m in draws])


def uniform_reference(sizes: Sequence[int], draws: Sequence[int] | np.ndarray) -> np.ndarray:
    """Mean recovery rate of a sampler that is uniform over H_O: 1 - (1 - 1/|H|)^m.

    Args:
      sizes: |H_O| of each set.
      draws: numbers m of responses, [draws] or [sets, draws].
    Returns:
      float64 array [draws].
    """
    size = np.asarray(sizes, float)[:, None]
    if size.size == 0 or np.any(size < 1):
        raise InvalidInput("sizes must name at least one set, each with an admissible hypothesis.")
    return np.mean(1.0 - (1.0 - 1.0 / size) ** np.asarray(draws), axis=0)


def bootstrap(
    values: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds and sets, with a percentile interval from resampling both.

    Seeds and sets are drawn with replacement, independently.  With one seed, the interval says
    nothing of how much another run would differ.

    Args:
      values: [seeds, sets, ...].
      resamples: bootstrap samples.
      seed: of the resampling.
    Returns:
      mean, lower and upper end of the 95 % interval, each [...].
    """
    rng = np.random.default_rng(seed)
    seeds, sets = values.shape[:2]
    means = []
    for _ in range(resamples):
        # Weights instead of copies: how often each seed and each set was drawn.
        a = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds) / seeds
        b = np.bincount(rng.integers(sets, size=sets), minlength=sets) / sets
        means.append(np.tensordot(b, np.tensordot(a, values, axes=1), axes=1))
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return values.mean(axis=(0, 1)), low, high


def number_of_responses(one: ObservationSet, n: int, protocol: Protocol) -> int:
    """N of a set: n, or in the benchmark's protocol n |H_O|."""
    return n * len(set(one.admissible)) if protocol == "benchmark" else n


def evaluate(
    task: AnyTask,
    sets: Sequence[ObservationSet],
    responses: Iterable[Response],
    *,
    split: Literal["train", "test", "all"] = "all",
    protocol: Protocol = "parallel",
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Metrics of a file of responses.

    Args:
      task: the domain.
      sets: observation sets, those of other splits too if responses to them are in the file.
      responses: the same number N for every set of the split and seed, or in the benchmark's
        protocol the same multiple of |H_O|; of each, in the order given.
      split: of the sets to evaluate, every one of which must have responses.
      protocol: parallel samples of one prompt, where any order is as likely as another; or
        prompting with the answers so far, where recovery after m is that of the first m.
      resamples: of the bootstrap.
      seed: of the bootstrap.
    Returns:
      rates, curves with intervals, and references.  A set with fewer responses than a draw of the
      benchmark's protocol counts with all that it has.
    Raises:
      InvalidInput: if responses belong to no set, are missing or unequal in number, or if the
        observations or admissible keys of a set are wrong.
    """
    by_id = chosen(sets, split)
    check_sets(task, by_id.values())
    known = {one.id for one in sets}
    groups: dict[tuple[int, str], list[Judgement]] = defaultdict(list)
    verdicts: Counter[str] = Counter()
    truncated = 0
    for one in responses:
        if one.id not in known:
            raise InvalidInput(
                f"a response has the id {one.id[:60]!r}, which no observation set of the data has. "
                "Pass the data set that the prompts came from."
            )
        if one.id not in by_id:
            continue
        judgement = judge(task, by_id[one.id].observations, one.response)
        groups[one.seed, one.id].append(judgement)
        truncated += one.truncated
        unfinished = one.truncated and judgement.verdict is Verdict.NO_ANSWER
        verdicts["truncated" if unfinished else judgement.verdict.value] += 1
    seeds = sorted({seed for seed, _ in groups})
    each = _equal_number(groups, seeds, by_id, protocol)
    counts = [number_of_responses(one, each, protocol) for one in by_id.values()]
    draws = sorted({*(2**i for i in range(max(counts).bit_length())), max(counts)})
    curve = recovery_curve if protocol == "parallel" else ordered_curve
    sizes = np.array([len(set(one.admissible)) for one in by_id.values()])
    rates = np.empty((len(seeds), len(by_id), 3))
    curves = np.empty((len(seeds), len(by_id), len(draws)))
    for s, seed_ in enumerate(seeds):
        for i, (one, count) in enumerate(zip(by_id.values(), counts, strict=True)):
            judged = groups[seed_, one.id]
            for judgement in judged:
                _check_agreement(judgement, one)
            keys = [judgement.key for judgement in judged]
            rates[s, i] = (
                sum(judgement.valid for judgement in judged) / count,
                len({one.key for one in judged if _is_novel(one, task)}) / count,
                recovery(keys, one.admissible),
            )
            curves[s, i] = curve(keys, one.admissible, draws)
    valid, novel, recovered = _intervals(rates, resamples, seed)
    shown = np.minimum(draws, np.array(counts)[:, None])
    return Evaluation(
        sets=len(by_id),
        seeds=len(seeds),
        responses=each,
        protocol=protocol,
        valid_rate=valid,
        novelty_rate=novel,
        recovery_rate=recovered,
        verdicts={name: verdicts[name] for name in _VERDICTS if verdicts[name]},
        draws=draws,
        recovery=_intervals(curves, resamples, seed),
        distinct=_intervals(curves * sizes[:, None], resamples, seed),
        one_mode=[float(np.mean(1.0 / sizes))] * len(draws),
        uniform=uniform_reference(list(sizes), shown).tolist(),
        truncated=truncated,
    )


_VERDICTS = [*(verdict.value for verdict in Verdict), "truncated"]


def chosen(
    sets: Iterable[ObservationSet], split: Literal["train", "test", "all"]
) -> dict[str, ObservationSet]:
    """The sets of a split, by id.

    Raises:
      InvalidInput: if there are none.
    """
    found = {one.id: one for one in sets if split in ("all", one.split)}
    if not found:
        raise InvalidInput(f"no observation set of the data is of the split {split!r}.")
    return found


def check_sets(task: AnyTask, sets: Iterable[ObservationSet]) -> None:
    """Raise InvalidInput unless the judge and the data set have the same H_O.

    The prompt holds all options that H_O depends on, so another one would have other keys.
    """
    for one in sets:
        _check_agreement(judge(task, one.observations, ""), one)  # can they be read?
        if task.prompt(one.observations) != one.prompt:
            raise InvalidInput(
                f"{one.id}: its prompt is not the one that {task.name} writes with these options, "
                "so other answers may be admissible. Give the options that the data set was made "
                "with, or write it again."
            )
        for key in one.admissible:
            try:
                answer = task.answer(key)
            except (Malformed, Unreadable, Refused):
                answer = ""
            _check_agreement(judge(task, one.observations, answer), one, key)


def _is_novel(judgement: Judgement, task: AnyTask) -> bool:
    """True if the key, as the first of its kind, counts for NR."""
    inside = judgement.verdict is not Verdict.OUTSIDE
    return judgement.key is not None and (inside or task.novel_outside)


def _check_agreement(judgement: Judgement, one: ObservationSet, key: str | None = None) -> None:
    """Check a response, or the answer with a key that the data set calls admissible."""
    if judgement.verdict is Verdict.BAD_INPUT:
        raise InvalidInput(
            f"{one.id}: {judgement.detail}. Name the domain and options "
            "that the data set was made with, or write it again."
        )
    key = judgement.key if key is None else key
    if judgement.valid != (key in one.admissible):
        raise InvalidInput(
            f"{one.id}: the key {key!r} is {judgement.reason!r} by the rules of the "
            "domain, but not by the data set. Give the options that the data set was made with."
        )


def _equal_number(
    groups: dict[tuple[int, str], list],
    seeds: list[int],
    by_id: dict[str, ObservationSet],
    protocol: Protocol,
) -> int:
    """The number of responses of each set and seed; in the benchmark's protocol, over |H_O|."""
    if not groups:
        raise InvalidInput("there are no responses, so that nothing can be evaluated.")
    numbers = {
        (seed, one.id): len(groups.get((seed, one.id), [])) / number_of_responses(one, 1, protocol)
        for seed in seeds
        for one in by_id.values()
    }
    (few, fewest), (many, most) = (
        pick(numbers.items(), key=lambda item: item[1]) for pick in (min, max)
    )
    if fewest != most or fewest % 1:
        each = " for each admissible answer" if protocol == "benchmark" else ""
        raise InvalidInput(
            f"set {few[1]!r} has {fewest:g} responses{each} of seed {few[0]}, {many[1]!r} has "
            f"{most:g} of seed {many[0]}. Recovery grows with N, so sample each set equally often, "
            "and choose the split and the protocol that were asked."
        )
    return int(fewest)


def _intervals(values: np.ndarray, resamples: int, seed: int) -> list[Interval]:
    return [
        (float(mean), float(low), float(high))
        for mean, low, high in zip(*bootstrap(values, resamples=resamples, seed=seed), strict=True)
    ]


def _shown(interval: Interval) -> str:
    return f"{interval[0]:.4f} [{interval[1]:.4f}, {interval[2]:.4f}]"
