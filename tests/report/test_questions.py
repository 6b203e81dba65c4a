"""The picture of answers: every part of a bar is one answer."""

import pytest

from ipsrl.report.questions import shares_of_answers


def test_parts_are_shares_and_wrong_answers_come_last() -> None:
    figure = shares_of_answers({"start": {"Rome": 1, "Paris": 2, None: 1}, "grpo": {"Rome": 4}})
    (axis,) = figure.axes
    widths = [bar.get_width() for bar in axis.patches]
    assert widths == [pytest.approx(w) for w in (0.5, 0.25, 0.25, 1.0, 0.0)]
    assert [text.get_text() for text in axis.texts] == ["Paris", "Rome", "wrong", "Rome"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["start", "grpo"]
    assert all(len(set(bar.get_facecolor()[:3])) > 1 for bar in axis.patches[:2])
    rome = [bar.get_facecolor() for bar in (axis.patches[1], axis.patches[3])]
    assert rome[0] == rome[1]
