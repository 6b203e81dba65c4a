"""Outcomes are counted for each seed, with what they earned."""

import numpy as np
import pyarrow.parquet as pq
from small_runs import IDS, REWARDS


def test_outcomes_are_counted_per_seed(run):
    """Seed 0 drew 7 three times, mean (1 + 2 + 3) / 3, and 3 once; seed 1 drew 3 four times."""
    run.log_outcomes(10, IDS, REWARDS)
    assert pq.read_table(run.outcomes_path).to_pylist() == [
        {"step": 10, "seed": 0, "outcome": 3, "count": 1, "mean_reward": 4.0},
        {"step": 10, "seed": 0, "outcome": 7, "count": 3, "mean_reward": 2.0},
        {"step": 10, "seed": 1, "outcome": 3, "count": 4, "mean_reward": 0.5},
    ]


def test_outcome_ids_of_63_bits_survive(run):
    ids = np.array([[2**63 - 1, 2**62 + 1]])
    run.log_outcomes(1, ids, np.ones((1, 2)))
    assert pq.read_table(run.outcomes_path)["outcome"].to_pylist() == sorted(ids[0].tolist())
