"""Functions and programs of one's own: one answer each, whatever they do."""

import json
import re
import sys

import pytest
from components import ASPIRIN, ETHANE, PHENOL, USER, ComponentSuite
from helpers import limits_from

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules import ComponentConfig, Failure
from ipsrl.molecules.component import Timeout
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.own import LONGEST

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

    def test_half_a_line_is_not_an_answer(self):
        """It breaks down in its second line, if there is one: that molecule is asked again."""
        code = (
            "import sys; first, *rest = sys.stdin; print('{\"value\": 7}', end=''); "
            "rest and print('\\n{\"val', end=''); sys.exit(3)"
        )
        component = build(ComponentConfig(kind="program", command=[sys.executable, "-c", code]))
        assert component([PHENOL, ETHANE]) == [7, 7]

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

    def test_one_that_prints_too_much(self):
        code = f"import sys; sys.stdout.write('x' * {LONGEST + 1})"
        component = build(ComponentConfig(kind="program", command=[sys.executable, "-c", code]))
        assert component([PHENOL]) == [Failure(f"the program wrote more than {LONGEST} bytes")]

    def test_a_script_in_a_word_is_no_file(self):
        code = "print('{\"value\": 7}')" + "#" * 300
        command = [sys.executable, "-c", code]
        component = build(ComponentConfig(kind="program", command=command, version="1"))
        assert component([PHENOL]) == [7]

    @pytest.mark.parametrize("command", ["/no/such/program", "no-such-program"])
    def test_one_that_is_not_there(self, command):
        with pytest.raises(ConfigError, match=f"'{command}' is not found"):
            build(ComponentConfig(kind="program", command=[command]))


def test_the_contract_of_the_program_is_one_line_each(tmp_path):
    """What it reads is JSON lines of the molecules in order."""
    path = tmp_path / "echo.py"
    path.write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())")
    log = tmp_path / "log"
    command = [sys.executable, str(path), str(log)]
    build(ComponentConfig(kind="program", command=command))([PHENOL, ETHANE])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == [{"smiles": PHENOL}, {"smiles": ETHANE}]
