"""Who is told apart from whom, on figures that can be counted by hand."""

import numpy as np
import pytest

from ipsrl.reproduce.rivals.standing import intervals, standings, within_noise


def test_bootstrap_of_two_seeds_by_hand() -> None:
    """0 and 1 resampled: means 0, 1/2, 1 with chances 1/4, 1/2, 1/4, so 95 % needs all of them."""
    assert intervals({"a": [0.0, 1.0]}) == {"a": (0.5, 0.0, 1.0)}


def test_bootstrap_of_five_seeds() -> None:
    """A mean of five draws of (0, 0, 0, 0, 1) is n/5, n ~ Binomial(5, 1/5): P(n <= 3) = .993,
    P(n <= 2) = .942, and P(0) = .33, so the ends are 0 and 3/5."""
    (mean, low, high) = intervals({"a": [0.0, 0, 0, 0, 1]})["a"]
    assert (mean, low, high) == pytest.approx((0.2, 0.0, 0.6))


def test_seeds_that_agree_have_no_interval() -> None:
    assert intervals({"a": [0.5] * 5, "b": [2.0] * 5}) == {"a": (0.5, 0.5, 0.5), "b": (2, 2, 2)}


def test_contestants_are_resampled_one_by_one() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.random(5).tolist() for name in "abc"}
    together = intervals(values)
    for name in "abc":  # the same draws; sums of one column and of three differ in the last bits
        alone = intervals({name: values[name]})[name]
        assert alone == pytest.approx(together[name], rel=1e-12)


def test_within_noise_by_hand() -> None:
    found = {"best": (0.8, 0.7, 0.9), "touches": (0.6, 0.5, 0.7), "below": (0.6, 0.5, 0.69)}
    assert within_noise(found) == {"best", "touches"}


def test_the_best_is_within_noise_of_itself() -> None:
    assert within_noise({"only": (0.1, 0.1, 0.1)}) == {"only"}


def test_standings_by_hand() -> None:
    one = {
        "ips exact": (0.9, 0.9, 0.9),  # known to nobody, so not the best that others are held to
        "ips group": (0.5, 0.4, 0.6),
        "split group": (0.5, 0.4, 0.6),
        "grpo": (0.1, 0.1, 0.1),
        "ucpo": (0.7, 0.65, 0.8),
    }
    two = {"ips group": (0.5, 0.4, 0.6), "grpo": (0.5, 0.45, 0.5)}
    rows = {row.pop("contestant"): row for row in standings({"one": one, "two": two})}
    assert rows == {
        "ucpo": {"tasks": 1, "within noise": 1, "above all of ours": 1},
        "ips group": {"tasks": 2, "within noise": 1, "above all of ours": 0},
        "grpo": {"tasks": 2, "within noise": 1, "above all of ours": 0},
        "split group": {"tasks": 1, "within noise": 0, "above all of ours": 0},
    }
    assert next(iter(rows)) == "ucpo"
