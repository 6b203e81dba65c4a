"""Rewards: every component keeps one contract, and every number is worked by hand."""

import json
import os
import re
import signal
import sys
import tracemalloc
from abc import ABC, abstractmethod

import numpy as np
import pytest
from faulty import is_alive
from helpers import limits_from, wait_until

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import Component, ComponentConfig, Failure, Scoring, TransformConfig
from ipsrl.molecules.component import Timeout
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.own import LONGEST
from ipsrl.molecules.scoring.properties import PROPERTIES
from ipsrl.molecules.scoring.transform import transform

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

PROGRAM = """
import json, sys
for line in sys.stdin:
    smiles = json.loads(line)["smiles"]
    if {dies!r} == smiles:
        print("CUDA error", file=sys.stderr)
        sys.exit(3)
    if {bad!r} == smiles:
        print(json.dumps({{"error": "too small"}}))
    elif {garbage!r} == smiles:
        print("Segmentation fault")
    else:
        print(json.dumps({{"value": len(smiles)}}), flush=True)
"""


def program(tmp_path, dies="", bad="", garbage="") -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(dies=dies, bad=bad, garbage=garbage))
    return [sys.executable, str(path)]


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


class TestFunction(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        (tmp_path / "user.py").write_text(USER)
        return build(ComponentConfig(kind="function", function=f"{tmp_path}/user.py:picky"))

    def test_one_cannot_cost_the_others(self, component):
        values = component([ASPIRIN, ETHANE, PHENOL])
        assert values[0] == values[2] == 1
        assert values[1] == Failure("ValueError: not ethane")

    def test_what_is_no_number_is_a_failure(self, tmp_path, component):
        wild = build(ComponentConfig(kind="function", function=f"{tmp_path}/user.py:wild"))
        first, second = wild([ETHANE, PHENOL])
        assert "not a finite number" in first.reason
        assert second == 1
        leaves = build(ComponentConfig(kind="function", function=f"{tmp_path}/user.py:leaves"))
        failure, value = leaves([ETHANE, PHENOL])
        assert re.match(r"leaves .*end the process \(SystemExit: 3, in .*user.py", failure.reason)
        assert value == 1
        short = build(ComponentConfig(kind="function", function=f"{tmp_path}/user.py:short"))
        assert short([ETHANE, PHENOL]) == [1, 1]  # asked again, one by one

    def test_one_that_is_not_there(self, tmp_path, component):
        with pytest.raises(InvalidInput, match="no 'sise'.*nearest is 'size'"):
            build(ComponentConfig(kind="function", function=f"{tmp_path}/user.py:sise"))


class TestProgram(ComponentSuite):
    @pytest.fixture
    def component(self, tmp_path):
        command = program(tmp_path, bad=ETHANE)
        return build(ComponentConfig(kind="program", command=command))

    def test_its_errors_are_failures_with_its_words(self, component):
        assert component([PHENOL, ETHANE]) == [len(PHENOL), Failure("too small")]

    def test_garbage_and_death(self, tmp_path):
        command = program(tmp_path, garbage=ETHANE, dies=ASPIRIN)
        component = build(ComponentConfig(kind="program", command=command))
        values = component([PHENOL, ETHANE, ASPIRIN, PHENOL])
        assert values[0] == values[3] == len(PHENOL)  # the last is asked again, alone
        assert "JSONDecodeError" in values[1].reason
        assert values[2] == Failure("the program ended with code 3: CUDA error")

    def test_one_that_hangs_keeps_what_it_answered(self, tmp_path, monkeypatch):
        code = (
            "import time; print('{\"value\": 7}', flush=True); "
            f"print('answered', file=open({str(tmp_path / 'begun')!r}, 'w'), flush=True); "
            "time.sleep(6000)"
        )
        limits_from(tmp_path / "begun", monkeypatch)
        component = build(
            ComponentConfig(kind="program", command=[sys.executable, "-c", code], timeout=0.5)
        )
        assert component([PHENOL, ETHANE]) == [7, Timeout("no answer in 0.5 s")]

    @pytest.mark.parametrize(
        ("code", "count"),
        [
            ("print('hello'); [print(a) for _ in lines]", 3),  # a banner
            ("[print(a + chr(10)) for _ in lines]", 4),  # a blank line after each
            ("[print(a) for _ in lines[1:]]", 1),  # one left out
            ("[print(a) for _ in lines + [0]]; sys.exit(3)", 3),
        ],
    )
    def test_lines_that_do_not_tell_whose_they_are(self, code, count):
        code = f"import sys; lines = list(sys.stdin); a = '{{\"value\": 7}}'; {code}"
        component = build(ComponentConfig(kind="program", command=[sys.executable, "-c", code]))
        told = f"the program wrote {count} lines in answer to 2 molecules"
        assert component([PHENOL, ETHANE]) == [Failure(f"{told}; it must write one for each")] * 2

    def test_nothing_of_one_that_hangs_goes_on(self, tmp_path, monkeypatch):
        """Nor its children."""
        code = (
            "import subprocess, sys, time; child = subprocess.Popen(['sleep', '6000']); "
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); time.sleep(6000)"
        )
        limits_from(tmp_path / "pid", monkeypatch)
        command = [sys.executable, "-c", code]
        component = build(ComponentConfig(kind="program", command=command, timeout=0.5))
        assert component([PHENOL]) == [Timeout("no answer in 0.5 s")]
        pid = int((tmp_path / "pid").read_text())
        wait_until(lambda: not is_alive(pid))  # what is killed takes a moment to die

    def test_a_child_that_gets_away_does_not_keep_us(self, tmp_path, monkeypatch):
        """In a session of its own, with the output: the limit holds all the same."""
        code = (
            "import subprocess, time; print('{\"value\": 7}', flush=True); "
            "child = subprocess.Popen(['sleep', '600'], start_new_session=True); "
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); time.sleep(600)"
        )
        limits_from(tmp_path / "pid", monkeypatch)
        command = [sys.executable, "-c", code]
        component = build(ComponentConfig(kind="program", command=command, timeout=0.5))
        assert component([PHENOL, ETHANE]) == [7, Timeout("no answer in 0.5 s")]
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it lives; nobody waited

    def test_one_that_prints_without_end_does_not_fill_the_memory(self):
        code = f"for _ in range({3 * LONGEST // 2**20}): print('x' * 2**20)"
        component = build(ComponentConfig(kind="program", command=[sys.executable, "-c", code]))
        tracemalloc.start()
        (answer,) = component([PHENOL])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer == Failure(f"the program wrote more than {LONGEST} bytes")
        assert most < 2.5 * LONGEST  # what is kept, and a copy of it

    def test_one_that_reads_nothing(self):
        """Of more than fits into a pipe."""
        command = [sys.executable, "-c", "print('{\"value\": 7}\\n' * 9000, end='')"]
        component = build(ComponentConfig(kind="program", command=command))
        assert component([ASPIRIN] * 9000) == [7] * 9000

    def test_a_script_in_a_word_is_no_file(self):
        code = "print('{\"value\": 7}')" + "#" * 300
        command = [sys.executable, "-c", code]
        component = build(ComponentConfig(kind="program", command=command, version="1"))
        assert component([PHENOL]) == [7]

    @pytest.mark.parametrize("command", ["/no/such/program", "no-such-program"])
    def test_one_that_is_not_there(self, command):
        with pytest.raises(ConfigError, match=f"'{command}' is not found"):
            build(ComponentConfig(kind="program", command=[command]))


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


