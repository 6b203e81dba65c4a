"""Promise 12: files of somebody else run nothing; what they are is in attacks_of_*.py."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import attacks_of_files  # noqa: F401
import attacks_of_models
import jinja2
import pytest
import torch
from attack import INPUTS, TASK, Attack, Runs, edit
from transformers import AutoConfig

from ipsrl.llm import Config, tiny, train


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that talks."""
    folder = tmp_path_factory.mktemp("start") / "model"
    tiny.build(folder, ["name one"])
    return folder


@pytest.fixture(scope="module")
def begun(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    (folder / "task.py").write_text(TASK)
    (folder / "prompts.jsonl").write_text('{"prompt": "name one"}\n' * 8)
    trl = {"max_steps": 2, "save_steps": 1, "max_completion_length": 1}
    config = Config(
        model=str(start), dataset=str(folder / "prompts.jsonl"),
        reward=f"{folder}/task.py:reward", outcome=f"{folder}/task.py:outcome", trl=trl,
    )  # fmt: skip
    train(config, folder / "run")
    shutil.rmtree(folder / "run" / "trainer" / "checkpoint-2")
    (folder / "run" / "result.json").unlink()
    return folder / "run"


@pytest.fixture
def attack(start, begun, tmp_path, monkeypatch, capsys) -> Attack:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    stdin = io.StringIO("y\n" * 1000)
    monkeypatch.setattr("sys.stdin", stdin)
    return Attack(tmp_path, start, begun, stdin, capsys)


@pytest.mark.promise(number=12)
@pytest.mark.parametrize("malicious_input", INPUTS, ids=lambda function: function.__name__)
def test_a_malicious_input_runs_nothing(malicious_input, attack, record_property) -> None:
    malicious_input(attack)
    attack.unharmed()
    record_property("figure", f"{len(INPUTS)} of {len(INPUTS)} malicious inputs ran nothing")


def test_there_are_twenty_and_more() -> None:
    assert len({function.__name__ for function in INPUTS}) == len(INPUTS) >= 20


# --- the same attacks where code is trusted: they would run ---------------------------------------


def test_the_pickles_would_run(attack) -> None:
    pickle.loads(attack.pickle)
    attack.canary.unlink()
    torch.save(Runs(attack.canary), attack.folder / "saved.pt")
    torch.load(attack.folder / "saved.pt", weights_only=False)
    assert attack.canary.exists()


def test_the_python_files_would_run(attack, monkeypatch) -> None:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(attack.folder / "hub")
    )
    evil = attack.model()
    (evil / "evil.py").write_text(attack.python)
    edit(evil / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(AttributeError, match="Config"):  # which it does not define
        AutoConfig.from_pretrained(evil, trust_remote_code=True)
    assert attack.canary.exists()


def test_the_templates_would_run(attack) -> None:
    jinja2.Environment().from_string(
        attacks_of_models.ESCAPES[0].replace("CANARY", str(attack.canary))
    ).render()
    assert attack.canary.exists()
