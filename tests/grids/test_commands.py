"""The command `ipsrl train hypergrid` says how it ended, and leaves a run that exists alone."""

from tiny_grid import TINY, files

from ipsrl.cli import main


def test_training_prints_each_seed_and_where_it_wrote(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "hypergrid", *TINY, "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith("seed 3: total L1 "))
    assert "modes" not in line  # 3 cells a side have none
    assert f"written to {out}" in printed


def test_an_existing_run_is_refused_and_untouched(finished, capsys):
    before = files(finished)
    assert main(["train", "hypergrid", *TINY, "--out", str(finished)]) == 1
    assert f"--resume {finished}" in capsys.readouterr().err
    assert files(finished) == before


def test_the_environment_may_follow_the_options(tmp_path, capsys):
    missing = f"{tmp_path}/envs.py:make"
    assert main(["train", "env", "--seeds", "1", missing, "--iterations", "5"]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["train", "env", "--seeds", "1"]) == 2
    assert "no environment is given" in capsys.readouterr().err