# --- transforms -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "sigmoid", "low": 1.0}, "needs low and high"),
        ({"kind": "step"}, "needs low, high or both"),
        ({"low": 1.0}, "no effect with identity"),
        ({"kind": "sigmoid", "low": 2.0, "high": 1.0}, "is not below"),
        ({"kind": "sigmiod"}, "kind"),
        ({"kind": "step", "low": float("nan")}, "low"),
    ],
)
def test_transforms_that_make_no_sense(config, message):
    with pytest.raises(ConfigError, match=message):
        TransformConfig(**config)


# --- aggregate ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "alert"}, "needs smarts. Give it"),
        ({"kind": "similarity"}, "needs smiles"),
        ({"kind": "qed", "smarts": ["C"]}, "Leave smarts out"),
        ({"kind": "program"}, "needs command"),
        ({"kind": "qde"}, "kind"),
        ({"kind": "qed", "weight": 0.0}, "weight"),
        ({"kind": "qed", "timeout": 5.0}, "timeout has no effect"),
    ],
)
def test_components_that_make_no_sense(config, message):
    with pytest.raises(ConfigError, match=message):
        ComponentConfig(**config)


@pytest.mark.parametrize(
    "config", [{"kind": "alert", "smarts": ["C", "c1"]}, {"kind": "similarity", "smiles": ["C("]}]
)
def test_patterns_and_references_are_checked_when_built(config):
    with pytest.raises(ConfigError, match="is no"):
        build(ComponentConfig(**config))


def test_the_contract_of_the_program_is_one_line_each(tmp_path):
    """What it reads is JSON lines of the molecules in order."""
    path = tmp_path / "echo.py"
    path.write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())")
    log = tmp_path / "log"
    command = [sys.executable, str(path), str(log)]
    build(ComponentConfig(kind="program", command=command))([PHENOL, ETHANE])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == [{"smiles": PHENOL}, {"smiles": ETHANE}]
