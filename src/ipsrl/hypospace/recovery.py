"""How much of H_O do N responses recover?  Metrics, exact curves, intervals, references.

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

from ipsrl.core.metrics import recovery
from ipsrl.errors import InvalidInput
from ipsrl.hypospace.task import AnyTask, Judgement, ObservationSet, Verdict, judge

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95 % bootstrap interval."""

_LEVEL = 0.95


@dataclass(frozen=True)
class Response:
    """One line of a file of responses."""

    id: str
    """Of the observation set."""
    response: str
    seed: int = 0
    """Of the training run that it comes from."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of the responses to some observation sets, beside two references.

    Lists belong to `draws`, the numbers of responses 1, 2, 4, ..., N.
    """

    sets: int
    seeds: int
    responses: int
    """N, per observation set and seed."""
    protocol: str
    valid_rate: Interval
    novelty_rate: Interval
    recovery_rate: Interval
    verdicts: dict[str, int]
    """How often each verdict was given."""
    draws: list[int]
    recovery: list[Interval]
    distinct: list[Interval]
    """Admissible keys found per observation set."""
    one_mode: list[float]
    """Recovery of a policy that gives one admissible answer per set, always the same."""
    uniform: list[float]
    """Recovery of a sampler that draws uniformly from H_O."""

    def json(self) -> str:
        """All numbers as one JSON object."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """All numbers as a table for people."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        lines = [
            f"{self.sets} observation sets, {seeds}, {self.responses} {self.protocol} responses",
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
        return "\n".join([*lines, "", f"verdicts: {counts}"])


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
    total = len(keys)
    if not all(1 <= m <= total for m in draws):
        raise InvalidInput(f"draws are {list(draws)}. Ask for 1 to {total}, as many as there are.")
    counts = Counter(key for key in keys if key in wanted)
    n = np.array(list(counts.values()), float)
    # C(N - n, m) / C(N, m) = prod_(i < m) (N - n - i) / (N - i), and 0 once N - n < m.
    i = np.arange(total)[:, None]
    missed = np.cumprod(np.maximum(total - n - i, 0.0) / (total - i), axis=0)
    found = np.sum(1.0 - missed, axis=1) / len(wanted)
    return found[np.asarray(draws, int) - 1]


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


def uniform_reference(sizes: Sequence[int], draws: Sequence[int]) -> np.ndarray:
    """Mean recovery rate of an ideal sampler, uniform over H_O: 1 - (1 - 1/|H|)^m.

    Args:
      sizes: |H_O| of each set.
      draws: numbers m of responses.
    Returns:
      float64 array [draws].
    """
    size = _sizes(sizes)[:, None]
    return np.mean(1.0 - (1.0 - 1.0 / size) ** np.asarray(draws), axis=0)


def one_mode_reference(sizes: Sequence[int], draws: Sequence[int]) -> np.ndarray:
    """Mean recovery rate of a policy collapsed onto one admissible answer: 1/|H|, however many.

    Args:
      sizes, draws: see `uniform_reference`.
    Returns:
      float64 array [draws].
    """
    return np.full(len(draws), np.mean(1.0 / _sizes(sizes)))


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


