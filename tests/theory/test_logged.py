"""What a log says of how many right answers there are, and how often prompts come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipsrl.errors import InvalidInput
from ipsrl.llm.completions import Completions
from ipsrl.theory.logged import richness, typical


def log(groups, *, texts=True):
    """Completions of groups (prompt, outcomes, rewards), each at a step of its own."""
    rows = [
        (step, p, o, r)
        for step, (p, os, rs) in enumerate(groups)
        for o, r in zip(os, rs, strict=True)
    ]
    steps, prompts, keys, rewards = (list(part) for part in zip(*rows, strict=True))
    completions = ["x" * 24 for _ in rows] if texts else []
    return Completions(
        prompts, completions, {}, np.array(steps), np.array(rewards, float), "r"
    ), keys


def test_kinds_by_hand():
    # 4 seen, three of them once and one twice: 4 + 3 * 2 / (2 * 2) = 5.5, of which 5 are whole
    assert richness(np.array([1, 1, 1, 2])) == 5
    assert richness(np.array([1, 1, 1])) == 6  # 3 + 3 * 2 / 2
    assert richness(np.array([3, 5])) == 2
    assert richness(np.array([], int)) == 0


@given(st.lists(st.integers(1, 9), max_size=30))
def test_there_are_at_least_as_many_kinds_as_were_seen(counts):
    assert richness(np.array(counts, int)) >= len(counts)


@pytest.mark.parametrize("kinds", [20, 60])
def test_of_equally_likely_kinds_the_estimate_is_near_their_number(kinds):
    """64 samples of 60 kinds show 40 of them; the estimate has a standard deviation of 10 there."""
    rng = np.random.default_rng(0)
    drawn = [np.unique(rng.integers(kinds, size=64), return_counts=True)[1] for _ in range(200)]
    found = [richness(counts) for counts in drawn]
    # half a kind is lost to whole numbers; .05: of a lower bound that is nearly reached
    assert np.mean(found) == pytest.approx(kinds, rel=0.05)
    assert np.mean([len(counts) for counts in drawn]) < kinds * (1 if kinds == 20 else 0.7)


def test_the_typical_prompt_has_the_median_of_right_answers():
    rows, keys = log(
        [
            ("few", ["a", "a", "a", "a"], [1, 1, 1, 1]),
            ("some", ["a", "b", "wrong", None], [1, 0.5, 0, 0]),
            ("some", ["a", "b", "wrong", "wrong"], [1, 0.5, 0, 0]),
            ("many", ["a", "b", "c", "d"], [1, 1, 1, 1]),
            ("none", ["wrong", "wrong", None, None], [0, 0, 0, 0]),
        ]
    )
    found = typical(rows, keys)
    assert sorted(found.rewards) == [0, 0.5, 1]
    assert (found.prompts, found.seen, found.right) == (3, 2, 2)
    assert (found.group_size, found.visits) == (4, 5 / 4)
    assert found.answer_tokens == 24 / 4
    assert typical(*log([("p", ["a", "a"], [1, 1])], texts=False)).answer_tokens is None


def test_what_was_never_sampled_earns_what_right_answers_earn():
    rows, keys = log([("p", ["a", "b", "c", "x"], [3, 2, 1, 0.5])])
    found = typical(rows, keys, success_above=0.7)
    assert (found.seen, found.right) == (3, 6)  # 3 + 3 * 2 / 2
    assert sorted(found.rewards) == [0.5, 1, 2, 2, 2, 2, 3]


def test_the_order_of_the_rows_does_not_matter():
    rows, keys = log(
        [("p", ["a", "b", "a", None], [1, 0, 1, 0]), ("q", ["c", "b", "a", "d"], [1] * 4)]
    )
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    shuffled = Completions(
        [rows.prompts[i] for i in order], rows.completions, {}, rows.steps[order],
        rows.rewards[order], "r",
    )  # fmt: skip
    other = typical(shuffled, [keys[i] for i in order])
    assert sorted(other.rewards) == sorted(typical(rows, keys).rewards)
    assert other.visits == 1


def test_a_log_that_says_nothing_is_refused():
    rows, keys = log([("p", ["a", "b"], [0, 0])])
    with pytest.raises(InvalidInput, match="none is right. Lower --success-above"):
        typical(rows, keys)
    with pytest.raises(InvalidInput, match="most of its rewards above 2"):
        typical(*log([("p", ["a", "b"], [1, 2])]), success_above=2)
    unpaid = Completions(rows.prompts, [], {}, rows.steps, None, None)
    with pytest.raises(InvalidInput, match="no reward.*--reward NAME"):
        typical(unpaid, keys)
