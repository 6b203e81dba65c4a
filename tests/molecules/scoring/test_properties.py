"""Components of RDKit keep the contract, and every number is known from elsewhere."""

import numpy as np
import pytest
from components import ASPIRIN, ETHANE, PHENOL, ComponentSuite

from ipsrl.molecules import ComponentConfig, Failure
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.properties import PROPERTIES


class TestQED(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        return build(ComponentConfig(kind="qed"))


class TestAlert(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        return build(ComponentConfig(kind="alert", smarts=["[OX2H]", "C=O"]))

    def test_by_hand(self, component):
        assert component([ASPIRIN, PHENOL, ETHANE]) == [0, 0, 1]


class TestSmarts(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        return build(ComponentConfig(kind="smarts", smarts=["[OX2H]", "C=O"]))

    def test_by_hand(self, component):
        assert component([ASPIRIN, PHENOL, ETHANE]) == [2, 1, 0]


class TestSimilarity(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        return build(ComponentConfig(kind="similarity", smiles=[PHENOL, ETHANE]))

    def test_the_nearest_counts(self, component):
        assert component([PHENOL, ETHANE]) == [1, 1]
        assert 0 < component([ASPIRIN])[0] < 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("hbd", 1), ("hba", 3), ("rings", 1), ("aromatic_rings", 1), ("rotatable_bonds", 2),
        ("weight", pytest.approx(180.16, abs=0.01)),  # C9H8O4
        ("tpsa", pytest.approx(63.6, abs=0.05)),  # Ertl: ester 26.3, acid 37.3
        ("logp", pytest.approx(1.31, abs=0.01)), ("sa", pytest.approx(1.58, abs=0.01)),
        ("qed", pytest.approx(0.55, abs=0.005)),
    ],
)  # fmt: skip
def test_properties_of_aspirin(kind, expected):
    assert build(ComponentConfig(kind=kind))([ASPIRIN]) == [expected]


def test_every_property_takes_every_molecule():
    for kind in PROPERTIES:
        values = build(ComponentConfig(kind=kind))(["*", "[H][H]", "[Na+].[Cl-]", "C" * 100])
        assert all(isinstance(v, Failure) or np.isfinite(v) for v in values)
