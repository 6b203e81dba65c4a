"""The command `ipsrl report` names its runs, writes beside the first, and explains refusals."""

import shutil

from ipsrl.cli import main


def test_report_writes_beside_the_first_run(finished, capsys):
    assert main(["report", str(finished)]) == 0
    assert f"written to {finished / 'report.html'}" in capsys.readouterr().out
    assert (finished / "report.html").is_file()


def test_report_of_an_unfinished_run_is_explained(finished, tmp_path, capsys):
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("files.json", "config.toml", "metrics.jsonl"):
        (unfinished / name).write_bytes((finished / name).read_bytes())
    assert main(["report", str(unfinished)]) == 1
    message = capsys.readouterr().err
    assert "has not ended" in message
    assert f"--resume {unfinished}" in message
    assert not (unfinished / "report.html").exists()


def test_report_shows_every_run_also_if_two_have_the_same_name(finished, tmp_path, monkeypatch):
    import ipsrl.report.page as page

    runs = []
    for parent in ("a", "b"):
        runs.append(tmp_path / parent / "run")
        shutil.copytree(finished, runs[-1])
    passed = {}
    write = page.write_report
    monkeypatch.setattr(
        page, "write_report", lambda runs, out, **k: (passed.update(runs), write(runs, out, **k))
    )
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "page.html")]) == 0
    assert sorted(passed.values()) == runs
    assert all(passed)  # and every run has a name


def test_report_of_the_current_directory_has_a_name_for_it(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    assert main(["report", ".", "--out", str(tmp_path / "page.html")]) == 0
