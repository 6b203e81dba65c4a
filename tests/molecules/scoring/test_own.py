"""Functions and programs of one's own: one answer each, whatever they do."""

import json
import os
import re
import signal
import sys
import tracemalloc

import pytest
from components import ASPIRIN, ETHANE, PHENOL, USER, ComponentSuite
from faulty import is_alive
from helpers import limits_from, wait_until

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


def test_the_contract_of_the_program_is_one_line_each(tmp_path):
    """What it reads is JSON lines of the molecules in order."""
    path = tmp_path / "echo.py"
    path.write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())")
    log = tmp_path / "log"
    command = [sys.executable, str(path), str(log)]
    build(ComponentConfig(kind="program", command=command))([PHENOL, ETHANE])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == [{"smiles": PHENOL}, {"smiles": ETHANE}]
