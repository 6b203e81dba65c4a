"""A scaffold pays for so many molecules, and no more."""

import numpy as np

from ipsrl.molecules.search.diversity import DiversityFilter


def test_by_hand():
    penalty = DiversityFilter(2)
    rewards = np.array([0.5, 0.6, 0.7])
    # One batch may overshoot: counts come from earlier batches.
    assert penalty.penalise(rewards, ["a", "a", "a"]).tolist() == [0.5, 0.6, 0.7]
    penalty.add(["a", "b"])
    assert penalty.penalise(rewards, ["a", "b", "c"]).tolist() == [0.5, 0.6, 0.7]
    penalty.add(["a"])
    assert penalty.penalise(rewards, ["a", "b", "a"]).tolist() == [0, 0.6, 0]
    assert penalty.full(["a", "b", "c"]).tolist() == [True, False, False]


def test_from_the_eleventh_molecule_on():
    penalty = DiversityFilter(10)
    paid = []
    for _ in range(12):
        paid.append(penalty.penalise(np.ones(1), ["a"])[0])
        penalty.add(["a"])
    assert paid == [1] * 10 + [0] * 2


def test_a_bucket_of_0_filters_nothing():
    penalty = DiversityFilter(0, {"a": 10**6})
    assert penalty.penalise(np.ones(1), ["a"]) == [1]


def test_counts_go_on():
    assert DiversityFilter(2, {"a": 2}).full(["a"]).all()
