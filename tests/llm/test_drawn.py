"""How often each prompt has had each outcome: counted before the groups that ask, and kept."""

from __future__ import annotations

import llm_toy as toy
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from ipsrl.core.methods import UCB
from ipsrl.errors import RunError
from ipsrl.llm import IPSGRPOTrainer
from ipsrl.llm.drawn import FILE, DrawnOutcomes


def test_counts_are_of_earlier_batches_and_of_one_prompt() -> None:
    drawn = DrawnOutcomes()
    ids = np.array([[5, 5, -1], [5, 6, 6], [6, 6, 7]])
    prompts = np.array([1, 2, 2])
    assert drawn.visits(prompts, ids).tolist() == [[0, 0, 0]] * 3
    assert drawn.visits(prompts, ids).tolist() == [[2, 2, 0], [1, 4, 4], [4, 4, 1]]


def test_what_was_saved_is_loaded(tmp_path) -> None:
    prompts, ids = np.array([2**62, 0]), np.array([[2**62, 1], [1, -1]])
    drawn, again = DrawnOutcomes(), DrawnOutcomes()
    drawn.visits(prompts, ids)
    drawn.save(tmp_path)
    assert again.load(tmp_path)
    assert again.visits(prompts, ids).tolist() == drawn.visits(prompts, ids).tolist()
    assert not again.load(tmp_path / "nothing")
    assert not again.visits(prompts, ids).any()


def test_nothing_drawn_is_saved_too(tmp_path) -> None:
    DrawnOutcomes().save(tmp_path)
    assert DrawnOutcomes().load(tmp_path)


def test_another_file_is_refused(tmp_path) -> None:
    (tmp_path / FILE).write_bytes(b"no counts")
    with pytest.raises(RunError, match="not the counts of outcomes"):
        DrawnOutcomes().load(tmp_path)


def test_a_resumed_training_counts_on(tmp_path) -> None:
    """And so its weights are those of one that was not stopped."""
    options = {"outcome_fn": toy.answer, "method": UCB(k=0.5)}
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = toy.make(tmp_path / "a", IPSGRPOTrainer, trainer_options=options, **settings)
    again = toy.make(tmp_path / "b", IPSGRPOTrainer, trainer_options=options, **settings)
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    files = [tmp_path / name / "checkpoint-4" / FILE for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_file(files[0])["drawn"][:, 2].sum() > 16  # of more than the last group
    assert torch.equal(whole.model.lm_head.weight, again.model.lm_head.weight)
