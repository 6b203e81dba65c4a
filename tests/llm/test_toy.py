"""The claim of the paper on a language model: GRPO ends on few answers, IPS-GRPO keeps all."""

from __future__ import annotations

from pathlib import Path

import llm_toy as toy
import pytest
from trl import GRPOTrainer

from ipsrl.llm import IPSGRPOTrainer, ips_reward

SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]


def distance(folder: Path, trainer: type, seed: int, **options) -> float:
    """TV to uniform over the eight answers, which are all worth 1, after 300 steps."""
    trained = toy.train(folder, trainer, max_steps=300, seed=seed, logging_steps=300, **options)
    p = toy.distribution(trained.model, trained.processing_class)
    return toy.total_variation_to_uniform(p)


# Measured, seeds 0 to 4: GRPO .63 to .68, IPS .02 to .06; the start is at .48.


@pytest.mark.parametrize("seed", SEEDS)
def test_grpo_collapses(tmp_path, seed) -> None:
    assert distance(tmp_path, GRPOTrainer, seed) >= 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_ips_grpo_keeps_every_answer(tmp_path, seed) -> None:
    options = {"outcome_fn": toy.answer}
    assert distance(tmp_path, IPSGRPOTrainer, seed, trainer_options=options) <= 0.10


@pytest.mark.parametrize("seed", SEEDS)
def test_and_so_does_the_second_door(tmp_path, seed) -> None:
    wrapped = ips_reward(toy.valid, toy.answer, 16)
    assert distance(tmp_path, GRPOTrainer, seed, rewards=wrapped) <= 0.10
