"""One writer per directory, whoever asks."""

from __future__ import annotations

import json

import pytest

from ipsrl.runs.lock import Lock


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
