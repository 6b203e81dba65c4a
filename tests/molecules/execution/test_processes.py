"""Workers answer what the component itself answers, and nothing that it does hurts anybody else."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from components import ETHANE, PHENOL, USER, ComponentSuite
from faulty import is_alive, marked
from helpers import HANGS, clock_from, has_begun, promised, wait_until

from ipsrl.errors import ConfigError, RunError
from ipsrl.molecules import ComponentConfig, Failure
from ipsrl.molecules.component import Timeout
from ipsrl.molecules.execution.processes import GRACE, Processes, Worker
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.properties import PROPERTIES
from ipsrl.workers import lines


@pytest.fixture(scope="module")
def qed():
    with Processes(ComponentConfig(kind="qed", workers=2)) as component:
        yield component


class TestProcesses(ComponentSuite):
    @pytest.fixture
    def component(self, qed):
        return qed

    def test_same_values_as_in_process(self, qed, corpus_file):
        smiles = corpus_file.read_text().split()[:100]
        assert qed(smiles) == build(ComponentConfig(kind="qed"))(smiles)

    def test_a_molecule_that_comes_twice_is_asked_once(self, qed):
        assert qed([PHENOL, PHENOL, ETHANE, PHENOL])[::3] == [qed([PHENOL])[0]] * 2


def test_the_answers_of_a_failing_function_are_those_in_process(tmp_path, mark):
    (tmp_path / "user.py").write_text(USER)
    for name in ("picky", "wild", "mute"):
        config = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:{name}", workers=1)
        with Processes(config) as component:
            assert component([PHENOL, ETHANE]) == build(config)([PHENOL, ETHANE])


def test_workers_that_differ_from_one_another_are_refused(tmp_path, mark, monkeypatch):
    """The file changes after the first worker was built, and before the second is."""
    file, real, one_by_one = tmp_path / "user.py", Worker.start, threading.Lock()
    file.write_text(USER)

    def start(worker):
        with one_by_one:
            identity = real(worker)
            file.write_text(file.read_text() + "# changed\n")
            return identity

    monkeypatch.setattr(Worker, "start", start)
    config = ComponentConfig(kind="function", function=f"{file}:size", version="1", workers=2)
    with pytest.raises(RunError, match="workers of 'function' have different files.*Begin again"):
        Processes(config)


# --- limits ---------------------------------------------------------------------------------------

# Limits are long, and what shall run out of its limit brings it forward: so what shall answer has
# time on a slow machine too.


def kills_after(component: Processes, seconds: float) -> None:
    """From now on a worker is killed so long after it was asked."""
    for worker in component._workers:
        worker._lines.timeout = seconds


def test_what_signals_do_not_reach_is_killed(told):
    with Processes(told.config()) as component:
        assert component._workers[0]._lines.timeout == 500 + GRACE
        (pid,) = component(["C"])
        for todo in (
            "time_is_up(500)\nnative_hang()",
            "signal.pthread_sigmask(signal.SIG_BLOCK, {14})\ntime_is_up(500)\nnap()",
        ):
            told.todo(todo)
            kills_after(component, 1.5)
            killed = component(["N"])
            kills_after(component, HANGS)
            (other,) = component(["C"])
            assert killed == [Timeout("the worker gave no answer in 1.5 s and was killed")]
            assert not is_alive(int(pid))
            assert other != pid
            pid = other


@pytest.mark.slow
@pytest.mark.promise(number=9)
def test_dead_with_its_children_soon_after_the_limit(told, mark, record_property):
    """Where the promise is measured, within two seconds."""
    told.todo("native_hang()")
    times, longest = promised(20, 1), 0.0
    with Processes(told.config(timeout=3.0)) as component:
        for _ in range(times):
            component(["C"])  # the limit is of a call; the start has another
            beginning = time.monotonic()
            assert isinstance(component(["N"])[0], Timeout)
            while marked(mark):
                assert time.monotonic() < beginning + HANGS
            longest = max(longest, time.monotonic() - beginning - 3)
    assert longest < promised(2, HANGS)
    record_property("figure", f"{times} hangs, dead at most {longest:.2f} s after the limit")
    assert GRACE < 2


# --- deaths ---------------------------------------------------------------------------------------


def test_a_death_is_a_failure_with_a_reason(told):
    with Processes(told.config(retries=0)) as component:
        for todo, reason in (
            ("os._exit(0)", "the worker ended with code 0 and without an answer"),
            ("sys.stderr.write('a\\nno licence\\n'); os._exit(2)", "code 2 .* answer: no licence"),
            ("import ctypes; ctypes.string_at(0)", "the worker ended with code -11 "),
            ("write_to_pipes(b'[1]\\n'); nap()", r"not one JSON object: b'\[1\]"),
            ("write_to_pipes(b'{\"value\": NaN}\\n'); nap()", "answered {'value': nan}"),
            ("write_to_pipes(b'{}\\n'); nap()", "answered {}"),
            # promise 12: a pickle that would run a program is nothing but a line that is no JSON
            ("write_to_pipes(b'cposix\\nsystem\\n(S\\'touch c\\'\\ntR.'); nap()", "not one JSON"),
        ):
            told.todo(todo)
            first, failure, last = component(["CC", "N", "C"])
            assert type(failure) is Failure
            assert re.search(reason, failure.reason)
            assert first != last


def test_who_died_is_asked_again_so_often(told, tmp_path):
    log = tmp_path / "log"
    told.todo(
        f"open({str(log)!r}, 'a').write('x')\nif len(open({str(log)!r}).read()) % 3: os._exit(1)"
    )
    with Processes(told.config(retries=1)) as component:
        assert "code 1" in component(["N"])[0].reason
        assert log.read_text() == "xx"
        assert isinstance(component(["N"])[0], float)  # the third time


@pytest.mark.parametrize("hang", ["time_is_up(500)\nnap()", "native_hang()"])
def test_a_limit_that_ran_out_is_not_tried_again(told, tmp_path, monkeypatch, hang):
    log = tmp_path / "log"
    told.todo(f"with open({str(log)!r}, 'a') as log: log.write('x')\n{hang}")
    with Processes(told.config(retries=5)) as component:
        if hang == "native_hang()":
            monkeypatch.setattr(lines, "monotonic", clock_from(log))
            kills_after(component, 0.5)
        assert isinstance(component(["N"])[0], Timeout)
    assert log.read_text() == "x"


def test_a_death_between_two_questions_costs_nothing(told):
    with Processes(told.config(retries=0)) as component:
        (pid,) = component(["C"])
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not is_alive(int(pid)))
        (other,) = component(["C"])
        assert other != pid


def test_noise_and_thirst_are_harmless(told):
    told.todo(
        "print('{\"value\": 7.0}', flush=True)\nos.system('echo noise')\n"
        "assert sys.stdin.read() == ''\nassert os.read(0, 9) == b''"
    )
    with Processes(told.config()) as component:
        (pid,) = component(["C"])
        assert component(["N", "C"]) == [pid, pid]


# --- beginning and end ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rdkit", "pydantic", "json"])
def test_a_file_of_yours_does_not_pass_for_a_library(told, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is not a library')")
    with Processes(told.config()) as component:
        (number,) = component(["C"])
    assert number > 0


def test_what_cannot_be_built_is_told_at_once(mark):
    with pytest.raises(ConfigError, match="there is no file"):
        Processes(ComponentConfig(kind="function", function="/no/file.py:f", workers=2))


def test_a_worker_that_was_started_again_must_be_the_same(told):
    """Else the values of a new file would be kept under the identity of the old one."""
    with Processes(told.config()) as component:
        for worker in component._workers:
            worker.identity = "that of another file"
        with pytest.raises(RunError, match="Undo the change"):
            component(["CC"])


def test_a_start_that_fails_once_costs_nothing_else(told, tmp_path):
    """As for want of memory."""
    told.file.write_text(
        told.file.read_text()
        + f"\nif os.path.exists({str(tmp_path / 'full')!r}):\n"
        + f"    os.remove({str(tmp_path / 'full')!r})\n    raise OSError('no memory')\n"
    )
    told.todo("os._exit(3)")
    with Processes(told.config(retries=0)) as component:
        component(["N"])
        (tmp_path / "full").touch()
        (failure,) = component(["C"])
        assert "cannot be built again" in failure.reason
        assert "no memory" in failure.reason
        assert isinstance(component(["C"])[0], float)
    with Processes(told.config()) as component:  # a retry is enough
        (tmp_path / "full").touch()
        component._workers[0].close()
        assert isinstance(component(["C"])[0], float)


def test_closed_at_work_it_ends(told, tmp_path):
    hung = tmp_path / "hung"
    told.todo(f"with open({str(hung)!r}, 'w') as hung: hung.write('x')\nnative_hang()")
    component = Processes(told.config())

    def close() -> None:
        wait_until(lambda: has_begun(hung))
        component.close()

    threading.Thread(target=close).start()
    first, second = component(["N", "C"])
    assert "code -9" in first.reason
    assert second == Failure("the workers were stopped")
    component.close()


PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from ipsrl.molecules import ComponentConfig
from ipsrl.molecules.execution.processes import Processes

config = ComponentConfig(kind="function", function=sys.argv[1], workers=1, timeout=600.0)
with Processes(config) as component:
    print("ready", flush=True)
    component(["N", "CC"])
"""


@pytest.mark.promise(number=9)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_run(told, tmp_path, mark, end, record_property):
    record_property("figure", "a run that is killed, terminated, interrupted: 0 orphans")
    told.todo(f"open({str(tmp_path / 'hung')!r}, 'w')\nnative_hang()")
    command = [sys.executable, "-c", PARENT, f"{told.file}:value"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        parent.stdout.readline()
        # the run, the worker, its guard, its child
        wait_until(lambda: (tmp_path / "hung").exists() and len(marked(mark)) >= 4)
        parent.send_signal(end)
        try:
            assert parent.wait(timeout=HANGS) != 0
        finally:
            parent.kill()


def test_it_takes_every_kind(mark):
    """A worker builds what the run builds: settings arrive as they are."""
    for config in (
        ComponentConfig(kind="alert", smarts=["[OX2H]", "C=O"], workers=1),
        ComponentConfig(kind="program", command=["cat"], version="1", workers=1),
    ):
        with Processes(config) as component:
            assert component([PHENOL]) == build(config)([PHENOL])
            assert component.identity == getattr(build(config), "identity", "")
    assert "qed" in PROPERTIES
