"""One reward of several scores, by hand; a failure is not a reward."""

import numpy as np
import pytest
from components import ETHANE, PHENOL, USER

from ipsrl.errors import InvalidInput
from ipsrl.molecules import ComponentConfig, Failure, Scoring, TransformConfig


def constant(value: float, name: str, weight: float = 1.0) -> ComponentConfig:
    """A component of every molecule of the tests that is worth `value`."""
    return ComponentConfig(
        kind="smarts", smarts=["*"], name=name, weight=weight,
        transform=TransformConfig(kind="sigmoid", low=0.0, high=2.0, k=1.0)
        if value == 0.5 else TransformConfig(kind="step", low=0.0 if value else 5.0, high=9.0),
    )  # fmt: skip


def test_aggregates_by_hand():
    parts = [constant(0.5, "half", 3.0), constant(1, "one")]
    # (.5^3 1)^(1/4) and .5^3 1
    assert Scoring(parts, "geometric-mean")([ETHANE]).rewards == pytest.approx([0.5**0.75])
    assert Scoring(parts, "product")([ETHANE]).rewards == pytest.approx([0.125])
    zero = [*parts, constant(0, "zero")]
    assert Scoring(zero, "geometric-mean")([ETHANE, PHENOL]).rewards.tolist() == [0, 0]


def test_what_there_is_not_is_refused():
    parts = [ComponentConfig(kind="qed")]
    with pytest.raises(InvalidInput, match="no aggregation 'mean'. Write geometric-mean or"):
        Scoring(parts, "mean")
    with pytest.raises(InvalidInput, match="no executor 'threads'"):
        Scoring(parts, "product", executor="threads")


def test_a_failed_component_is_no_reward_and_says_so(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    picky = ComponentConfig(kind="function", name="mine", function=f"{tmp_path}/user.py:picky")
    scores = Scoring([ComponentConfig(kind="qed"), picky], "product")([PHENOL, ETHANE])
    assert np.isfinite(scores.rewards[0])
    assert np.isnan(scores.rewards[1])
    assert scores.failures == [None, Failure("mine: ValueError: not ethane")]
    assert np.isfinite(scores.raw["qed"]).all()
    assert np.isnan(scores.raw["mine"][1])
