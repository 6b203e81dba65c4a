"""A small model runs on one thread, if the user does not say otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipsrl.cli import main


@pytest.mark.parametrize("said", [None, "2"])
def test_a_prior_is_sampled_on_one_thread_or_as_many_as_are_asked_for(said):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if said is not None:
        environment["OMP_NUM_THREADS"] = said
    words = [sys.executable, "-m", "ipsrl", "molecules", "sample", "--n", "2", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert json.loads(done.stdout)["threads"] == int(said or 1)


@pytest.mark.parametrize(
    "words",
    [
        ["reproduce", "open-questions", "--out", "a-file"],
        [
            "train",
            "llm",
            "--dataset",
            "no.jsonl",
            "--reward",
            "os:getcwd",
            "--outcome",
            "text",
            "--out",
            "run",
        ],
        ["train", "hypospace", "--domain", "causal", "--trl", "no_such=1", "--out", "run"],
        ["train", "molecules", "--config", "mine.toml", "--prior", "no-prior", "--out", "run"],
        ["molecules", "pretrain", "--smiles", "no.smi", "--out", "run"],
    ],
    ids=" ".join,
)
def test_so_do_the_other_commands(words, tmp_path, monkeypatch, capsys):
    """Each is chosen before the work, which an error ends here."""
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    Path("mine.toml").write_text('[[components]]\nkind = "qed"\n')
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert main(words) in (1, 2)
    assert capsys.readouterr().err
    assert os.environ["OMP_NUM_THREADS"] == "1"
