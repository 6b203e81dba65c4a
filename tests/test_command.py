"""Commands that train: options win over the file, and --resume goes on with a run as it was."""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from helpers import HANGS
from tiny_grid import TINY, files

from ipsrl.cli import main
from ipsrl.command import training
from ipsrl.config import shipped_configs
from ipsrl.grids import Config

ENDED = """
import os, signal, sys
from ipsrl.command import training
from ipsrl.grids.config import Config

with training(["--out", sys.argv[1]], "ipsrl train hypergrid", Config).running():
    if (child := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    os.waitpid(child, 0)
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_an_option_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    file, out = tmp_path / "some.toml", tmp_path / "run"
    file.write_text('lr = 0.25\nr2 = 3.0\nmethod = "grpo"\n')
    words = [*TINY, "--config", str(file), "--lr", "0.5", "--out", str(out)]
    assert main(["train", "hypergrid", *words]) == 0
    written = tomllib.loads((out / "config.toml").read_text())
    assert (written["lr"], written["r2"], written["method"]) == (0.5, 3.0, "grpo")
    assert written["r1"] == Config().r1
    assert written["side"] == 3


def test_sigterm_ends_a_run_and_says_once_how_to_continue_it(tmp_path):
    """The exit status is that of the signal; a process that was forked says nothing."""
    (tmp_path / "config.toml").touch()
    ended = subprocess.run(
        [sys.executable, "-c", ENDED, tmp_path], capture_output=True, text=True, timeout=HANGS
    )
    assert ended.returncode == -signal.SIGTERM
    again = f"continue with: ipsrl train hypergrid --resume {tmp_path}"
    assert ended.stderr == f"\nipsrl train hypergrid: stopped; {again}\n"


@pytest.mark.parametrize(
    ("command", "name", "model"),
    [
        ("hypergrid", "hypergrid/table-1/2d-grpo", "grids"),
        ("hypergrid", "hypergrid/eps/8x8-eps0.1.toml", "grids"),
        ("hypospace", "hypospace/paper", "hypospace"),
        ("molecules", "molecules/table-3/synth", "molecules"),
    ],
)
def test_a_configuration_of_ours_has_a_name_in_any_folder(
    command, name, model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = import_module(f"ipsrl.{model}").Config
    asked = training(["--config", name], f"ipsrl train {command}", config).config
    folder, _, stem = name.removesuffix(".toml").rpartition("/")
    (file,) = (path for path in shipped_configs(folder) if path.stem == stem)
    assert asked == config.load(file, tmp_path)  # paths in it are of the user's files
    # A file of the user's wins.
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text(f"seed = 17\n{file.read_text()}")
    assert training(["--config", name], f"ipsrl train {command}", config).config.seed == 17


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("hypergrid/table-1/2d-gpro", "hypergrid/table-1/2d-grpo"),
        ("table-1/2d-grpo", "hypergrid/table-1/2d-grpo"),
        ("configs/molecules/keys/qed-band.toml", "molecules/keys/qed-band"),
        ("qed_band", "molecules/keys/qed-band"),
        ("hypergrid/table-1", "hypergrid/table-1/2d-flowrl, hypergrid/table-1/2d-grpo"),
    ],
)
def test_of_a_wrong_name_the_nearest_are_named(asked, nearest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "hypergrid", "--config", asked]) == 2
    said = capsys.readouterr().err
    assert f"{asked}: there is no such file" in said
    assert said.partition("nearest names are ")[2].startswith(nearest)


def test_of_a_name_like_no_other_the_folders_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "hypergrid", "--config", "nonsense/foo"]) == 2
    assert "Names begin with hypergrid/bars/, " in capsys.readouterr().err


def test_of_a_path_without_a_file_no_name_is_guessed(tmp_path, capsys):
    assert main(["train", "hypergrid", "--config", str(tmp_path / "mine.toml")]) == 2
    said = capsys.readouterr().err
    assert f"there is none in {tmp_path}" in said
    assert "nearest" not in said


def test_a_configuration_of_another_command_is_named_as_that(capsys):
    assert main(["train", "env", "--config", "hypergrid/bars/deceptive-32x4-tb"]) == 2
    said = capsys.readouterr().err
    assert "is a configuration of `ipsrl train hypergrid`, and ipsrl train env has no dims" in said


def test_the_result_as_an_object_is_all_that_is_printed(tmp_path, capfd):
    out = tmp_path / "run"
    (tmp_path / "some.toml").write_text("lr = 0.25\n")
    words = [*TINY, "--config", str(tmp_path / "some.toml"), "--out", str(out), "--json", "-q"]
    assert main(["train", "hypergrid", *words]) == 0
    said = capfd.readouterr()
    assert "%" not in said.err  # it is quiet
    found = json.loads(said.out)
    assert found == {"out": str(out), **json.loads((out / "result.json").read_text())}
    assert main(["train", "hypergrid", "--resume", str(out), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == found


def test_without_out_the_directory_is_named_after_the_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "hypergrid", *TINY]) == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name == "hypergrid-" + Config.load(made / "config.toml").digest()


def test_resume_uses_the_configuration_of_the_run(finished, capsys):
    before = (finished / "result.json").read_bytes()
    assert main(["train", "hypergrid", "--resume", str(finished)]) == 0
    assert (finished / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["--lr", "0.5"],
        ["--out", "elsewhere"],
        ["--config", "some.toml"],
        ["--iterations", str(Config().iterations)],  # the default, but not what this run has
        ["--config=some.toml"],
    ],
    ids=" ".join,
)
def test_resume_refuses_other_options_because_it_would_ignore_them(
    words, finished, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.toml").write_text("lr = 0.25\n")
    before = files(finished)
    assert main(["train", "hypergrid", "--resume", str(finished), *words]) == 2
    assert "--resume continues a run as it was configured" in capsys.readouterr().err
    assert files(finished) == before


def test_resume_refuses_a_configuration_that_was_edited(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = Config.load(run / "config.toml")
    (run / "config.toml").write_text(config.model_copy(update={"seeds": 2}).dump())
    before = files(run)
    assert main(["train", "hypergrid", "--resume", str(run)]) == 1
    assert "config.toml is not what the run was started with" in capsys.readouterr().err
    assert files(run) == before


def test_resume_names_the_family_of_the_run(finished, capsys):
    before = files(finished)
    assert main(["train", "llm", "--resume", str(finished)]) == 2
    assert "is a run of the family grids, not of llm" in capsys.readouterr().err
    assert files(finished) == before


def test_resume_of_nothing_is_explained(tmp_path, capsys):
    assert main(["train", "hypergrid", "--resume", str(tmp_path / "none")]) == 2
    assert "is not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize("began", [True, False])
def test_an_interrupted_training_says_how_to_go_on(began, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        if began:
            (tmp_path / "config.toml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("ipsrl.grids.training.train", interrupted)
    assert main(["train", "hypergrid", "--out", str(tmp_path)]) == 130
    told = f"continue with: ipsrl train hypergrid --resume {tmp_path}"
    assert (told if began else "nothing had begun") in capsys.readouterr().err
