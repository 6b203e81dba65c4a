"""Strings of bits: the laws of every environment, and one string by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from environment_suite import EnumerableSuite, EnvironmentSuite

from ipsrl.errors import InvalidInput
from ipsrl.grids import BitSequences, train
from ipsrl.grids.bits import Written
from ipsrl.grids.config import Learning


class TestShort(EnumerableSuite):
    environment = BitSequences(bits=8, word=2, targets=3)


class TestLong(EnvironmentSuite):
    environment = BitSequences()


def test_a_string_by_hand():
    """The first target with its last two bits turned: distance 2, R = e^-2, and it is found."""
    strings = BitSequences(bits=16, word=4, targets=2)
    bits = strings.targets_MN[0].copy()
    bits[-2:] ^= 1
    words = jnp.asarray(bits.reshape(4, 4) @ [8, 4, 2, 1], jnp.int32)
    written = Written(words, jnp.int32(4))
    assert int(strings.distances(written)[0]) == 2
    assert float(strings.reward(written)) == pytest.approx(np.exp(-2), rel=1e-6)  # float32
    assert int(strings.mode(written)) == 0


def test_equal_targets_are_one():
    """A string of eight bits is one of five blocks; 60 of fifteen blocks are all different."""
    short = BitSequences(bits=8, word=4)
    assert short.modes == len(np.unique(short.targets_MN, axis=0)) == 5
    assert BitSequences().modes == 60


@pytest.mark.parametrize(
    "options", [{"word": 7}, {"word": 0}, {"word": 11}, {"bits": 0}, {"bits": -8}, {"targets": 0}]
)
def test_strings_that_cannot_be_are_refused(options):
    (key,) = options
    with pytest.raises(InvalidInput, match=f"{key}.* {options[key]}[, ]"):
        BitSequences(**options)


def test_short_strings_are_learned_with_a_table_of_all():
    """Their states are not numbers themselves, and the table's are."""

    class Short(Learning):
        title = property(lambda _: "short strings")

        def environment(self):
            return BitSequences(bits=8, word=2, targets=3, beta=0.5)

    config = Short(
        estimator="likelihood", lr=1e-2, batch=64, group_size=64, iterations=200, hidden=16, seeds=1
    )
    (l1,) = train(config).total_l1
    assert l1 < 0.1  # three seeds end at .026 to .041; the uniform policy is at .41
