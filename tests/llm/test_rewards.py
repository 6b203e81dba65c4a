"""Reward functions: what they return is a number for each completion, and none ends the process."""

from __future__ import annotations

import asyncio
import math
import sys
from functools import partial
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from trl import GRPOTrainer

from ipsrl.errors import InvalidInput
from ipsrl.llm import CollapseMonitor, IPSGRPOTrainer, IPSRLOOTrainer
from ipsrl.llm.reward_function import ips_reward
from ipsrl.llm.rewards import checked, checked_all

BATCH = {"prompts": ["?"] * 3, "completions": ["a", "b", "c"], "completion_ids": [[0]] * 3}


def exits(completions, **_):
    sys.exit(0)


async def exits_later(completions, **_):
    await asyncio.sleep(0)
    sys.exit(0)


async def interrupts_later(completions, **_):
    raise KeyboardInterrupt


def constant(returned):
    def judge(completions, **_):
        return returned

    async def judge_later(completions, **_):
        return returned

    return judge, judge_later


def answers(function: Any) -> Any:
    returned = checked(function)(**BATCH)
    return asyncio.run(returned) if asyncio.iscoroutine(returned) else returned


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ([1, 0.5, None], [1.0, 0.5, None]),
        ([True, np.float32(0.5), torch.tensor(2.0)], [1.0, 0.5, 2.0]),
        (np.arange(3), [0.0, 1.0, 2.0]),
        (torch.ones(3), [1.0] * 3),
    ],
)
def test_numbers_are_what_they_were(returned, expected):
    assert [answers(function) for function in constant(returned)] == [expected] * 2


def test_nan_is_no_reward_as_it_is_for_trl():
    assert math.isnan(answers(constant([1.0, math.nan, 2.0])[0])[1])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (dict.fromkeys(range(3), 1.0), "returned a dict for 3 completions"),
        ({1.0, 2.0, 3.0}, "returned a set"),
        ([1.0] * 2, "returned 2 rewards for 3 completions"),
        ([1.0, 10**400, 1.0], "returned 1000.* for completion 1 of 3"),
        ([1.0, "1", 1.0], "returned '1' for completion 1"),
        ([1j] * 3, "returned 1j for completion 0"),
        ([[1.0]] * 3, r"returned \[1.0\] for completion 0"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_reward_is_refused(returned, message):
    for function in constant(returned):
        with pytest.raises(InvalidInput, match=f"{function.__name__} {message}"):
            answers(function)


def test_names_and_reward_models_stay_as_they_are():
    model = torch.nn.Linear(1, 1)
    function, name, same = checked_all([partial(exits), "some/model", model])
    assert function.__name__ == "exits"
    assert (name, same) == ("some/model", model)


@pytest.mark.parametrize("trainer", [IPSGRPOTrainer, IPSRLOOTrainer])
@pytest.mark.parametrize("reward", [exits, exits_later, interrupts_later])
def test_a_trainer_does_not_end_the_process_and_does_not_wait_for_ever(tmp_path, trainer, reward):
    options = {"outcome_fn": toy.answer}
    with pytest.raises(InvalidInput, match=f"{reward.__name__} tried to end the process"):
        toy.train(tmp_path, trainer, rewards=[toy.valid, reward], trainer_options=options)


def test_nor_do_its_outcomes(tmp_path):
    with pytest.raises(InvalidInput, match="exits tried to end the process"):
        toy.train(tmp_path, IPSGRPOTrainer, trainer_options={"outcome_fn": exits})


@pytest.mark.parametrize("reward", [exits, exits_later])
def test_nor_what_a_monitor_watches(tmp_path, reward):
    monitor = CollapseMonitor(toy.answer)
    options = {"callbacks": [monitor]}
    with pytest.raises(InvalidInput, match=f"{reward.__name__} tried to end the process"):
        toy.train(tmp_path, GRPOTrainer, rewards=monitor.watch(reward), trainer_options=options)


def test_nor_what_ips_reward_wraps():
    for reward, outcome in ((exits, toy.answer), (toy.valid, exits)):
        with pytest.raises(InvalidInput, match="exits tried to end the process"):
            ips_reward(reward, outcome, 3)(**BATCH)
