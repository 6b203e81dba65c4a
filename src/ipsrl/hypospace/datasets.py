"""Observation sets, drawn at random and split in halves."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ipsrl.errors import InvalidInput
from ipsrl.hypospace.task import AnyTask


@dataclass(frozen=True)
class ObservationSet:
    """One problem: the observations, the prompt, and every right answer."""

    id: str
    observations: tuple[str, ...]
    prompt: str
    admissible: tuple[str, ...]
    split: str = ""


def dataset(
    task: AnyTask,
    *,
    count: int = 100,
    seed: int = 0,
    draw: Literal["sets", "hypotheses"] = "sets",
    apart: Literal["sets", "hypotheses"] = "sets",
) -> list[ObservationSet]:
    """Observation sets drawn without replacement, half of them to train and half to test.

    A draw by hypotheses takes a hypothesis first and then what is observed of it, so that sets are
    drawn in proportion to |H_O|, which makes them larger.

    Apart by sets, an answer of the train half may be right in the test half too.  Apart by
    hypotheses, no key is admissible in both: sets are placed one by one where they share no key
    with the other half, and left out where they cannot be.  Causal and Boolean sets overlap so
    much that few can be placed.

    Args:
      task: a domain.
      count: sets; all there are, if fewer.
      seed: of the draw and the split; the same on every machine.
      draw: uniform over observation sets, or over hypotheses.
      apart: the things that the halves must not share.
    Returns:
      sets with `split` "train" (the first half) and "test".
    Raises:
      InvalidInput: for fewer than two sets.
    """
    if count < 2:
        raise InvalidInput(f"count is {count}, and both halves need a set. Ask for two at least.")
    rng = random.Random(seed)  # its `random()` is the same on every Python, unlike its `shuffle`
    sets = list(numbered_sets(task))
    # Successive sampling in proportion to w is the order of exponential variables of rate w.
    weights = [len(keys) if draw == "hypotheses" else 1 for _, _, keys in sets]
    order = sorted(range(len(sets)), key=lambda i: -math.log(1 - rng.random()) / weights[i])
    if apart == "sets":
        chosen = sorted(order[:count], key=lambda _: rng.random())
        half = (len(chosen) + 1) // 2
        halves = chosen[:half], chosen[half:]
    else:
        halves = _disjoint(order, [frozenset(keys) for _, _, keys in sets], count)
    return [
        ObservationSet(id_, lines, task.prompt(lines), tuple(sorted(keys)), name)
        for name, half in zip(("train", "test"), halves, strict=True)
        for id_, lines, keys in (sets[i] for i in half)
    ]


def numbered_sets(task: AnyTask) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Every observation set with its id and the keys of H_O, unsorted."""
    for i, (lines, keys) in enumerate(task.observation_sets()):
        yield f"{task.name}-{i:05}", lines, keys


def _disjoint(
    order: list[int], keys: list[frozenset[str]], count: int
) -> tuple[list[int], list[int]]:
    """Indices for two halves without a common key, filled in the order of the draw.

    Neither half takes more than half of all keys, or it could leave none to the other.
    """
    most = len(frozenset().union(*keys)) / 2
    places: tuple[list[int], list[int]] = [], []
    used: list[frozenset[str]] = [frozenset(), frozenset()]
    for i in order:
        emptier = int(len(places[0]) > len(places[1]))
        for half in (emptier, 1 - emptier):
            room = len(places[half]) < (count + 1 - half) // 2
            if room and not keys[i] & used[1 - half] and len(used[half] | keys[i]) <= most:
                places[half].append(i)
                used[half] |= keys[i]
                break
    size = min(map(len, places))  # halves of one size
    return places[0][: size + (count % 2)], places[1][:size]
