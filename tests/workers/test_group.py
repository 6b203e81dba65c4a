"""A program ends, or its time does, and nothing of it goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import is_alive
from helpers import HANGS, has_begun, limits_from, peak_memory, wait_until

from ipsrl.workers.group import Ended, run

pytestmark = pytest.mark.usefixtures("mark")


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", f"import os, subprocess, sys, time; {code}"]


def begins(file: Path) -> str:
    """Code that writes into a file."""
    return f"print('begun', file=open({str(file)!r}, 'w'), flush=True)"


# --- what it gives --------------------------------------------------------------------------------


def test_what_a_program_wrote_and_how_it_ended(tmp_path):
    """What it reads, where it stands, its code; or the signal that ended it."""
    code = "print(sys.stdin.read(), os.getcwd()); print('no licence', file=sys.stderr); sys.exit(3)"
    ended = run(python(code), timeout=HANGS, longest=1000, stdin=b"CCO", cwd=tmp_path)
    assert ended == Ended(f"CCO {tmp_path}\n".encode(), b"no licence\n", 3)
    assert run(python("os.abort()"), timeout=HANGS, longest=9) == Ended(b"", b"", -signal.SIGABRT)


def test_of_a_program_that_prints_without_end_the_end_is_kept():
    """The last of 48 MB is kept, in the memory of that one, a copy of it, and some room to grow."""
    code, found = "[print('x' * (2**20 - 1)) for _ in range(48)]; print('end')", []
    memory = peak_memory(lambda: found.append(run(python(code), timeout=HANGS, longest=2**20)))
    assert found == [Ended(b"x" * (2**20 - 5) + b"\nend\n", b"", 0)]
    assert memory < 4 * 2**20


def test_a_program_that_reads_nothing():
    """It is sent more than fits into a pipe."""
    ended = run(python("print(7)"), timeout=HANGS, longest=9, stdin=b"x" * 10**6)
    assert ended == Ended(b"7\n", b"", 0)


def test_a_program_that_cannot_be_started():
    with pytest.raises(FileNotFoundError):
        run(["/no/such/program"], timeout=HANGS, longest=9)


# --- what is left of it ---------------------------------------------------------------------------


def test_nothing_of_a_program_that_hangs_goes_on(tmp_path, monkeypatch):
    """Nor its children."""
    limits_from(tmp_path / "begun", monkeypatch)
    code = (
        "print(7, flush=True); subprocess.Popen(['sleep', '6000']); "
        f"{begins(tmp_path / 'begun')}; time.sleep(6000)"
    )
    assert run(python(code), timeout=0.5, longest=9) == Ended(b"7\n", b"", None)


def test_nothing_of_a_program_that_ended_goes_on():
    code = "subprocess.Popen(['sleep', '6000']); print(7)"
    assert run(python(code), timeout=HANGS, longest=9) == Ended(b"7\n", b"", 0)


def test_a_child_that_gets_away_does_not_keep_us(tmp_path, monkeypatch):
    """In a session of its own, with the output: the limit holds all the same."""
    limits_from(tmp_path / "pid", monkeypatch)
    code = (
        "print(7, flush=True); child = subprocess.Popen(['sleep', '6000'], start_new_session=True, "
        f"stderr=subprocess.DEVNULL); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); "
        "time.sleep(6000)"
    )
    assert run(python(code), timeout=0.5, longest=9) == Ended(b"7\n", b"", None)
    pid = int((tmp_path / "pid").read_text())
    assert is_alive(pid)  # nobody waited for it
    os.kill(pid, signal.SIGKILL)


def test_no_program_outlives_a_killed_process(tmp_path):
    """As where a worker is killed: the program is not its child's child's problem."""
    code = f"subprocess.Popen(['sleep', '6000']); {begins(tmp_path / 'begun')}; time.sleep(6000)"
    ours = f"from ipsrl.workers.group import run; run({python(code)!r}, timeout=6000, longest=9)"
    with subprocess.Popen([sys.executable, "-c", ours]) as process:
        wait_until(lambda: has_begun(tmp_path / "begun"))
        process.kill()
