"""Rows of outcomes.parquet: how often each outcome was drawn, and what it earned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

_OUTCOMES = pa.schema(
    [
        ("step", pa.int64()),
        ("seed", pa.int64()),
        ("outcome", pa.int64()),
        ("count", pa.int64()),
        ("mean_reward", pa.float64()),
    ]
)


def counted(step: int, ids: np.ndarray, rewards: np.ndarray) -> pa.Table:
    """Counts of a batch.

    Args:
      step: of the checkpoint that follows.
      ids: outcome ids [seeds, N].
      rewards: raw rewards [seeds, N].
    Returns:
      a row for each seed and outcome.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _OUTCOMES.names}
    for seed, (seed_ids, seed_rewards) in enumerate(zip(ids, rewards, strict=True)):
        outcomes, which, counts = np.unique(seed_ids, return_inverse=True, return_counts=True)
        means = np.bincount(which, seed_rewards) / counts
        columns["step"] += [step] * len(outcomes)
        columns["seed"] += [seed] * len(outcomes)
        columns["outcome"] += outcomes.tolist()
        columns["count"] += counts.tolist()
        columns["mean_reward"] += means.tolist()
    return pa.table(columns, schema=_OUTCOMES)
