"""A scaffold pays for so many molecules, and no more."""

import numpy as np
import pytest

from ipsrl.errors import ConfigError
from ipsrl.molecules import Config
from ipsrl.molecules.molecule import scaffold
from ipsrl.molecules.search.diversity import DiversityFilter


def made(bucket: int, counts=None, **options) -> DiversityFilter:
    return DiversityFilter(Config(bucket=bucket, **options), counts)


def paid(penalty: DiversityFilter, times: int) -> list[float]:
    """What one molecule of a kind after the other is paid of a reward of 1."""
    found = []
    for _ in range(times):
        found.append(penalty.penalise(np.ones(1), ["a"])[0])
        penalty.add(["a"], [1.0])
    return found


def test_by_hand():
    penalty = made(2)
    rewards = np.array([0.5, 0.6, 0.7])
    # One batch may overshoot: counts come from earlier batches.
    assert penalty.penalise(rewards, ["a", "a", "a"]).tolist() == [0.5, 0.6, 0.7]
    penalty.add(["a", "b"], [1.0, 1.0])
    assert penalty.penalise(rewards, ["a", "b", "c"]).tolist() == [0.5, 0.6, 0.7]
    penalty.add(["a"], [1.0])
    assert penalty.penalise(rewards, ["a", "b", "a"]).tolist() == [0, 0.6, 0]
    assert [penalty.full(key) for key in "abc"] == [True, False, False]


def test_from_the_eleventh_molecule_on():
    assert paid(made(10), 12) == [1] * 10 + [0] * 2


@pytest.mark.parametrize("options", [{"bucket": 0}, {"bucket": 10, "filter": "none"}])
def test_without_a_filter_all_is_paid(options):
    penalty = made(**options, counts={"a": 10**6})
    assert penalty.penalise(np.ones(1), ["a"]) == [1]
    assert not penalty.full("a")


def test_counts_go_on():
    assert made(2, {"a": 2}).full("a")


# --- soft penalties -------------------------------------------------------------------------------


def test_soft_penalties_by_hand():
    """Buckets of 4, the first to fifth molecule."""
    n = np.arange(1, 6)
    assert paid(made(4, penalty="linear"), 5) == [0.75, 0.5, 0.25, 0, 0]
    np.testing.assert_allclose(paid(made(4, penalty="tanh"), 5), 1 - np.tanh(3 * (n - 1) / 4))
    sigmoid = 1 - 1 / (1 + np.exp(-((2 * n / 4 - 1) / 0.15)))
    np.testing.assert_allclose(paid(made(4, penalty="sigmoid"), 5), sigmoid, atol=1e-15)


@pytest.mark.parametrize("penalty", ["step", "linear", "tanh", "sigmoid"])
@pytest.mark.parametrize("bucket", [1, 3, 25])
def test_a_penalty_never_rises_and_ends_at_nothing(penalty, bucket):
    found = paid(made(bucket, penalty=penalty), 4 * bucket)
    assert all(0 <= one <= 1 for one in found)
    assert found == sorted(found, reverse=True)
    # tanh(9) and the sigmoid of 20/3 are within 1e-3 of 1.
    assert found[-1] < 2e-3


def test_rewards_below_the_minimum_are_neither_counted_nor_changed():
    penalty = made(1, filter_above=0.4)
    rewards = np.array([0.39, 0.4, 0.9])
    penalty.add(["a"] * 5, [0.39] * 5)
    assert penalty.penalise(rewards, ["a"] * 3).tolist() == rewards.tolist()
    penalty.add(["a"], [0.4])
    assert penalty.penalise(rewards, ["a"] * 3).tolist() == [0.39, 0, 0]


# --- what is counted ------------------------------------------------------------------------------

SMILES = ["Cc1ccccc1", "OC1CCCCC1", "c1ccc(Cc2ccccc2)cc1", "c1ccc(CCc2ccccc2)cc1", "CCO", "CCN"]


def kinds(penalty: DiversityFilter, smiles=SMILES) -> list[str]:
    found = penalty.keys({text: scaffold(text) for text in smiles})
    assert list(found) == list(smiles)
    return list(found.values())


def test_identical_scaffolds():
    names = ["c1ccccc1", "C1CCCCC1", "c1ccc(Cc2ccccc2)cc1", "c1ccc(CCc2ccccc2)cc1", "", ""]
    assert kinds(made(2)) == kinds(made(10, filter="none")) == names


def test_topological_scaffolds():
    """Benzene and cyclohexane are one graph."""
    found = kinds(made(2, filter="generic-scaffold"))
    assert found[0] == found[1] == "C1CCCCC1"
    assert len(set(found)) == 4


def test_similar_scaffolds():
    """Two benzenes linked by one carbon or by two are alike; without rings nothing is compared."""
    found = kinds(made(2, filter="similarity", filter_similarity=0.5))
    assert found[3] == found[2] == "c1ccc(Cc2ccccc2)cc1"
    assert (found[0], found[1], found[4], found[5]) == ("c1ccccc1", "C1CCCCC1", "", "")
    strict = kinds(made(2, filter="similarity", filter_similarity=1.0))
    assert len(set(strict)) == 5


def test_the_most_similar_scaffold_counts():
    penalty = made(2, filter="similarity", filter_similarity=0.01)
    penalty.keys({"c1ccccc1": "c1ccccc1"})
    strict = made(2, filter="similarity", filter_similarity=0.9)
    strict.keys({text: scaffold(text) for text in SMILES})
    strict.config = penalty.config  # from now on all find one
    near = "c1ccc(CCCc2ccccc2)cc1"
    assert strict.keys({near: near}) == {near: "c1ccc(CCc2ccccc2)cc1"}
    assert penalty.keys({near: near}) == {near: "c1ccccc1"}


def test_known_scaffolds_are_known_again_from_what_is_written_down():
    """Also one of which no molecule was counted."""
    penalty = made(2, filter="similarity", filter_above=0.9)
    first = kinds(penalty)
    penalty.add(first, [0.0] * len(first))
    again = made(2, dict(penalty.added), filter="similarity", filter_above=0.9)
    others = ["c1ccc(CCCc2ccccc2)cc1", "c1ccncc1", "C1CCNCC1", "O=C1CCCCC1"]
    assert kinds(again, others) == kinds(penalty, others)
    assert set(penalty.counts) == set(again.counts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"filter": "none", "penalty": "tanh"}, "penalty has no effect without a filter"),
        ({"filter": "none", "bucket": 5}, "bucket has no effect without a filter"),
        ({"bucket": 0, "filter_above": 0.4}, "filter_above has no effect without a filter"),
        ({"filter_similarity": 0.5}, "no effect with filter scaffold, only with similarity"),
        ({"filter": "murcko"}, "filter"),
    ],
)
def test_settings_without_effect_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Config(**options)