def evaluate(
    task: AnyTask,
    sets: Sequence[ObservationSet],
    responses: Iterable[Response],
    *,
    protocol: Literal["parallel", "sequential"] = "parallel",
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Metrics of a file of responses.

    Args:
      task: the domain.
      sets: observation sets, every one of which must have responses.
      responses: the same number N for every set and seed; of each, in the order given.
      protocol: parallel samples of one prompt, where any order is as likely as another; or
        sequential prompting with the answers so far, where recovery after m is that of the first m.
      resamples: of the bootstrap.
      seed: of the bootstrap.
    Returns:
      rates, curves with intervals, and references.
    Raises:
      InvalidInput: if responses belong to no set, are missing or unequal in number, or if the
        observations or admissible keys of a set are wrong.
    """
    by_id = {one.id: one for one in sets}
    for one in by_id.values():  # the judge and the data set must mean the same H_O
        for key in one.admissible:
            _check_agreement(judge(task, one.observations, task.answer(key)), one, key)
    groups: dict[tuple[int, str], list[Judgement]] = defaultdict(list)
    for one in responses:
        if one.id not in by_id:
            raise InvalidInput(
                f"a response has the id {one.id[:60]!r}, which no chosen observation set has. Pass "
                "the data set that the prompts came from, and the split that was asked."
            )
        groups[one.seed, one.id].append(judge(task, by_id[one.id].observations, one.response))
    seeds = sorted({seed for seed, _ in groups})
    count = _equal_number(groups, seeds, list(by_id))
    draws = sorted({*(2**i for i in range(count.bit_length())), count})
    curve = recovery_curve if protocol == "parallel" else ordered_curve
    sizes = np.array([len(set(one.admissible)) for one in by_id.values()])
    rates = np.empty((len(seeds), len(by_id), 3))
    curves = np.empty((len(seeds), len(by_id), len(draws)))
    for s, seed_ in enumerate(seeds):
        for i, one in enumerate(by_id.values()):
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
    verdicts = Counter(judgement.verdict.value for group in groups.values() for judgement in group)
    return Evaluation(
        sets=len(by_id),
        seeds=len(seeds),
        responses=count,
        protocol=protocol,
        valid_rate=valid,
        novelty_rate=novel,
        recovery_rate=recovered,
        verdicts={v.value: verdicts[v.value] for v in Verdict if verdicts[v.value]},
        draws=draws,
        recovery=_intervals(curves, resamples, seed),
        distinct=_intervals(curves * sizes[:, None], resamples, seed),
        one_mode=one_mode_reference(list(sizes), draws).tolist(),
        uniform=uniform_reference(list(sizes), draws).tolist(),
    )


def _is_novel(judgement: Judgement, task: AnyTask) -> bool:
    """Whether the key, if it is the first of its kind, counts for NR."""
    inside = judgement.verdict is not Verdict.OUTSIDE
    return judgement.key is not None and (inside or task.novel_outside)


def _check_agreement(judgement: Judgement, one: ObservationSet, key: str | None = None) -> None:
    """Of a response; or of the answer with a key that the data set calls admissible."""
    if judgement.verdict is Verdict.BAD_INPUT:
        raise InvalidInput(f"{one.id}: {judgement.detail}. Write the data set again.")
    key = judgement.key if key is None else key
    if judgement.valid != (key in one.admissible):
        raise InvalidInput(
            f"{one.id}: the key {key!r} is {judgement.reason!r} by the rules of the "
            "domain, but not by the data set. Give the options that the data set was made with."
        )


def _equal_number(groups: dict[tuple[int, str], list], seeds: list[int], ids: list[str]) -> int:
    if not groups:
        raise InvalidInput("there are no responses, so that nothing can be evaluated.")
    numbers = {(seed, id_): len(groups.get((seed, id_), [])) for seed in seeds for id_ in ids}
    (few, fewest), (many, most) = (
        pick(numbers.items(), key=lambda item: item[1]) for pick in (min, max)
    )
    if fewest != most:
        raise InvalidInput(
            f"set {few[1]!r} has {fewest} responses of seed {few[0]}, {many[1]!r} has {most} of "
            f"seed {many[0]}. Recovery grows with N, so sample each set equally often, and choose "
            "the split that was asked."
        )
    return fewest


def _intervals(values: np.ndarray, resamples: int, seed: int) -> list[Interval]:
    return [
        (float(mean), float(low), float(high))
        for mean, low, high in zip(*bootstrap(values, resamples=resamples, seed=seed), strict=True)
    ]


def _sizes(sizes: Sequence[int]) -> np.ndarray:
    found = np.asarray(sizes, float)
    if found.size == 0 or np.any(found < 1):
        raise InvalidInput("sizes must name at least one set, each with an admissible hypothesis.")
    return found


def _shown(interval: Interval) -> str:
    return f"{interval[0]:.4f} [{interval[1]:.4f}, {interval[2]:.4f}]"
