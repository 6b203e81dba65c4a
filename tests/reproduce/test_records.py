"""Records in a file of JSON lines."""

import pytest

from ipsrl.errors import RunError
from ipsrl.reproduce.records import add_record, read_records


def test_what_was_added_is_read(tmp_path):
    file = tmp_path / "records" / "task.jsonl"
    assert read_records(file) == []
    rows = [{"seed": 0, "name": "a\u2028b\n"}, {"seed": 1, "curve": [[0, 0.1 + 0.2]]}]
    add_record(file, rows[0])
    first = file.read_bytes()
    add_record(file, rows[1])
    assert file.read_bytes().startswith(first)
    assert read_records(file) == rows
    assert [path.name for path in file.parent.iterdir()] == ["task.jsonl"]


def test_a_death_while_one_is_added_loses_no_other(tmp_path, monkeypatch):
    file = tmp_path / "records.jsonl"
    add_record(file, {"seed": 0})

    def death(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", death)  # after the new content was written
        with pytest.raises(KeyboardInterrupt):
            add_record(file, {"seed": 1})
    assert read_records(file) == [{"seed": 0}]
    add_record(file, {"seed": 2})
    assert read_records(file) == [{"seed": 0}, {"seed": 2}]


def test_a_line_that_was_cut_off_is_named(tmp_path):
    file = tmp_path / "records.jsonl"
    file.write_text('{"seed": 0}\n{"seed"')
    with pytest.raises(RunError, match=r"line 2 of .*records.jsonl is not a record.*Delete it"):
        read_records(file)
