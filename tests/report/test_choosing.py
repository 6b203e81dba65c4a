"""The figure of estimators shows the numbers of its table."""

import numpy as np

from ipsrl.report.choosing import pulls_and_recoveries


def row(per_member, estimator, low, median, high):
    recovery = {"low": low, "median": median, "high": high}
    return {"per_member": per_member, "estimator": estimator, "ideal": 0.8, "recovery": recovery}


def test_pulls_are_curves_and_recoveries_have_ranges():
    curves = {"group": (np.array([1.0, 4.0]), np.array([0.3, 0.02]))}
    rows = [row(1, "group", 0.4, 0.5, 0.6), row(4, "group", 0.1, 0.2, 0.4),
            row(1, "replay", 0.6, 0.7, 0.8)]  # fmt: skip
    left, right = pulls_and_recoveries(rows, curves).axes
    (curve,) = left.get_lines()
    np.testing.assert_array_equal(curve.get_xydata(), [[1, 0.3], [4, 0.02]])
    assert [box.get_label() for box in right.containers] == ["group", "replay"]
    dots, _, (bars,) = right.containers[0]
    np.testing.assert_allclose(dots.get_xydata(), [[1, 0.5 / 0.8], [4, 0.2 / 0.8]])
    ranges = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ranges, [[0.5, 0.75], [0.125, 0.5]])
