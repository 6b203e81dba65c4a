"""Closed forms of the estimators are what the estimators themselves do, over every group."""

import itertools

import numpy as np
import pytest
from helpers import ENUMERATION
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import ESTIMATORS, Exact, Group, GroupFrequency, LeaveOneOut, Likelihood, Replay
from ipsrl.core.floor import presence
from ipsrl.errors import InvalidInput
from ipsrl.theory.estimates import SMOOTHING, quality

P = np.array([0.5, 0.3, 0.2])
MAKE = {
    "group": GroupFrequency(),
    "leave-one-out": LeaveOneOut(),
    "replay": Replay(2),
    "likelihood": Likelihood(),
    "exact": Exact(),
}


def moments(estimator, p_text, outcome_of, size, visits):
    """Mean and deviation of p^/p and of p/p^ of the first sample of the last group, for outcome 0.

    Over all texts that can be drawn in `visits` groups, given that this one has the outcome.
    """
    p_of = np.bincount(outcome_of, p_text)
    found, chances = [], []
    for drawn in itertools.product(range(len(p_text)), repeat=size * visits):
        texts = np.array(drawn).reshape(visits, size)
        if outcome_of[texts[-1, 0]] != 0:
            continue
        state = ()
        for visit, row in enumerate(texts):
            ids = outcome_of[row]
            group = Group(ids=ids, p=p_of[ids], log_pf=np.log(p_text[row]), samples=row)
            state = estimator.init(group) if visit == 0 else state
            p_hat, state = estimator(group, state)
        found.append(p_hat[0] / p_of[0])
        chances.append(p_text[texts].prod() / p_of[0])
    found, chances = np.array(found), np.array(chances)
    assert chances.sum() == pytest.approx(1)
    for values in (found, 1 / found):
        mean = chances @ values
        yield mean
        yield np.sqrt(chances @ (values - mean) ** 2)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_closed_form_is_the_mean_over_all_groups(name, size):
    visits = 2 if name == "replay" else 1
    ours = quality(name, P[0], size, visits=visits)
    enumerated = list(moments(MAKE[name], P, np.arange(3), size, visits))
    np.testing.assert_allclose(ours[:4], enumerated, atol=ENUMERATION)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_of_texts_with_one_outcome_the_likelihood_sums_what_the_group_shows(size):
    """Two outcomes, the first of which three texts have, and the other one."""
    p_text, outcome_of = np.array([0.2, 0.2, 0.2, 0.4]), np.array([0, 0, 0, 1])
    ours = quality("likelihood", 0.6, size, ways=3)
    enumerated = list(moments(Likelihood(), p_text, outcome_of, size, 1))
    np.testing.assert_allclose(ours[:4], enumerated, atol=ENUMERATION)


def test_by_hand():
    # G = 2, p = 1/4: the other sample has the outcome or not.  p^ = 1/2 with 3/4, 1 with 1/4:
    # mean 5/8, over p 5/2; deviation sqrt(3)/4 * 1/2 over p = sqrt(3)/2.  p/p^ = 1/2 or 1/4:
    # mean 7/16 = 1 - (3/4)^2, deviation sqrt(3)/4 * 1/4.
    # f = 2p - p^2, so 1 - p f' / f = p / (2 - p); 1e-6: the slope is a difference quotient.
    assert quality("group", 0.25, 2) == pytest.approx(
        (5 / 2, 3**0.5 / 2, 7 / 16, 3**0.5 / 16, 1 / 7, 0), rel=1e-6
    )
    assert quality("exact", 0.25, 2) == pytest.approx((1, 0, 1, 0, 1, 0), abs=1e-9)


@given(st.floats(1e-4, 0.9), st.integers(1, 64), st.integers(1, 8))
def test_the_weight_is_the_presence_of_the_floor(p, size, visits):
    """E[p / p^] is f(p) of `ipsrl.core.floor`, and a history of V visits a group of V G."""
    group = quality("group", p, size)
    assert group.weight == pytest.approx(float(presence(p, size)), rel=1e-9)
    assert group.mean == pytest.approx((1 + (size - 1) * p) / (size * p), rel=1e-9)
    assert group.sd == pytest.approx(((size - 1) * (1 - p) / p) ** 0.5 / size, rel=1e-6)
    replay = quality("replay", p, size, visits=visits)
    assert replay[:5] == pytest.approx(quality("group", p, size * visits)[:5], rel=1e-9)
    assert replay.passes == visits


@given(st.floats(1e-3, 0.5), st.integers(2, 64))
def test_laws_of_pull(p, size):
    """Counting pulls less than exact p, and more with every visit; alone, nothing pulls."""
    pull = [quality("replay", p, size, visits=v).pull for v in (1, 2, 8)]
    assert -1e-6 < pull[0] <= pull[1] + 1e-6 <= pull[2] + 2e-6 <= 1 + 1e-5
    assert quality("group", p, 1).pull == pytest.approx(0, abs=1e-6)  # f = p: expected return
    # 1 - l / (e^l - 1) of l = G p: (1 - p)^G differs from e^-l by a part of G p^2
    load = size * p
    assert pull[0] == pytest.approx(1 - load / np.expm1(load), abs=2 * p)


@given(st.floats(1e-3, 0.5), st.integers(1, 64), st.integers(1, 6))
def test_a_likelihood_pulls_whatever_the_group(p, size, ways):
    """With one text per answer it is exact; with several, common answers show more of theirs."""
    assert quality("likelihood", p, size).pull == pytest.approx(1, abs=1e-9)
    assert quality("likelihood", p, size, ways=ways).pull > 1 - 1e-6


@given(st.floats(1e-3, 0.9), st.integers(1, 32), st.integers(1, 6))
def test_a_likelihood_is_a_lower_bound(p, size, ways):
    found = quality("likelihood", p, size, ways=ways)
    assert 1 / ways - 1e-9 <= found.mean <= 1 + 1e-9
    assert 1 - 1e-9 <= found.weight <= ways + 1e-9


def test_its_smoothing_is_that_of_the_estimator():
    assert LeaveOneOut().smoothing == SMOOTHING
    assert set(MAKE) < set(ESTIMATORS)


@pytest.mark.parametrize(
    ("name", "p", "size", "told"),
    [("kernel", 0.5, 4, "'kernel'"), ("group", 0.0, 4, "p is 0"), ("group", 1.0, 4, "p is 1"),
     ("group", 0.5, 0, "group_size 0")],
)  # fmt: skip
def test_what_has_no_closed_form_is_refused(name, p, size, told):
    with pytest.raises(InvalidInput, match=told):
        quality(name, p, size)
