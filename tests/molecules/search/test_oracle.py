"""The budget is exact, a repeat is free, and what failed is never a number."""

import math

import numpy as np
import pytest

from ipsrl.molecules import ComponentConfig, Scoring
from ipsrl.molecules.search.oracle import Oracle, Status

USER = """
calls = []

def size(smiles):
    calls.extend(smiles)
    return [len(text) / 10 if text != "CC" else float("nan") for text in smiles]
"""


@pytest.fixture
def oracle(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    component = ComponentConfig(kind="function", name="size", function=f"{tmp_path}/user.py:size")
    return Oracle(Scoring([component], "product"), budget=4)


def test_calls_by_hand(oracle):
    first, repeat, failed = oracle(["CCCO", "CCCO", "CC"])
    assert first is repeat
    assert (first.number, first.status, first.reward, first.raw) == (1, Status.VALID, 0.4, (0.4,))
    assert (failed.number, failed.status) == (2, Status.FAILED)
    assert math.isnan(failed.reward)
    assert failed.reason == "size: the value is nan, not a finite number"
    assert oracle.left == 2


def test_the_budget_is_exact(oracle):
    calls = oracle(["C", "CO", "CCC", "C", "CCCC", "CCCCC", "CO"])
    assert [call.number if call else None for call in calls] == [1, 2, 3, 1, 4, None, 2]
    assert oracle.left == 0
    assert oracle(["CCCCC", "C"]) == [None, calls[0]]
    assert [call.number for call in oracle.calls] == [1, 2, 3, 4]


def test_scaffolds_of_calls_keep_stereo_marks_if_wanted(oracle):
    isomers = ["C(=C/C1CC1)\\C1CC1", "C(=C\\C1CC1)\\C1CC1"]
    assert len({call.scaffold for call in oracle(isomers)}) == 1
    keeping = Oracle(oracle.scoring, 4, stereo=True)
    assert len({call.scaffold for call in keeping(isomers)}) == 2


def test_each_molecule_is_computed_once(oracle):
    for _ in range(3):
        oracle(["C", "CC", "C"])
    computed = oracle.scoring.components[0].function.__globals__["calls"]
    assert computed == ["C", "CC"]  # a failure is not asked for again


def test_earlier_calls_count(oracle):
    oracle(["C", "CO"])
    again = Oracle(oracle.scoring, 4, oracle.calls)
    assert again.left == 2
    assert again(["CO"])[0] is oracle.calls[1]


def test_statuses_add_up(oracle):
    oracle(["C", "CC", "CO", "CCO"])
    valid = [call for call in oracle.calls if call.status is Status.VALID]
    failed = [call for call in oracle.calls if call.status is Status.FAILED]
    assert len(valid) + len(failed) == len(oracle.calls) == 4
    assert all(np.isfinite(call.reward) and not call.reason for call in valid)
    assert all(np.isnan(call.reward) and call.reason for call in failed)
