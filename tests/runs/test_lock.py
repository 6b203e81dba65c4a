"""One writer per directory, whoever asks."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

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
    """Held by this process; then by none; then by one that was killed and left its file."""
    lock = Lock(tmp_path)
    assert is_held(tmp_path)
    lock.release()
    assert not is_held(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = {"process": ended.pid, "machine": platform.node(), "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "lock.json").write_text(json.dumps(left))
    assert not is_held(tmp_path)
    (tmp_path / "lock.json").write_text(json.dumps({**left, "machine": "elsewhere"}))
    assert is_held(tmp_path)  # as far as can be seen from here


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"process": "x", "machine": "y"}'])
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
