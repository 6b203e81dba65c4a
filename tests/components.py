"""What every component of a reward keeps, and three molecules to ask it for."""

from abc import ABC, abstractmethod

import numpy as np
import pytest

from ipsrl.molecules import Component, Failure

ASPIRIN, PHENOL, ETHANE = "CC(=O)Oc1ccccc1C(=O)O", "Oc1ccccc1", "CC"

USER = """
def size(smiles):
    return [len(text) for text in smiles]

def picky(smiles):
    if "CC" in smiles:
        raise ValueError("not ethane")
    return [1.0] * len(smiles)

def mute(smiles):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError
    raise Mute

def short(smiles):
    return [1.0]

def leaves(smiles):
    if "CC" in smiles:
        raise SystemExit(3)
    return [1.0] * len(smiles)

def wild(smiles):
    return [float("nan") if text == "CC" else 1 for text in smiles]

number = 3
"""


class ComponentSuite(ABC):
    """Laws that every component keeps."""

    @abstractmethod
    @pytest.fixture
    def component(self, tmp_path) -> Component: ...

    def test_one_finite_number_or_failure_each(self, component):
        values = component([ASPIRIN, PHENOL, ETHANE])
        assert len(values) == 3
        assert all(isinstance(v, Failure) or np.isfinite(v) for v in values)
        assert not all(isinstance(v, Failure) for v in values)

    def test_a_value_does_not_depend_on_its_neighbours(self, component):
        together = list(component([ASPIRIN, PHENOL, ETHANE]))
        assert together == [component([text])[0] for text in (ASPIRIN, PHENOL, ETHANE)]
        assert together[::-1] == list(component([ETHANE, PHENOL, ASPIRIN]))

    def test_nothing_in_nothing_out(self, component):
        assert list(component([])) == []
