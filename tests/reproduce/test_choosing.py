"""`ipsrl reproduce choosing`: rows, figure and page say the same as theory and bandits."""

import json

import numpy as np
import pytest

from ipsrl import Likelihood
from ipsrl.core.methods import IPS
from ipsrl.reproduce import choosing, reproduce
from ipsrl.theory.choice import choose
from ipsrl.theory.estimates import quality
from ipsrl.theory.groups import simulate


@pytest.fixture(scope="module")
def chosen(compiled, tmp_path_factory):
    out = tmp_path_factory.mktemp("choosing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "PER_MEMBER", (1, 4))
        patch.setattr(choosing, "EARLY", 100)
        patch.setattr(choosing, "STEPS", 400)
        reproduce("choosing", "quick", out)
    return out


@pytest.fixture
def rows(chosen):
    return json.loads((chosen / "table.json").read_text())


def test_it_leaves_a_figure_and_a_page(chosen, pictures):
    assert pictures(chosen) == {"index-choosing.png"}
    assert (chosen / "index.html").read_text().count('"src":"data:image/png;base64,') == 1


def test_every_number_of_answers_has_every_estimator(rows):
    assert [(row["per_member"], row["estimator"]) for row in rows] == [
        (load, name) for load in (1, 4) for name in choosing.ESTIMATES
    ]


def test_closed_forms_are_those_of_theory(rows):
    for row in rows:
        if row["estimator"] not in ("group", "leave-one-out", "replay", "likelihood"):
            assert all(row[key] is None for key in choosing.CLOSED)
            continue
        found = quality(row["estimator"], 1 / (8 * row["per_member"]), 8, visits=8)
        assert row["bias"] == found.mean - 1
        assert [row[key] for key in choosing.CLOSED[1:]] == list(found[1:])
        short, long = (choose(row["per_member"], short=s, back=True) for s in (True, False))
        assert row["advised"] == (row["estimator"] in (short, long))


def test_bandits_are_trained_by_the_estimator(rows):
    """The end of one cell, trained again without stops on the way."""
    (row,) = (r for r in rows if (r["per_member"], r["estimator"]) == (4, "likelihood"))
    right = np.arange(32 + 64) < 32
    known = np.exp(np.linspace(5, 0, 32))
    start = np.concatenate([known / known.sum() / 2, np.full(64, 1 / 128)])
    assert start.sum() == pytest.approx(1)
    p = simulate(
        right.astype(float), 8, IPS(), success=right, estimator=Likelihood(), start=start, lr=0.2,
        iterations=401, averaged=1, groups=1, seeds=40,
    )  # fmt: skip
    recovery = (1 - (1 - p[:, :32]) ** 64).mean(-1)
    # other keys, as their number differs: of 3 medians, within the range of 40
    assert recovery.min() < row["recovery"]["median"] < recovery.max()
    assert recovery.max() < row["ideal"]
    assert row["recovery_early"]["median"] < row["recovery"]["median"]
    assert row["validity_early"]["median"] < row["validity"]["median"]


def test_better_estimates_recover_more(rows):
    found = {(row["per_member"], row["estimator"]): row["recovery"]["median"] for row in rows}
    order = [found[4, name] for name in ("none (GRPO)", "group", "replay", "likelihood")]
    assert order == sorted(order)
