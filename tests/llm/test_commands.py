"""`ipsrl train llm` and `ipsrl diagnose` say what they did, and explain what they refuse."""

from __future__ import annotations

import json

import pytest
import torch
from llm_task import SHORT, results, task, words

from ipsrl.cli import main
from ipsrl.errors import RunError
from ipsrl.llm.config import Config
from ipsrl.llm.training import train
from ipsrl.runs import Run


def test_the_command_says_how_it_ended_and_where_it_wrote(home, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main(["train", "llm", *words(task(home, trl=SHORT)), "--out", str(out)]) == 0
    result = Run.open(out).result()
    assert capsys.readouterr().out == (
        f"1 steps: reward {result['reward']:.3f}; outcomes per group: {result['distinct']:.2f} "
        f"different, {result['effective']:.2f} effective\nwritten to {out}\n"
    )


def test_without_an_outcome_the_command_says_nothing_of_outcomes(home, tmp_path, capsys) -> None:
    config = task(home, method="grpo", outcome="", trl=SHORT)
    assert main(["train", "llm", *words(config), "--out", str(tmp_path / "run")]) == 0
    assert "outcomes" not in capsys.readouterr().out


def test_options_win_over_the_file_and_trl_is_merged(home, tmp_path) -> None:
    file, out = tmp_path / "task.toml", tmp_path / "run"
    config = task(home, alpha=0.5, seed=4, trl={**SHORT, "temperature": 0.9})
    file.write_text(config.dump())
    more = ["--seed", "5", "--trl", "temperature=0.8", "top_k=7", "run_name=a name", "--out"]
    assert main(["train", "llm", "--config", str(file), *more, str(out)]) == 0
    written = Run.open(out).config(Config)
    assert (written.seed, written.alpha) == (5, 0.5)
    extra = {"temperature": 0.8, "top_k": 7, "run_name": "a name"}
    assert written.trl == {**config.trl, **extra}
    state = torch.load(out / "model" / "training_args.bin", weights_only=False)  # our own file
    assert (state.temperature, state.top_k, state.seed) == (0.8, 7, 5)


def test_an_existing_run_is_refused_and_untouched(home, finished, capsys) -> None:
    out = finished("ips-grpo")
    before = results(out)
    assert main(["train", "llm", *words(task(home)), "--out", str(out)]) == 1
    assert f"--resume {out}" in capsys.readouterr().err
    assert results(out) == before


@pytest.mark.parametrize("options", [["--seed", "1"], ["--trl", "max_steps=9"], ["--out", "x"],
                                     ["--config=x.toml"]], ids=" ".join)  # fmt: skip
def test_resume_refuses_other_options_because_it_would_ignore_them(
    options, finished, capsys
) -> None:
    out = finished("ips-grpo")
    before = results(out)
    assert main(["train", "llm", "--resume", str(out), *options]) == 2
    assert "--resume continues a run as it was configured" in capsys.readouterr().err
    assert results(out) == before


def test_nothing_cannot_be_resumed(home, tmp_path, capsys) -> None:
    assert main(["train", "llm", "--resume", str(tmp_path / "none")]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    with pytest.raises(RunError, match="is not a run directory"):
        train(task(home), tmp_path / "none", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_a_refusal_and_writes_nothing(home, tmp_path, capsys) -> None:
    options = words(task(home, trl={"learning_rat": 1}))
    assert main(["train", "llm", *options, "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("ipsrl train llm: trl has no key 'learning_rat'")
    assert list(tmp_path.iterdir()) == []


def test_two_lists_of_fields_are_refused(home, tmp_path, capsys) -> None:
    """The first would be forgotten."""
    options = [*words(task(home)), "--trl", "top_k=3", "--out", str(tmp_path / "run")]
    assert main(["train", "llm", *options]) == 2
    assert "all KEY=VALUE pairs after one --trl" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_is_no_pair_has_exit_code_2(home, tmp_path, capsys) -> None:
    options = [*words(task(home)), "top_k", "--out", str(tmp_path / "run")]
    assert main(["train", "llm", *options]) == 2
    assert "top_k" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_diagnose_reads_the_run_directory_and_the_output_directory(
    finished, tmp_path, capsys
) -> None:
    out = finished("ips-grpo")
    assert main(["diagnose", str(out)]) == 0
    text = capsys.readouterr().out
    assert text
    assert main(["diagnose", str(out / "trainer")]) == 0
    assert capsys.readouterr().out == text
    assert main(["diagnose", str(out), "--json", "--out", str(tmp_path / "figures")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "figures" / "diagnosis.json").read_bytes()) == found
    assert (tmp_path / "figures" / "diagnosis.png").stat().st_size > 1000


def test_diagnose_finds_what_the_run_has_logged(home, finished, capsys) -> None:
    """The same groups, once measured in training and once from the completions on disk."""
    out = finished("ips-grpo")
    assert main(["diagnose", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    outcome = f"{home / 'task.py'}:outcome"
    assert main(["diagnose", str(out), "--json", "--outcome", outcome]) == 0
    assert json.loads(capsys.readouterr().out) == found  # logged keys, and keys made anew
    logged = [row for row in Run.open(out).metrics() if "reward" in row]
    assert found["steps"] == [row["step"] for row in logged]
    for name, key, scale in (
        ("effective", "outcomes/effective", 1),
        ("distinct_share", "outcomes/distinct", 8),
        ("valid_share", "outcomes/no_outcome", -1),
        ("reward", "reward", 1),
    ):
        expected = [row[key] / scale + (scale == -1) for row in logged]
        # rewards are float32 numbers of order 1; the others are the same computation
        assert found[name] == pytest.approx(expected, rel=1e-6), name


def test_diagnose_of_a_run_without_outcomes_names_the_option(finished, capsys) -> None:
    assert main(["diagnose", str(finished("grpo-alone"))]) == 2
    assert "--outcome mod:fn" in capsys.readouterr().err
