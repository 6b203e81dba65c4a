"""`ipsrl report` names its runs, writes beside the first, watches, and explains what it refuses."""

import json
import shutil
from contextlib import suppress

import pytest
import report_runs as runs
from small_runs import Toy

from ipsrl.cli import main
from ipsrl.report import commands
from ipsrl.runs import Folder, Run
from ipsrl.runs.lock import Lock


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    directory = tmp_path_factory.mktemp("grid") / "run"
    runs.finish_grid(runs.grid_run(directory, evaluations=5))
    return directory


def test_report_writes_beside_the_first_run(grid, capsys):
    assert main(["report", str(grid)]) == 0
    assert f"written to {grid / 'report.html'}" in capsys.readouterr().out
    assert (grid / "report.html").is_file()
    assert main(["report", str(grid)]) == 0  # its own file, which it writes again


def test_the_list_of_files_is_left_to_the_run(tmp_path):
    """It may write it at the moment at which the page is written."""
    files = tmp_path / "run" / "files.json"
    with runs.grid_run(tmp_path / "run", evaluations=2):
        before = files.read_bytes()
        assert main(["report", str(tmp_path / "run")]) == 0
        assert files.read_bytes() == before
    assert (tmp_path / "run" / "report.html").is_file()


def test_what_was_written_as_an_object(grid, tmp_path, capsys):
    runs.grid_run(tmp_path / "stopped").close()
    out = str(tmp_path / "page.html")
    assert main(["report", str(grid), str(tmp_path / "stopped"), "-o", out, "--json"]) == 0
    states = {"run": "ended", "stopped": "stopped"}
    assert json.loads(capsys.readouterr().out) == {"out": out, "runs": states, "unread": {}}


