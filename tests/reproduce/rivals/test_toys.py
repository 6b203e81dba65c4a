"""The toys of one question: what is measured, the starts, and what training does."""

from dataclasses import replace

import numpy as np
import pytest

from ipsrl.core.methods import METHODS
from ipsrl.reproduce.rivals.contestants import CONTESTANTS, is_exact, is_ours
from ipsrl.reproduce.rivals.record import SEEDS
from ipsrl.reproduce.rivals.toys import TOYS, TUNING_SEEDS, UCPO_TOY, measures


def test_measures_by_hand() -> None:
    """Two right of four, p = (1/2, 1/4), two samples: recovery (3/4 + 7/16) / 2."""
    recovery, validity, overlap, evenness = measures(np.array([0.5, 0.25, 0.25, 0.0]), 2, 2)
    assert float(recovery) == pytest.approx((3 / 4 + 7 / 16) / 2, rel=1e-6)
    assert float(validity) == 0.75
    assert float(overlap) == 0.75  # min(1/2, 1/2) + min(1/4, 1/2)
    entropy = -(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3)
    assert float(evenness) == pytest.approx(entropy / np.log(2), rel=1e-6)


def test_measures_of_certainty() -> None:
    assert measures(np.array([1.0, 0.0]), 1, 64).tolist() == pytest.approx([1, 1, 1, 1])
    assert measures(np.array([1.0, 0.0]), 2, 64).tolist() == pytest.approx([0.5, 1, 0.5, 0])


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_starts_are_distributions(toy) -> None:
    answers, ways = (np.exp(each) for each in toy.start(0))
    assert answers.sum() == pytest.approx(1)
    assert answers[: toy.right].sum() == pytest.approx(toy.validity)
    assert ways.sum(-1) == pytest.approx(1)
    assert toy.samples % toy.group_size == 0


def test_the_start_of_ucpo() -> None:
    p = np.exp(UCPO_TOY.start(0)[0])
    assert p[:3] / p[2] == pytest.approx([4, 2, 1])


def test_the_ideal_sampler_of_the_specification() -> None:
    """Recovery of 32, 128 and 512 right answers by 64 samples."""
    ideal = {toy.right: toy.references()["ideal"][0]["coverage"] for toy in TOYS if toy.ways == 4}
    found = [ideal[right] for right in (32, 128, 512)]
    assert found == pytest.approx([0.869, 0.395, 0.118], abs=5e-4)  # three digits are given


def test_every_method_is_a_contestant() -> None:
    assert {one.method for one in CONTESTANTS.values()} == set(METHODS)
    assert {name for name, one in CONTESTANTS.items() if is_ours(name)} == {
        name for name, one in CONTESTANTS.items() if one.method in ("ips-grpo", "split")
    }
    assert all(is_exact(name) == (one.estimator == "exact") for name, one in CONTESTANTS.items())


def test_tuning_seeds_are_not_reported() -> None:
    assert not set(TUNING_SEEDS) & set(SEEDS)


@pytest.fixture(scope="module")
def found():
    """The toy of UCPO, as the study runs it."""
    names = ("grpo", "ips group", "ips exact")
    return {name: list(UCPO_TOY.run(CONTESTANTS[name], SEEDS)) for name in names}


def test_grpo_collapses_and_ips_does_not(found) -> None:
    """At the rate that fits rewards best; measured evenness over 5 seeds: 0 to .05, and .96 up."""
    assert all(one.by_reward["evenness"] < 0.3 for one in found["grpo"])
    assert all(one.measures["evenness"] > 0.9 for one in found["ips group"])
    assert all(one.measures["reward"] > 0.9 for one in found["ips exact"])


def test_records_belong_together(found) -> None:
    for records in found.values():
        assert [one.seed for one in records] == [*SEEDS]
        for one in records:
            assert one.measures == one.by_rate[f"{one.rate:g}"]
            assert one.curve[0] == (0, pytest.approx(0.4017, abs=1e-4))  # the start, by hand below
            assert one.curve[-1][0] == one.samples == 19_200


def test_recovery_of_the_start_by_hand() -> None:
    p = np.array([4, 2, 1]) / 14
    expected = (1 - (1 - p) ** 3).mean()
    assert expected == pytest.approx(0.4017, abs=1e-4)
    assert UCPO_TOY.references()["start"][0]["coverage"] == pytest.approx(expected, rel=1e-6)


def test_other_seeds_do_not_change_a_seed() -> None:
    toy = replace(UCPO_TOY, steps=10)
    together = list(toy.run(CONTESTANTS["grpo"], (0, 1)))
    (alone,) = toy.run(CONTESTANTS["grpo"], (1,))
    assert together[1].by_rate == alone.by_rate


def test_kl_holds_the_start() -> None:
    """With a coefficient this large nothing else counts."""
    toy = replace(UCPO_TOY, steps=10)
    held = replace(CONTESTANTS["grpo"], kl=3.0)
    (one,), (free,) = (list(toy.run(c, (0,))) for c in (held, CONTESTANTS["grpo"]))
    start = toy.references()["start"][0]["reward"]
    assert abs(one.by_rate["1"]["reward"] - start) < abs(free.by_rate["1"]["reward"] - start)
