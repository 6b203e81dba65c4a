"""Runs are found in the folders that are named, and the tables and pictures of items."""

import json
import os

import report_runs as runs

from ipsrl.report.folders import find, going_on
from ipsrl.runs import Folder
from ipsrl.runs.lock import locked
from ipsrl.sweep.results import write_rows


def test_runs_of_a_folder_are_called_by_their_place(tmp_path):
    for name in ("b/seed-0", "b/seed-1", "a"):
        runs.lm_run(tmp_path / name, steps=1).close()
    found = find([tmp_path]).runs
    assert list(found) == ["a", "b/seed-0", "b/seed-1"]
    assert found["a"] == tmp_path / "a"


def test_runs_of_one_label_are_called_by_their_paths(tmp_path):
    for name in ("one/a/run", "two/a/run"):
        runs.lm_run(tmp_path / name, steps=1).close()
    found = find([tmp_path / "one" / "a", tmp_path / "two" / "a"]).runs
    assert list(found) == [str(tmp_path / name / "a" / "run") for name in ("one", "two")]


def test_sweeps_of_one_name_have_a_table_each(tmp_path):
    """Also why their runs failed, and their pictures, are told by their paths."""
    old, new = (tmp_path / name / "my" for name in ("old", "new"))
    measured = {"l1": {"median": 1.0, "low": 0.5, "high": 2.0, "values": [1.0]}}
    row = {"cell": "a", "values": {}, "runs": ["a"], "measures": measured, "failed": {"a": "no"}}
    for folder in (old, new):
        write_rows(folder, [row])
        Folder(folder).write("sweep.svg", b"<svg/>")
    found = find([old, new, tmp_path / "new" / ".." / "old" / "my"])
    assert list(found.tables) == [str(old), str(new)]
    assert list(found.failed) == [f"{old}/a", f"{new}/a"]
    assert len(found.pictures) == len(found.notes) == 2


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


def test_a_sweep_that_was_stopped_says_what_is_left(tmp_path):
    """A run that failed is in its table, and is not left."""
    folder = Folder.make(tmp_path / "sweep")
    for name in "abcde":
        folder.claim(f"{name}/", f"{name}.log")
        folder.write(f"{name}.toml", b"")
    (said,) = find([tmp_path / "sweep"]).notes
    assert said.startswith(
        "The sweep was stopped: 0 of 5 runs have ended; not begun: a, b, c, d, 1 more."
    )
    runs.finish_grid(runs.grid_run(tmp_path / "sweep" / "a"))
    runs.grid_run(tmp_path / "sweep" / "b").close()
    (said,) = find([tmp_path / "sweep"]).notes
    assert said == (
        "The sweep was stopped: 1 of 5 runs have ended; not begun: c, d, e. The command that "
        "began it continues it."
    )
    failed = dict.fromkeys("bcde", "no")
    row = {"cell": "c", "values": {}, "runs": [*"abcde"], "measures": {}, "failed": failed}
    write_rows(tmp_path / "sweep", [row])
    assert find([tmp_path / "sweep"]).notes == ["The sweep has ended: 4 of 5 runs failed."]
    with locked(tmp_path / "sweep"):  # a sweep of more runs
        (said,) = find([tmp_path / "sweep"]).notes
    assert said == "The sweep is running: 1 of 5 runs have ended."
    # Without the cells of b to e, which the file no longer has, all has ended.
    write_rows(tmp_path / "sweep", [{**row, "runs": ["a"], "failed": {}}])
    assert find([tmp_path / "sweep"]).notes == []


def test_a_folder_that_may_not_be_read_is_told_beside_the_others(tmp_path, monkeypatch):
    """Root, who may read everything, runs these tests, too."""
    runs.lm_run(tmp_path / "a", steps=1).close()
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refusing(path):
        if path == tmp_path / "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find([tmp_path])
    assert list(found.runs) == ["a"]
    (why,) = found.troubles.values()
    assert why.startswith(f"{tmp_path / 'closed'} cannot be read (PermissionError: ")
    assert not going_on([tmp_path])


def test_a_damaged_list_of_files_is_not_waited_for(tmp_path):
    """Beside a run that goes on, the watch goes on."""
    damaged, run = tmp_path / "damaged", tmp_path / "run"
    damaged.mkdir()
    (damaged / "files.json").write_text("{")
    (damaged / "table.json").write_text("[]")
    assert not going_on([damaged])
    with runs.lm_run(run, steps=1):
        assert going_on([damaged, run])
        assert "is not a list of files" in find([damaged, run]).troubles[str(damaged)]


def test_what_has_nothing_to_show_is_told_beside_the_others(tmp_path):
    """A table of the user's is not an item, a typo is not a folder, and routes can be damaged."""
    mine, typo, lost = (tmp_path / name for name in ("mine", "nowhere", "lost"))
    mine.mkdir()
    (mine / "table.json").write_text(json.dumps([{"mine": 1}]))
    runs.routes_folder(lost, "CCC")
    (lost / "routes.json").write_text("[")
    runs.lm_run(tmp_path / "a", steps=1).close()
    found = find([tmp_path / "a", mine, typo, lost])
    assert list(found.runs) == ["a"]
    assert list(found.troubles) == [str(mine), str(typo), str(lost)]
    told = list(found.troubles.values())
    assert "is not a run directory (no config.toml), and no folder in it is one" in told[0]
    assert "nowhere does not exist" in told[1]
    assert "routes.json cannot be read" in told[2]
