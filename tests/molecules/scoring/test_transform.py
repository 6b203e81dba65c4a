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
    double = {"kind": "double-sigmoid", "low": 2.0, "high": 4.0, "k": 1.0}
    assert transformed(3, **double) == pytest.approx(1 / 1.1 - 1 / 11)
    assert transformed(30, **double) == pytest.approx(0, abs=1e-12)
    step = {"kind": "step", "low": 0.0, "high": 3.0}
    assert [transformed(x, **step) for x in (-1, 0, 3, 3.1)] == [0, 1, 1, 0]
    assert [transformed(x, kind="step", low=2.0) for x in (1, 2, 99)] == [0, 1, 1]
    assert [transformed(x, kind="identity") for x in (-1, 0.3, 7)] == [0, 0.3, 1]


@pytest.mark.parametrize("kind", ["sigmoid", "reverse-sigmoid", "double-sigmoid", "step"])
def test_no_number_stays_none_and_none_leaves_the_unit(kind):
    config = TransformConfig(kind=kind, low=-1.0, high=1.0)
    values = transform(np.array([np.nan, -1e308, 1e308, 0.0]), config)
    assert np.isnan(values[0])
    assert ((values[1:] >= 0) & (values[1:] <= 1)).all()
