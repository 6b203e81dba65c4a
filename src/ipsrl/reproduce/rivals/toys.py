"""Toys of one question: a softmax over all answers, each of which can be written in a few ways.

    pi(text) = pi(answer) pi(way | answer),    p(answer) is known exactly

All learning rates and seeds of a method are trained side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ipsrl.core.group import Group
from ipsrl.reproduce.rivals.contestants import CONTESTANTS, OUTSIDE, Contestant
from ipsrl.reproduce.rivals.record import LAST, SEEDS, Record, chosen_rate

EVALUATIONS = 10
RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Steps of gradient ascent that are tried with every method."""
TUNING_SEEDS = (100, 101, 102)
"""Seeds that a learning rate is chosen with, and nothing else."""
MEASURES = ("coverage", "reward", "overlap", "evenness")


@dataclass(frozen=True)
class Toy:
    """One question with equally right answers.

    Attributes:
      name: of the task.
      logits: of the right answers at the start, from a generator [right].
      wrong: number of wrong answers, all equally likely at the start.
      validity: probability of all right answers together at the start.
      group_size: samples that are compared with each other.
      ways: of writing an answer; at the start they have shares of 1/2, 1/4, ..., the last twice.
      wrong_reward: what a wrong answer earns; a right one earns 1.
      samples: drawn per step.
      steps: of gradient ascent.
      draws: samples of which recovery is measured.
    """

    name: str
    logits: Callable[[np.random.Generator], np.ndarray]
    wrong: int
    validity: float
    group_size: int
    ways: int = 1
    wrong_reward: float = 0.0
    samples: int = 64
    steps: int = 300
    draws: int = 64

    coverage: ClassVar[str] = "recovery"
    reward: ClassVar[str] = "validity"

    @property
    def right(self) -> int:
        return len(self.logits(np.random.default_rng(0)))

    @property
    def budget(self) -> int:
        return self.steps * self.samples

    def contestants(self) -> dict[str, Any]:
        return {name: one for name, one in CONTESTANTS.items() if one.estimator != "kernel"}

    def left_out(self) -> dict[str, str]:
        return {
            "ips kernel": "with the similarity 1[same answer] it is the group's count",
            "flowrl, trajectory balance": "losses of other families",
            **OUTSIDE,
        }

    def start(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of the answers [K], the right ones first, and of their ways [K, W]."""
        right = self.logits(np.random.default_rng(seed))
        right = right - np.log(np.exp(right).sum()) + np.log(self.validity)
        wrong = np.full(self.wrong, np.log((1 - self.validity) / self.wrong))
        ways = 0.5 ** np.minimum(np.arange(1, self.ways + 1), max(self.ways - 1, 0))
        answers = np.concatenate([right, wrong])
        return answers, np.tile(np.log(ways / ways.sum()), (len(answers), 1))

    def references(self) -> dict[str, list[dict[str, float]]]:
        """Measures of the start, by seed, and of a model whose right answers are equally likely."""
        even = np.zeros(self.right + self.wrong)
        even[: self.right] = 1 / self.right
        starts = [np.exp(self.start(seed)[0]) for seed in SEEDS]
        found = {"start": starts, "ideal": [even]}
        return {
            name: [
                dict(zip(MEASURES, map(float, measures(p, self.right, self.draws)), strict=True))
                for p in all_p
            ]
            for name, all_p in found.items()
        }

    def settings(self) -> dict[str, Any]:
        """Everything on which a record depends, beside the contestant and the seed."""
        given = {name: getattr(self, name) for name in _SETTINGS}
        return {**given, "right": self.right, "rates": RATES, "tuning": TUNING_SEEDS}

    def run(self, contestant: Contestant, seeds: tuple[int, ...]) -> Iterator[Record]:
        """Train with every rate and seed, and keep the rates that the other seeds choose."""
        everyone = (*TUNING_SEEDS, *seeds)
        starts = [self.start(seed) for seed in everyone]
        answers, ways = (np.stack(each).astype(np.float32) for each in zip(*starts, strict=True))
        rows = np.tile(np.arange(len(everyone)), len(RATES))
        given = (
            np.repeat(np.array(RATES, np.float32), len(everyone)), np.array(everyone)[rows],
            answers[rows], ways[rows],
            np.int32(self.right), np.float32(self.wrong_reward), np.float32(self.draws),
        )  # fmt: skip
        told = self.right if contestant.method == "gapo" else 0
        train = _compiled(
            contestant, told, self.group_size, self.samples // self.group_size, self.steps,
            tuple(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in map(jnp.asarray, given)),
        )  # fmt: skip
        started = time.perf_counter()
        curves = np.asarray(train(*given), float)
        seconds = (time.perf_counter() - started) / len(rows)
        curves = curves.reshape(len(RATES), len(everyone), EVALUATIONS + 1, len(MEASURES))
        first = len(TUNING_SEEDS)
        coverage, reward, *_ = curves[:, :first, -LAST:].mean(axis=(1, 2)).T
        best, greedy = chosen_rate(coverage, reward), chosen_rate(reward, coverage)
        at = (np.arange(EVALUATIONS + 1) * self.budget // EVALUATIONS).tolist()
        for i, seed in enumerate(seeds, first):
            ends = [_named(curves[j, i, -LAST:].mean(0)) for j in range(len(RATES))]
            yield Record(
                task=self.name,
                seed=seed,
                rate=RATES[best],
                samples=self.budget,
                seconds=seconds,
                measures=ends[best],
                curve=list(zip(at, curves[best, i, :, 0].round(5).tolist(), strict=True)),
                by_reward={"rate": RATES[greedy], **ends[greedy]},
                by_rate={f"{rate:g}": end for rate, end in zip(RATES, ends, strict=True)},
            )


_SETTINGS = ("wrong", "validity", "group_size", "ways", "wrong_reward", "samples", "steps", "draws")


@cache  # tasks that differ in the number of right answers share it
def _compiled(
    contestant: Contestant, told: int, group_size: int, groups: int, steps: int, shapes: Any
) -> Callable[..., Any]:
    train = partial(
        _train, contestant=contestant, told=told, group_size=group_size, groups=groups, steps=steps
    )
    return jax.jit(train).lower(*shapes).compile()


def _named(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(v), 5) for name, v in zip(MEASURES, values, strict=True)}


def measures(p: Any, right: Any, draws: Any) -> Any:
    """Measures of a distribution [K] whose first answers are right.

        recovery = mean over right o of 1 - (1 - p_o)^n,  validity = sum over right o of p_o,
        overlap = sum over right o of min(p_o, 1 / right),
        evenness = entropy of p among the right, over its maximum

    Returns:
      recovery, validity, overlap and evenness.
    """
    p = jnp.asarray(p)
    good = jnp.where(jnp.arange(len(p)) < right, p, 0.0)
    share = good / good.sum()
    entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0.0))
    evenness = jnp.where(right > 1, entropy / jnp.log(jnp.maximum(right, 2)), 1.0)
    found = -jnp.expm1(
        draws * jnp.log1p(-jnp.clip(good, max=1 - 1e-7))
    )  # float32's largest below 1
    overlap = jnp.minimum(good, 1 / right).sum()
    return jnp.stack([found.sum() / right, good.sum(), overlap, evenness])


def _train(
    rates: Any, seeds: Any, answers: Any, ways: Any, right: Any, wrong_reward: Any, draws: Any, *,
    contestant: Contestant, told: int, group_size: int, groups: int, steps: int,
) -> Any:  # fmt: skip
    """Measures of every run over training [runs, evaluations + 1, measures]."""
    method, estimator = contestant.shaping(told), contestant.estimates()
    counted = "p" in method.needs
    width = ways.shape[-1]

    def log_probs(theta: Any, text: Any) -> Any:
        answer, way = text // width, text % width
        of_way = jax.nn.log_softmax(theta[1][answer])
        of_way = jnp.take_along_axis(of_way, way[..., None], -1)[..., 0]
        return jax.nn.log_softmax(theta[0])[answer] + of_way

    def divergence(theta: Any, start: Any) -> Any:
        log_p, log_w = jax.nn.log_softmax(theta[0]), jax.nn.log_softmax(theta[1])
        of_ways = jnp.sum(jnp.exp(log_w) * (log_w - start[1]), -1)
        return jnp.sum(jnp.exp(log_p) * (log_p - start[0] + of_ways))

    def sample(theta: Any, key: Any) -> Any:
        of_answer, of_way = jax.random.split(key)
        shape = (groups, group_size)
        ends = jnp.cumsum(jax.nn.softmax(theta[0]))
        at = jax.random.uniform(of_answer, shape) * ends[-1]
        answer = jnp.minimum(jnp.searchsorted(ends, at, side="right"), len(ends) - 1)
        way = jax.random.categorical(of_way, theta[1][answer])
        return answer * width + way

    def evidence(theta: Any, start: Any, text: Any, visits: Any) -> Group:
        answer = text // width
        return Group(
            rewards=jnp.where(answer < right, 1.0, wrong_reward),
            ids=answer,
            success=answer < right,
            p=jnp.exp(jax.nn.log_softmax(theta[0])[answer]),
            log_pf=log_probs(theta, text),
            log_ref=log_probs(start, text),
            lengths=jnp.full(text.shape, 2),  # an answer and its way
            visits=visits[answer],
            samples=text,
            trajectories=text,
        )

    def one(rate: Any, seed: Any, answers: Any, ways: Any) -> Any:
        start = (answers, ways)

        def step(carry: Any, key: Any) -> Any:
            theta, visits, state = carry
            text = sample(theta, key)
            group = evidence(theta, start, text, visits)
            if counted:
                # Groups of a step are visits to different prompts: they do not see each other.
                stored = estimator.stored(state)  # of each group
                past = None if stored is None else log_probs(theta, stored)
                p, state = jax.vmap(estimator)(group._replace(history_log_pf=past), state)
                group = group._replace(p=p)
            advantages = jax.lax.stop_gradient(method(group).advantages)

            def objective(theta: Any) -> Any:
                gain = jnp.mean(advantages * log_probs(theta, text))
                return gain - contestant.kl * divergence(theta, start) if contestant.kl else gain

            slope = jax.grad(objective)(theta)
            theta = jax.tree.map(lambda value, by: value + rate * by, theta, slope)
            visits = visits.at[(text // width).reshape(-1)].add(1)
            return (theta, visits, state), None

        def stretch(carry: Any, keys: Any) -> Any:
            carry, _ = jax.lax.scan(step, carry, keys)
            return carry, measures(jax.nn.softmax(carry[0][0]), right, draws)

        first = jnp.zeros((groups, group_size), jnp.int32)
        nobody = jnp.zeros(len(answers), jnp.int32)
        state = jax.vmap(estimator.init)(evidence(start, start, first, nobody))
        keys = jax.random.split(jax.random.key(seed), steps)
        keys = keys.reshape(EVALUATIONS, steps // EVALUATIONS)
        _, curve = jax.lax.scan(stretch, (start, nobody, state), keys)
        before = measures(jax.nn.softmax(start[0]), right, draws)
        return jnp.concatenate([before[None], curve])

    return jax.vmap(one)(rates, seeds, answers, ways)


def _even(right: int, spread: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: spread * rng.standard_normal(right)


def _answers(right: int, group_size: int, wrong_reward: float = 0.0) -> Toy:
    """16^3 answers with 4 ways of writing each, some of which are right, unevenly likely."""
    paid = f" wrong {wrong_reward:g}" if wrong_reward else ""
    return Toy(
        f"right {right} of 4096, G {group_size}{paid}", _even(right, 1.0), 4096 - right, 0.25,
        group_size, ways=4, wrong_reward=wrong_reward,
    )  # fmt: skip


UCPO_TOY = Toy(
    "ucpo 3 of 20, G 8", lambda _: np.log([4.0, 2.0, 1.0]), 17, 0.5, 8, draws=3
)  # fmt: skip
ANSWERS_64 = Toy("answers 64, G 8", lambda _: np.linspace(4.0, 0.0, 64), 8, 0.975, 8, steps=300)
TOYS = (
    UCPO_TOY,
    ANSWERS_64,
    *(
        _answers(right, size, paid)
        for size in (8, 16)  # which are compiled apart
        for some in ((128, 512, 32), (8, 1))  # more of them than members of a group first
        for paid in (0.0, 0.2)
        for right in some
    ),
)
"""In the order that they are run."""
