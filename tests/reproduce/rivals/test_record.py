"""The rule of the learning rate, by hand."""

import math

from ipsrl.reproduce.rivals.record import chosen_rate


def test_the_highest_is_chosen() -> None:
    assert chosen_rate([0.1, 0.5, 0.3], [1.0, 0.0, 1.0]) == 1


def test_within_one_percent_the_other_measure_decides() -> None:
    assert chosen_rate([0.5, 0.496, 0.494], [0.1, 0.2, 0.9]) == 1  # .494 is 1.2 % below


def test_a_rate_that_diverged_is_not_chosen() -> None:
    assert chosen_rate([math.nan, 0.1], [math.nan, 0.0]) == 1
    assert chosen_rate([0.1, math.nan], [0.0, math.nan]) == 0
