"""The table of estimators answers every question, and says what docs/choosing.md says."""

import itertools

import pytest

from ipsrl import ESTIMATORS
from ipsrl.theory.choice import CHOICES, choose


def test_every_row_names_an_estimator():
    assert {row.estimator for row in CHOICES} <= set(ESTIMATORS)
    assert all(row.why for row in CHOICES)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(
    ("per_member", "short", "back"),
    list(itertools.product([1e-3, 1, 2, 16, 17, 1e5], [True, False], [True, False])),
)
def test_every_question_has_the_answer_of_the_first_row_that_fits(per_member, short, back, counts):
    fitting = [
        row
        for row in CHOICES[not counts :]
        if per_member <= row.most and row.short in (None, short) and row.back in (None, back)
    ]
    assert choose(per_member, short=short, back=back, counts=counts) == fitting[0].estimator


def test_every_row_is_needed():
    """Without a row some question has another answer."""
    asked = list(itertools.product([1, 16, 17], [True, False], [True, False]))

    def answers(rows):
        return [
            next((row.estimator for row in rows if per_member <= row.most
                  and row.short in (None, short) and row.back in (None, back)), None)
            for per_member, short, back in asked
        ]  # fmt: skip

    for i in range(len(CHOICES)):
        assert answers(CHOICES[:i] + CHOICES[i + 1 :]) != answers(CHOICES)


def test_what_is_not_known_is_not_made_up():
    assert choose(4, short=None, back=True) is None  # likelihood or replay
    assert choose(1, short=None, back=False) == "group"
    assert choose(20, short=None, back=True) == "replay"
    assert choose(20, short=None, back=False) is None