def test_the_short_option_names_the_file(grid, tmp_path):
    assert main(["report", str(grid), "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").is_file()


def test_no_run_is_a_wrong_call(capsys):
    assert main(["report"]) == 2
    assert "name at least one run directory" in capsys.readouterr().err


def test_a_path_without_a_run_is_told_and_alone_is_a_wrong_call(grid, tmp_path, capsys):
    typo, out = str(tmp_path / "typo"), str(tmp_path / "page.html")
    assert main(["report", typo]) == 2
    assert f"{typo} does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["report", typo, str(grid), "-o", out, "--json"]) == 1
    said = capsys.readouterr()
    assert f"ipsrl report: {typo} does not exist" in said.err
    assert f"{typo} does not exist" in json.loads(said.out)["unread"][typo]
    assert f"{typo} does not exist" in (tmp_path / "page.html").read_text()


def test_a_run_that_has_not_ended_is_shown(tmp_path, capsys):
    runs.grid_run(tmp_path / "run").close()
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert '"state":"stopped"' in page
    assert "--resume" in page


@pytest.mark.parametrize("name", ["page.html", "result.json", "metrics.jsonl"])
def test_nothing_but_a_report_is_overwritten(name, grid, tmp_path, capsys):
    """Not a file of the user's, and none that the run wrote."""
    run, out = tmp_path / "run", tmp_path / "run" / name
    shutil.copytree(grid, run)
    (run / "page.html").write_text("mine")
    before = out.is_file() and out.read_bytes()
    assert main(["report", str(run), "-o", str(out)]) == 1
    assert f"{out} exists and is not a report" in capsys.readouterr().err
    assert (out.is_file() and out.read_bytes()) == before


def test_an_unfinished_file_of_the_users_is_not_overwritten(grid, tmp_path, capsys):
    mine = tmp_path / "page.html.tmp"
    mine.write_text("mine")
    assert main(["report", str(grid), "-o", str(tmp_path / "page.html")]) == 1
    assert f"{mine} exists and is not a report" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_a_page_of_a_run_that_could_not_begin_is_not_in_the_way(tmp_path):
    """As of one that was watched when its first step failed."""
    out = tmp_path / "run"
    with suppress(ValueError), Run.create(out, Toy()):
        assert main(["report", str(out)]) == 0
        raise ValueError("no step")
    page = (out / "report.html").read_bytes()
    assert [path.name for path in out.iterdir()] == ["report.html"]
    Run.create(out, Toy()).close()
    assert (out / "report.html").read_bytes() == page


def test_the_page_is_a_file_in_a_folder_that_is_there(grid, tmp_path, capsys):
    for out, why in (
        (tmp_path, f"{tmp_path} is a folder. Name a file in it: --out {tmp_path}/report.html"),
        (tmp_path / "no" / "x.html", f"{tmp_path}/no is not a folder. Make it"),
    ):
        assert main(["report", str(grid), "-o", str(out)]) == 1
        assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_ours_is_written_again_wherever_it_lies(grid, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        assert main(["report", str(grid), "-o", str(tmp_path / "page.html")]) == 0


def test_report_of_the_current_directory_has_a_name_for_it(grid, tmp_path, monkeypatch):
    monkeypatch.chdir(grid)
    assert main(["report", ".", "--out", str(tmp_path / "page.html")]) == 0
    assert '"label":"run"' in (tmp_path / "page.html").read_text()


def test_runs_of_one_name_are_told_apart(grid, tmp_path):
    for parent in ("a", "b"):
        shutil.copytree(grid, tmp_path / parent / "run")
    found = [str(tmp_path / parent / "run") for parent in ("a", "b")]
    assert main(["report", *found, "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert all(f'"label":"{one}"' in page for one in found)


def test_watching_writes_again_until_the_run_has_ended(tmp_path, monkeypatch, capsys):
    """The page reads itself again while there is more to come."""
    run = runs.grid_run(tmp_path / "run")
    out = tmp_path / "page.html"
    pages = []

    def goes_on(_seconds: float) -> None:
        pages.append(out.read_text())
        if len(pages) == 2:
            runs.finish_grid(run)

    monkeypatch.setattr(commands.time, "sleep", goes_on)
    assert main(["report", str(tmp_path / "run"), "-o", str(out), "--watch"]) == 0
    assert len(pages) == 2
    assert all('"state":"running"' in page and '"refresh":10' in page for page in pages)
    assert '"state":"ended"' in out.read_text()
    assert '"refresh":0' in out.read_text()
    assert capsys.readouterr().err.count("again while runs go on") == 1


def watched(monkeypatch, path, *events) -> list[str]:
    """Watches a path; after each look something happens.  Returns the pages, "" for none."""
    out, happens, pages = path.with_name("page.html"), iter(events), []

    def look(_seconds: float = 0.0) -> None:
        pages.append(out.read_text() if out.exists() else "")

    def sleep(_seconds: float) -> None:
        look()
        next(happens)()

    monkeypatch.setattr(commands.time, "sleep", sleep)
    assert main(["report", str(path), "-o", str(out), "--watch"]) == 0
    look()
    return pages


def test_watching_waits_for_a_run_that_is_to_begin(tmp_path, monkeypatch, capsys):
    """It leaves no folder where the run will be, and says once what it waits for."""
    begun = []
    pages = watched(
        monkeypatch, tmp_path / "run", lambda: None,
        lambda: begun.append(runs.grid_run(tmp_path / "run")),
        lambda: begun[0].close(),
    )  # fmt: skip
    states = ['"state":"running"' in page for page in pages]
    assert states == [False, False, True, False]
    assert pages[:2] == ["", ""]
    assert '"state":"stopped"' in pages[-1]
    assert capsys.readouterr().err.count("run does not exist") == 1


def test_watching_goes_on_while_a_file_cannot_be_read(tmp_path, monkeypatch, capsys):
    run = runs.grid_run(tmp_path / "run")
    whole = run.outcomes_path.read_bytes()
    run.outcomes_path.write_bytes(whole[:-9])
    pages = watched(
        monkeypatch, tmp_path / "run", lambda: run.outcomes_path.write_bytes(whole), run.close
    )
    assert pages[0] == ""
    assert '"state":"running"' in pages[1]
    assert '"state":"stopped"' in pages[2]
    assert "cannot be read" in capsys.readouterr().err


def test_watching_a_sweep_goes_on_between_two_runs(tmp_path, monkeypatch):
    """The sweep goes on until it has ended, though no run is running."""
    out = tmp_path / "sweep"
    folder = Folder.make(out)
    sweep = Lock(out)
    for name in ("a", "b"):
        folder.claim(f"{name}/")
        folder.write(f"{name}.toml", b"")
    runs.finish_grid(runs.grid_run(out / "a"))
    pages = watched(
        monkeypatch, out, lambda: None,
        lambda: runs.finish_grid(runs.grid_run(out / "b")), sweep.release,
    )  # fmt: skip
    said = "The sweep is running: 1 of 2 runs have ended; not begun: b."
    assert [said in page for page in pages] == [True, True, False, False]
    assert "The sweep is running: 2 of 2 runs have ended." in pages[2]
    assert "The sweep" not in pages[3]
    assert ['"refresh":10' in page for page in pages] == [True, True, True, False]
