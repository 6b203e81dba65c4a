"""Runs are found in the folders that are named, and the tables and pictures of items."""

import json

import pytest
import report_runs as runs

from ipsrl.errors import RunError
from ipsrl.report.folders import find
from ipsrl.runs import Folder
from ipsrl.sweep.results import write_rows


def test_runs_of_a_folder_are_called_by_their_place(tmp_path):
    for name in ("b/seed-0", "b/seed-1", "a"):
        runs.lm_run(tmp_path / name, steps=1).close()
    found = find([tmp_path]).runs
    assert list(found) == ["a", "b/seed-0", "b/seed-1"]
    assert found["a"] == tmp_path / "a"


def test_the_run_within_a_run_is_a_part_of_it(tmp_path):
    runs.hypospace_run(tmp_path / "outer")
    assert list(find([tmp_path]).runs) == ["outer"]


def test_runs_and_folders_are_named_together_each_once(tmp_path):
    for name in ("one/a", "two/a"):
        runs.lm_run(tmp_path / name, steps=1).close()
    found = find([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "a"])
    assert list(found.runs) == ["one/a", "two/a"]


def test_an_item_has_its_table_and_pictures(tmp_path):
    rows = [{"cell": "a", "l1": {"median": 1.0, "low": 0.5, "high": 2.0}}]
    write_rows(tmp_path / "item", rows)
    Folder(tmp_path / "item").write("index-line.png", b"png")
    found = find([tmp_path / "item"])
    assert found.tables == {"item": rows}
    assert found.pictures == {"line": b"png"}
    assert found.runs == {}


def test_a_table_of_the_users_is_not_an_item(tmp_path):
    (tmp_path / "table.json").write_text(json.dumps([{"mine": 1}]))
    with pytest.raises(RunError, match="not a run directory .*and no folder in it is one"):
        find([tmp_path])


def test_what_does_not_exist_is_explained(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        find([tmp_path / "nowhere"])
