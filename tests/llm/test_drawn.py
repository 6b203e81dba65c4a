"""How often each prompt has had each outcome: counted before the groups that ask, and kept."""

from __future__ import annotations

import numpy as np
import pytest

from ipsrl.errors import RunError
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
