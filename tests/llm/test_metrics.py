"""TRL's metrics of rewards of our choice; tests/llm/test_trl.py compares them with TRL's own."""

import math

import pytest
import torch

from ipsrl.llm.metrics import reward_metrics

NAN = math.nan


def test_metrics_by_hand() -> None:
    """Two groups of two; b gives nothing in the first row, and nobody the last but one."""
    rewards = torch.tensor([[1.0, NAN], [0.0, 0.5], [NAN, NAN], [1.0, 1.0]])
    weights = torch.tensor([1.0, 2.0])
    found = reward_metrics(rewards, weights, ["a", "b"], 2, batch=False)
    # totals 1, 1, none, 3
    assert found == {
        "rewards/a/mean": [pytest.approx(2 / 3)],
        "rewards/a/std": [pytest.approx(math.sqrt(1 / 3))],  # (1/9 + 4/9 + 1/9) / 2
        "rewards/b/mean": [0.75],
        "rewards/b/std": [pytest.approx(math.sqrt(1 / 8))],
        "reward": [pytest.approx(5 / 3)],
        "reward_std": [pytest.approx(math.sqrt(4 / 3))],  # (4/9 + 4/9 + 16/9) / 2
        "frac_reward_zero_std": [0.5],  # the second group has one reward only
    }
    batch = reward_metrics(rewards, weights, ["a", "b"], 2, batch=True)
    assert batch == {**found, "frac_reward_zero_std": [0.0]}
    of_one_name = reward_metrics(rewards, weights, ["a", "a"], 2, batch=False)
    assert of_one_name["rewards/a/mean"] == [*found["rewards/a/mean"], *found["rewards/b/mean"]]


def test_of_nothing_there_is_no_mean() -> None:
    found = reward_metrics(torch.full((4, 1), NAN), torch.ones(1), ["a"], 4, batch=False)
    assert found.pop("frac_reward_zero_std") == [0.0]
    assert all(math.isnan(value) for (value,) in found.values())
