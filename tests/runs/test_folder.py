"""No file of the user's is ever changed or removed (promise 22)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_families import NAMES, contents, resumed, started
from small_runs import FOREIGN, Toy, advance, plant

from ipsrl.cli import main
from ipsrl.errors import RunError
from ipsrl.runs import Folder, Run, check_free

# --- a run of ours with files of the user's -------------------------------------------------------


@pytest.mark.promise(number=22)
@pytest.mark.parametrize("name", NAMES)
def test_files_that_come_into_a_run_stay_as_they_are(
    name, families, in_peace, tmp_path, monkeypatch, record_property
):
    """They come after the first line of metrics, and into the first checkpoint."""
    in_peace[name]  # made before files are planted into every run
    out, planted = tmp_path / "run", {}
    log = Run.log

    def and_plant(run, rows):
        log(run, rows)
        if run.directory not in planted:
            planted[run.directory] = plant(run.directory)
        first = run.directory / "trainer" / "checkpoint-2"  # which goes when there are three
        if first.is_dir():
            (first / "notes.txt").write_bytes(b"mine")
            planted[run.directory]["trainer/checkpoint-2/notes.txt"] = b"mine"

    monkeypatch.setattr(Run, "log", and_plant)
    assert main(started(families[name], out)) == 0
    assert families[name].differences(out, in_peace[name]) == []
    (out / "result.json").unlink()
    if name != "hypospace":
        shutil.copytree(out, tmp_path / "moved")  # and a folder may be moved
        planted[tmp_path / "moved"] = planted[out]
        assert main(resumed(families[name], tmp_path / "moved")) == 0
        assert families[name].differences(tmp_path / "moved", in_peace[name]) == []
    for directory, files in planted.items():
        assert {name: (directory / name).read_bytes() for name in files} == files
    for first in out.rglob("trainer/checkpoint-2"):
        assert [path.name for path in first.iterdir()] == ["notes.txt"]
    record_property("figure", f"{name}: {len(FOREIGN)} files in a run stay as they are")


def test_a_folder_in_the_way_is_not_filled(tmp_path):
    with Run.create(tmp_path, Toy()) as run:
        (tmp_path / "model").mkdir()
        with pytest.raises(RunError, match=r"model is in the way.*Move it away"):
            run.own_folder("model")


def test_a_foreign_result_does_not_end_a_run(tmp_path):
    with Run.create(tmp_path / "run", Toy()) as run:
        advance(run, 1)
    (tmp_path / "run" / "result.json").write_text('{"mine": 1}')
    with Run.resume(tmp_path / "run", Toy()) as run:
        assert not run.finished
        assert run.restore()[0] == 1
        with pytest.raises(RunError, match=r"result\.json is in the way.*Move it away"):
            run.finish({"ours": 1})
        (tmp_path / "run" / "result.json").unlink()
        run.finish({"ours": 1})
    assert Run.open(tmp_path / "run").result() == {"ours": 1}


def test_a_foreign_checkpoint_is_neither_read_nor_overwritten(tmp_path):
    with Run.create(tmp_path, Toy()) as run:
        advance(run, 1)
        foreign = tmp_path / "checkpoints" / "step-000000000002.json"
        foreign.write_text('{"mine": 1}')
        assert run.restore()[0] == 1
        with pytest.raises(RunError, match="is in the way"):
            advance(run, 2)
        assert foreign.read_text() == '{"mine": 1}'


def test_a_foreign_table_is_neither_read_nor_overwritten(tmp_path):
    with Run.create(tmp_path, Toy()) as run:
        (tmp_path / "outcomes.parquet").write_text("mine")
        with pytest.raises(RunError, match="is in the way"):
            run.log_outcomes(1, np.array([[1]]), np.ones((1, 1)))
    assert (tmp_path / "outcomes.parquet").read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "outcomes.parquet"])
def test_a_link_out_of_a_run_is_not_followed(name, tmp_path):
    out, mine = tmp_path / "run", tmp_path / "mine"
    with Run.create(out, Toy()) as run:
        advance(run, 1)
    (out / name).rename(mine)
    (out / name).symlink_to(mine)
    before = contents(tmp_path)
    with pytest.raises(RunError, match="is a link"):
        Run.resume(out, Toy())
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    ['{"files": ["../mine"]}', '{"files": ["/tmp/mine"]}', '{"files": ["a/../../mine"]}',
     '{"files": [1]}', '{"files": 1}', "[]", "{", "", "[" * 100_000],
)  # fmt: skip
def test_a_list_that_is_not_ours_is_refused(content, tmp_path):
    out = tmp_path / "run"
    with Run.create(out, Toy()) as run:
        advance(run, 1)
    (out / "files.json").write_text(content)
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"files\.json is not a list of files that ipsrl made"):
        Run.resume(out, Toy())
    assert contents(tmp_path) == before


# --- an error before anything began ---------------------------------------------------------------


def fails(directory: Path, work) -> None:
    """A run that ends with an error after some work."""
    with Run.create(directory, Toy()) as run:
        work(run)
        raise ValueError("no")


def test_an_error_at_the_start_leaves_nothing(tmp_path):
    for _ in range(2):  # and it can be tried again in the same place
        with pytest.raises(ValueError, match="no"):
            fails(tmp_path / "run", lambda run: (run.own_folder("tiny") / "m").mkdir(parents=True))
        assert list(tmp_path.iterdir()) == []


def test_what_a_library_left_at_the_start_does_not_block_the_place(tmp_path):
    def work(run):
        run.own_folder("trainer").mkdir(exist_ok=True)
        (run.directory / "trainer" / "events").write_text("of a library, or mine")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fails(tmp_path / "run", work)
        assert contents(tmp_path / "run").keys() == {"files.json", "trainer/events"}
    with Run.create(tmp_path / "run", Toy()):
        pass


def test_an_error_later_leaves_everything(tmp_path):
    with pytest.raises(ValueError, match="no"):
        fails(tmp_path / "run", lambda run: advance(run, 1))
    with Run.resume(tmp_path / "run", Toy()) as run:
        assert run.restore()[0] == 1


# --- commands that write a file -------------------------------------------------------------------


def test_a_file_that_exists_is_not_overwritten(tmp_path):
    folder = Folder.make(tmp_path / "out")
    folder.write("table.json", b"1")
    folder.write("table.json", b"2")
    check_free(tmp_path / "out" / "table.json")  # ours, also for another process
    (tmp_path / "out" / "mine.json").write_text("mine")
    with pytest.raises(RunError, match=r"mine\.json exists, and would be overwritten"):
        check_free(tmp_path / "out" / "mine.json")
    again = Folder.make(tmp_path / "out")
    again.write("table.json", b"3")
    again.write("config.toml", b"")  # then it is a run, whose files no other command replaces
    with pytest.raises(RunError, match=r"table\.json exists"):
        check_free(tmp_path / "out" / "table.json")
    with pytest.raises(RunError, match="is in the way"):
        again.write("mine.json", b"ours")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.json").write_text("mine")
    old = Folder.make(tmp_path / "old")  # a folder of the user's: new files only, and no list
    old.write("table.json", b"1")
    assert contents(tmp_path / "old") == {"mine.json": b"mine", "table.json": b"1"}
    with pytest.raises(RunError, match="is in the way"):
        Folder.make(tmp_path / "old").write("table.json", b"2")


LOGGED = [
    {"step": step, "prompt": "p", "completion": text, "outcome": text, "reward": 1.0}
    for step in (1, 2)
    for text in "abab"
]


@pytest.mark.promise(number=22)
def test_no_command_overwrites_a_file_of_the_users(in_peace, tmp_path, capsys, record_property):
    run = tmp_path / "run"
    shutil.copytree(in_peace["hypergrid"], run)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in LOGGED))
    corpus = tmp_path / "drug.pdb"
    corpus.write_text("END\n")
    mine = tmp_path / "mine"
    commands = {
        "page.html": ["report", str(run), "--out", str(mine / "page.html")],
        "diagnosis.json": ["diagnose", str(log), "--out", str(mine)],
        "diagnosis.png": ["diagnose", str(log), "--out", str(mine)],
        "data.jsonl": [
            "hypospace",
            "dataset",
            "causal",
            "-o",
            str(mine / "data.jsonl"),
            "--n",
            "4",
        ],
        "drawn.smi": ["molecules", "sample", "--n", "4", "-o", str(mine / "drawn.smi")],
        "routes.json": ["molecules", "route", "CCO", "-o", str(mine)],
        "receptor.toml": ["molecules", "receptor", str(corpus), "--out", str(mine)],
        "table.json": ["reproduce", "table-1", "--out", str(mine)],
    }
    for name, words in commands.items():
        shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir()
        (mine / name).write_text("mine")
        assert main(words) == 1, words
        message = capsys.readouterr().err
        assert str(mine / name) in message
        assert "Traceback" not in message
        assert contents(mine) == {name: b"mine"}, words
    record_property("figure", f"{len(commands)} files that commands would write stay as they are")


def test_a_report_is_written_again_in_its_run(in_peace, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(in_peace["hypergrid"], run)
    for _ in range(2):
        assert main(["report", str(run)]) == 0
    (run / "report.html").unlink()
    capsys.readouterr()
    assert main(["report", str(run)]) == 0  # listed by now: the name is ours
