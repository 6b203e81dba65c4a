"""One writer per directory, whoever asks."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import threading

import pytest

from ipsrl.errors import RunError
from ipsrl.runs.lock import Lock, is_held, locked


def test_a_lock_in_one_process_is_for_one_run(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(Exception, match="written by this process already"):
        Lock(tmp_path)
    lock.release()
    lock.release()  # twice is once
    Lock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_is_not_taken(tmp_path):
    (tmp_path / "lock.json").write_text(
        json.dumps({"process": 7, "machine": "elsewhere", "since": "2026-01-01T00:00:00+00:00"})
    )
    with pytest.raises(Exception, match=r"process 7 on elsewhere.*delete .*lock\.json"):
        Lock(tmp_path)
    assert "elsewhere" in (tmp_path / "lock.json").read_text()
    (tmp_path / "lock.json").write_text("{")  # a death while it was written
    Lock(tmp_path).release()


def test_a_reader_sees_whether_a_run_is_written(tmp_path):
    """Held by this process; then by none; then left by one whose number another process has."""
    lock = Lock(tmp_path)
    assert is_held(tmp_path)
    lock.release()
    assert not is_held(tmp_path)
    left = {"process": 1, "machine": platform.node(), "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "lock.json").write_text(json.dumps(left))
    assert not is_held(tmp_path)
    (tmp_path / "lock.json").write_text(json.dumps({**left, "machine": "elsewhere"}))
    assert is_held(tmp_path)  # as far as can be seen from here


def test_a_lock_stays_when_its_process_reads_or_copies_the_folder(tmp_path):
    """The kernel refuses a second descriptor of this process as it refuses one of another."""
    run = tmp_path / "run"
    run.mkdir()
    lock = Lock(run)
    is_held(run)
    shutil.copytree(run, tmp_path / "copy")
    with pytest.raises(RunError, match=f"{run} is being written by this process"):
        Lock(run)
    assert not is_held(tmp_path / "copy")
    lock.release()


def test_a_reader_does_not_refuse_a_writer(tmp_path):
    """A reader holds a shared lock for a moment: a writer waits for its end."""
    (tmp_path / "lock.json").write_text("{}")
    reader = os.open(tmp_path / "lock.json", os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    threading.Timer(0.05, os.close, [reader]).start()
    Lock(tmp_path).release()


FORKS = """
import os, signal, sys
from pathlib import Path
from ipsrl.runs.lock import Lock

lock = Lock(Path(sys.argv[1]))
if os.fork():
    signal.pause()
lock.release()
print("forked", flush=True)
sys.stdin.read()
"""


def test_a_forked_child_neither_ends_the_lock_nor_keeps_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forked\n"
        with pytest.raises(RunError, match=f"is being written by process {parent.pid} on"):
            Lock(tmp_path)
        parent.kill()
        parent.wait()
        assert not is_held(tmp_path)  # though the child lives, until its input ends


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"process": "x"}'])
def test_a_broken_lock_is_not_held(content, tmp_path):
    (tmp_path / "lock.json").write_text(content)
    assert not is_held(tmp_path)


def test_a_folder_of_runs_is_held_within_and_a_link_is_refused(tmp_path):
    with locked(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(RunError, match="is being written by this process"), locked(tmp_path):
            pass
    assert not is_held(tmp_path)
    (tmp_path / "lock.json").symlink_to("elsewhere")
    with pytest.raises(RunError, match="cannot be written"), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
