"""A value that is not a finite number is a failure, with its reason."""

import math

import numpy as np
import pytest

from ipsrl.molecules.component import Failure, Timeout, guarded, kinds_of_reasons


@pytest.mark.parametrize("value", [0, -1.5, np.float32(2), np.int64(3)])
def test_a_finite_number_is_itself(value):
    answer = guarded(lambda: value)
    assert type(answer) is float
    assert answer == value


@pytest.mark.parametrize("value", [math.nan, math.inf, True, np.False_, "word", None, [1.0, 2.0]])
def test_anything_else_is_a_failure_and_no_reward(value):
    assert isinstance(guarded(lambda: value), Failure)


def test_a_failure_stays_the_one_that_it_is():
    late = Timeout("too slow")
    assert guarded(lambda: late) is late
    assert guarded(lambda: 1 / 0) == Failure("ZeroDivisionError: division by zero")


def test_reasons_that_name_their_molecule_are_one_kind():
    """Those that come once and begin alike; what comes several times, or alone, stays."""
    once = [f"dock: ValueError: no pose of {'C' * n}" for n in range(1, 4)]
    given = [*once, "dock: ValueError: no licence", "dock: ValueError: no licence", "qed: late"]
    assert kinds_of_reasons(given) == {
        "dock: ValueError: ...": 3, "dock: ValueError: no licence": 2, "qed: late": 1,
    }  # fmt: skip
