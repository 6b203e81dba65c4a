"""Hypothesis strategies: batches of groups, and outcome keys."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

NO_OUTCOME = -1


class Groups(NamedTuple):
    rewards: np.ndarray  # [P, G], >= 0
    ids: np.ndarray  # [P, G], -1 for none
    mask: np.ndarray  # [P, G], at least one True per group


@st.composite
def groups(draw: st.DrawFn, *, count: int = 50) -> Groups:
    """A batch of ragged groups with ties, missing outcomes, equal, sparse and large rewards."""
    size = draw(st.integers(1, 12))
    outcomes = draw(st.integers(1, 6))
    invalid = draw(st.sampled_from([0.0, 0.3, 1.0]))
    kind = draw(st.sampled_from(["continuous", "binary", "equal", "large", "zero"]))
    full = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (count, size)
    ids = np.where(rng.random(shape) < invalid, NO_OUTCOME, rng.integers(0, outcomes, shape))
    rewards = {
        "continuous": rng.random(shape),
        "binary": (rng.random(shape) < 0.5).astype(float),
        "equal": np.full(shape, 0.1),
        "large": rng.random(shape) * 1e6,
        "zero": np.zeros(shape),
    }[kind]
    length = np.full(count, size) if full else rng.integers(1, size + 1, count)
    return Groups(rewards, ids, np.arange(size) < length[:, None])


def outcome_keys() -> st.SearchStrategy:
    """Every kind of key that has an id."""
    leaves = st.none() | st.integers() | st.text() | st.binary()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
        max_leaves=8,
    )
