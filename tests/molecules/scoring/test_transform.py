"""Transforms: the values of the paper, and others by hand."""

import numpy as np
import pytest

from ipsrl.molecules import TransformConfig
from ipsrl.molecules.scoring.transform import transform


def transformed(value, **config) -> float:
    return float(transform(np.array([value]), TransformConfig(**config))[0])


def test_the_papers_docking_transform():
    """Appendix B.2: low -16, high 0, k .15; the values of specs/molecules.md."""
    docking = {"kind": "reverse-sigmoid", "low": -16.0, "high": 0.0, "k": 0.15}
    for score, expected in ((-8, 0.500), (-9.5, 0.580), (-12, 0.703), (-16, 0.849), (0, 0.151)):
        assert transformed(score, **docking) == pytest.approx(expected, abs=6e-4)


def test_transforms_by_hand():
    sigmoid = {"kind": "sigmoid", "low": 0.0, "high": 10.0, "k": 0.5}
    assert transformed(5, **sigmoid) == 0.5
    # 10^(-.5 (7 - 5) 10/10) = .1
    assert transformed(7, **sigmoid) == pytest.approx(1 / 1.1)
    assert transformed(7, **sigmoid | {"kind": "reverse-sigmoid"}) == pytest.approx(1 - 1 / 1.1)
    step = {"kind": "step", "low": 0.0, "high": 3.0}
    assert [transformed(x, **step) for x in (-1, 0, 3, 3.1)] == [0, 1, 1, 0]
    assert [transformed(x, kind="step", low=2.0) for x in (1, 2, 99)] == [0, 1, 1]
    assert [transformed(x, kind="identity") for x in (-1, 0.3, 7)] == [0, 0.3, 1]


def test_double_sigmoids_by_hand():
    """At an end one half, a unit of 10 k inside ten elevenths, outside one eleventh."""
    double = {"kind": "double-sigmoid", "low": 2.0, "high": 6.0, "k": 1.0}
    points = (1, 2, 3, 5, 6, 7)
    found = [transformed(x, **double) for x in points]
    assert found == pytest.approx([1 / 11, 1 / 2, 10 / 11, 10 / 11, 1 / 2, 1 / 11])
    steeper = double | {"k_high": 2.0}
    found = [transformed(x, **steeper) for x in points]
    assert found == pytest.approx([1 / 11, 1 / 2, 10 / 11, 100 / 101, 1 / 2, 1 / 101])
    assert transformed(30, **double) == pytest.approx(0, abs=1e-12)


def test_the_double_sigmoid_is_that_of_reinvent4():
    """Its own form, written with natural exponentials, on slopes, divisors and ends of all sizes;
    low 1, high 3, k 1.5 gives .969 in the middle."""
    narrow = {"kind": "double-sigmoid", "low": 1.0, "high": 3.0, "k": 1.5}
    assert transformed(2, **narrow) == pytest.approx(0.969, abs=5e-4)
    rng = np.random.default_rng(0)
    for _ in range(50):
        low, width, k, k_high, divisor = rng.lognormal(0, 2, 5).tolist()
        high = low + width
        config = TransformConfig(
            kind="double-sigmoid", low=low, high=high, k=k, k_high=k_high, divisor=divisor
        )
        x = rng.uniform(low - width, high + width, 40)
        x = np.append(x, [low, high])
        left = 1 / (1 + np.exp(-np.clip(np.log(10) * k / divisor * (x - low), -700, 700)))
        right = 1 - 1 / (
            1 + np.exp(-np.clip(np.log(10) * k_high / divisor * (x - high), -700, 700))
        )
        expected = np.where(x < (low + high) / 2, left, right)
        np.testing.assert_allclose(transform(x, config), expected, atol=1e-12)


def test_a_divisor_divides_both_slopes():
    ends = {"kind": "double-sigmoid", "low": 200.0, "high": 500.0}
    for x in (100, 199, 320, 420, 501, 700):
        theirs = transformed(x, k=20.0, k_high=30.0, divisor=500.0, **ends)
        assert theirs == pytest.approx(transformed(x, k=0.04, k_high=0.06, **ends))


@pytest.mark.parametrize("kind", ["sigmoid", "reverse-sigmoid", "double-sigmoid", "step"])
def test_no_number_stays_none_and_none_leaves_the_unit(kind):
    config = TransformConfig(kind=kind, low=-1.0, high=1.0)
    values = transform(np.array([np.nan, -1e308, 1e308, 0.0]), config)
    assert np.isnan(values[0])
    assert ((values[1:] >= 0) & (values[1:] <= 1)).all()
