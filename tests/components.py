"""What every component of a reward keeps, molecules to ask it for, and one that does as told."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pytest

from ipsrl.molecules import Component, ComponentConfig, Failure

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


# A component that does what the SMILES says: C its number, N what the test wrote into a file.
TOLD = """
import os, signal, subprocess, sys, time
sys.path.insert(0, {tests!r})
from faulty import nap, native_hang, time_is_up, write_to_pipes

def value(smiles):
    (text,) = smiles
    if text == "N":
        exec(open({todo!r}).read())
    return [os.getpid()]
"""


class Told:
    """The component; `todo` is what it shall do with N."""

    def __init__(self, folder: Path) -> None:
        self.file, self._todo = folder / "told.py", folder / "todo"
        tests = str(Path(__file__).parent)
        self.file.write_text(TOLD.format(tests=tests, todo=str(self._todo)))

    def todo(self, text: str) -> None:
        self._todo.write_text(text)

    def config(self, **options) -> ComponentConfig:
        options = {"workers": 1, "timeout": 500.0} | options
        return ComponentConfig(kind="function", function=f"{self.file}:value", **options)
