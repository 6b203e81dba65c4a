"""IPS as a reward function trains the same model, and refuses what it cannot wrap."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import llm_toy as toy
import pytest
import torch
from llm_laws import G
from llm_toy import ips, valid_later
from trl import GRPOTrainer

from ipsrl.errors import InvalidInput
from ipsrl.llm import IPSGRPOTrainer, ips_reward


def test_ips_reward_trains_the_same_model(tmp_path) -> None:
    """In one process, bit for bit: the reward is the same number."""
    reference = toy.train(tmp_path / "a", IPSGRPOTrainer, max_steps=3, trainer_options=ips())
    wrapped = ips_reward(toy.valid, toy.answer, G)
    assert wrapped.__name__ == "valid"
    other = toy.train(tmp_path / "b", GRPOTrainer, max_steps=3, rewards=wrapped)
    weights = other.model.state_dict()
    for name, value in reference.model.state_dict().items():
        assert torch.equal(weights[name], value), name


def call(fn: Any, texts: list[str], **columns: Any) -> Any:
    n = len(texts)
    return fn(prompts=["name one"] * n, completions=texts, completion_ids=[[0]] * n, **columns)


def test_ips_reward_by_hand() -> None:
    """G = 2, two groups: p^ = 1 and 1; then 1/2 and 1/2, of which one has no reward."""

    def reward(completions, **columns):
        return [None if text == "a3" else 1.0 for text in completions]

    texts = ["a0", "a0", "a2", "a3"]
    assert call(ips_reward(reward, toy.answer, 2), texts) == [1.0, 1.0, 2.0, None]
    assert call(ips_reward(reward, toy.answer, 2, eps=0.8), texts) == [1.0, 1.0, 1.25, None]
    assert call(ips_reward(reward, toy.answer, 2, alpha=2.0), texts) == [1.0, 1.0, 4.0, None]


def test_ips_reward_passes_columns_on() -> None:
    """The outcome function gets what the reward gets."""

    def reward(completions, row, trainer_state, **columns):
        return [float(r) for r in row]

    def outcome(prompts, completions, completion_ids, row, trainer_state):
        return row

    scaled = ips_reward(reward, outcome, 2)
    assert call(scaled, ["a0", "a0"], row=[3, 4], trainer_state=object()) == [6.0, 8.0]


class Later:
    async def __call__(self, completions, **columns):
        return toy.valid(completions)


@pytest.mark.parametrize(
    "reward",
    [
        valid_later,
        functools.partial(valid_later),
        Later(),
    ],
    ids=["function", "partial", "object"],
)
def test_ips_reward_refuses_coroutines(reward) -> None:
    with pytest.raises(InvalidInput, match="reward_fn is a coroutine.*Use IPSGRPOTrainer"):
        ips_reward(reward, toy.answer, 4)


def test_ips_reward_refuses() -> None:
    with pytest.raises(InvalidInput, match="outcome_fn is None"):
        ips_reward(toy.valid, None, 4)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="eps is -1"):
        ips_reward(toy.valid, toy.answer, 4, eps=-1)
    with pytest.raises(InvalidInput, match="3 completions are not whole groups of 2"):
        call(ips_reward(toy.valid, toy.answer, 2), ["a0"] * 3)
    with pytest.raises(InvalidInput, match="a group mixes prompts"):
        ips_reward(toy.valid, toy.answer, 4)(
            prompts=["a", "a", "b", "b"], completions=["a0"] * 4, completion_ids=[[0]] * 4
        )
    with pytest.raises(InvalidInput, match="outcome_fn is 'answer'.*IPSGRPOTrainer"):
        ips_reward(toy.valid, "answer", 4)
    for wrong in (0, -4, "4", None):
        with pytest.raises(InvalidInput, match="num_generations is .*positive integer"):
            ips_reward(toy.valid, toy.answer, wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="or infinite"):
        call(ips_reward(lambda **_: [math.inf, 1.0], toy.answer, 2), ["a0"] * 2)
    with pytest.raises(InvalidInput, match="returned 1 rewards for 2 completions"):
        call(ips_reward(lambda **_: [1.0], toy.answer, 2), ["a0"] * 2)
    with pytest.raises(InvalidInput, match="reward that is negative"):
        call(ips_reward(lambda **_: [-1.0, 1.0], toy.answer, 2), ["a0"] * 2)
    with pytest.raises(InvalidInput, match="returned 1 outcomes for 2 completions"):
        call(ips_reward(toy.valid, lambda **_: ["a"], 2), ["a0"] * 2)


def test_ips_reward_goes_on_when_a_bad_reward_comes_later(caplog) -> None:
    """Negative ones unscaled, infinite ones left out; the rest as ever, and one warning."""
    rewards = [-1.0, 1.0, 1.0, math.inf]
    scaled = ips_reward(lambda **_: rewards, toy.answer, 4)
    step = SimpleNamespace(global_step=7)
    for _ in range(2):
        found = call(scaled, ["a0", "a0", "a1", "a2"], trainer_state=step)
        assert found == [-1.0, 4.0, 4.0, None]
    assert ["unscaled" in record.getMessage() for record in caplog.records] == [True]
    with pytest.raises(InvalidInput, match="reward that is negative"):
        call(scaled, ["a0", "a0", "a1", "a2"], trainer_state=SimpleNamespace(global_step=0))
