"""Post-training on HypoSpace: the judge is the reward, and a run that was stopped ends the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from ipsrl.cli import main
from ipsrl.config import shipped_configs
from ipsrl.errors import ConfigError, RunError
from ipsrl.hypospace import (
    Boolean,
    BooleanConfig,
    Causal,
    ObservationSet,
    dataset,
    read_lines,
)
from ipsrl.hypospace import training as module
from ipsrl.hypospace.config import Config
from ipsrl.hypospace.recovery import Response, evaluate
from ipsrl.hypospace.responses import respond
from ipsrl.hypospace.training import outcome, read_result, reward, train
from ipsrl.llm import tiny
from ipsrl.runs import Run

SMALL: dict[str, Any] = {
    "domain": "boolean", "sets": 8, "samples": 3,
    "trl": {"max_steps": 4, "num_generations": 4, "per_device_train_batch_size": 8,
            "max_completion_length": 16, "save_steps": 2},
}  # fmt: skip


def small(model: Path, **changes: Any) -> Config:
    return Config(**{**SMALL, "model": str(model), **changes})


def files(folder: Path) -> dict[str, bytes]:
    """Files of a run that the same seed writes alike; the trainer's own have times in them."""
    names = ("config.toml", "data.jsonl", "prompts.jsonl", "responses.jsonl", "result.json",
             "rl/metrics.jsonl", "rl/model/model.safetensors")  # fmt: skip
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def finished(beginner, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(small(beginner), out)
    return out


# --- reward and outcome ---------------------------------------------------------------------------


def test_reward_is_one_iff_the_key_is_admissible() -> None:
    one = dataset(Boolean())[0]
    right = one.admissible[0]
    wrong = next(key for key in ("x", "NOT(x)") if key not in one.admissible)
    sets = {"task": [json.dumps({"domain": "boolean", "options": {}})] * 4,
            "observations": [list(one.observations)] * 4}  # fmt: skip
    texts = [Boolean().answer(right), Boolean().answer(wrong), "I do not know", "Expression: q"]
    assert reward(texts, **sets) == [1.0, 0.0, 0.0, 0.0]
    assert outcome(texts, **sets) == [right, wrong, None, None]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward(messages, **sets) == [1.0, 0.0, 0.0, 0.0]


def test_rows_of_several_sizes_may_stand_together() -> None:
    deep = Boolean(BooleanConfig(depth=3))
    one = dataset(deep, count=2)[0]
    key = max(one.admissible, key=len)  # needs the third level
    tasks = [json.dumps({"domain": "boolean", "options": {"depth": depth}}) for depth in (2, 3)]
    texts = [deep.answer(key)] * 2
    assert reward(texts, task=tasks, observations=[list(one.observations)] * 2) == [0.0, 1.0]


# --- runs -----------------------------------------------------------------------------------------


def test_a_run_holds_what_it_was_asked_and_answered(finished) -> None:
    sets = read_lines(finished / "data.jsonl", ObservationSet)
    assert sets == dataset(Boolean(), count=8, seed=0)
    prompts = [json.loads(line) for line in (finished / "prompts.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in prompts] == [s.prompt for s in sets if s.split == "train"]
    responses = read_lines(finished / "responses.jsonl", Response)
    assert [one.id for one in responses] == [one.id for one in sets for _ in range(3)]
    result = read_result(Run.open(finished))
    for half in ("train", "test"):
        chosen = [one for one in sets if one.split == half]
        ours = [one for one in responses if one.id in {c.id for c in chosen}]
        assert getattr(result, half).recovery_rate == pytest.approx(
            evaluate(Boolean(), chosen, ours).recovery_rate
        )
    assert len(list((finished / "rl" / "trainer" / "completions").glob("*.parquet"))) == 4


def test_the_same_seed_writes_the_same_files(finished, beginner, tmp_path) -> None:
    train(small(beginner), tmp_path / "again")
    assert files(tmp_path / "again") == files(finished)
    train(small(beginner, seed=1), tmp_path / "other")
    assert files(tmp_path / "other")["responses.jsonl"] != files(finished)["responses.jsonl"]


@pytest.mark.slow
@pytest.mark.promise(number=7)
def test_another_process_with_another_hash_seed_gives_the_same_files(
    finished, beginner, tmp_path, record_property
) -> None:
    (tmp_path / "config.toml").write_text(small(beginner).dump())
    subprocess.run(
        [sys.executable, "-m", "ipsrl", "train", "hypospace",
         "--config", tmp_path / "config.toml", "--out", tmp_path / "run"],
        check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "4242"},
    )  # fmt: skip
    assert files(tmp_path / "run") == files(finished)
    record_property("figure", f"hypospace: {len(files(finished))} files of a run")


@pytest.mark.parametrize("moment", ["prompts", "training", "responses", "evaluation"])
def test_a_run_that_was_stopped_ends_the_same(
    finished, beginner, tmp_path, monkeypatch, moment
) -> None:
    out = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise Stop

    def two_batches(*args: Any, **kwargs: Any) -> Any:
        batches = respond(*args, **kwargs, batch=4)
        yield next(batches)
        yield next(batches)
        raise Stop

    def two_steps(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Stop
        return reward(*args, **kwargs)

    calls: list[int] = []
    two_steps.__name__ = "reward"  # which TRL logs
    with monkeypatch.context() as patch:
        name, other = {
            "prompts": ("_write_prompts", stop),
            "training": ("reward", two_steps),
            "responses": ("respond", two_batches),
            "evaluation": ("evaluate", stop),
        }[moment]
        patch.setattr(module, name, other)
        with pytest.raises(Stop):
            train(small(beginner), out)
    if moment == "prompts":  # an error before anything began leaves nothing
        assert not out.exists()
    else:
        assert not Run.open(out).finished
    train(small(beginner), out, resume=moment != "prompts")
    ours, theirs = files(out), files(finished)
    if moment == "responses":  # batches of 4 draw other numbers; nothing is asked twice
        assert len(read_lines(out / "responses.jsonl", Response)) == 24
        ours = {key: value for key, value in ours.items() if key.startswith("rl/")}
    assert ours == {key: theirs[key] for key in ours}


def test_the_files_of_a_run_can_be_evaluated_again(finished, tmp_path, capsys) -> None:
    data, responses = finished / "data.jsonl", finished / "responses.jsonl"
    command = ["hypospace", "evaluate", "boolean", "--data", str(data), "--json"]
    result = read_result(Run.open(finished))
    for half in ("train", "test"):
        assert main([*command, "--split", half, str(responses)]) == 0
        assert capsys.readouterr().out == getattr(result, half).json() + "\n"
    misspelt = tmp_path / "responses.jsonl"
    misspelt.write_text(responses.read_text().replace('"boolean-', '"bolean-', 1))
    assert main([*command, "--split", "test", str(misspelt)]) == 2
    assert "bolean-" in capsys.readouterr().err


def test_another_configuration_cannot_go_on_with_a_run(finished, beginner) -> None:
    with pytest.raises(RunError, match="another configuration"):
        train(small(beginner, seed=5), finished, resume=True)
    assert train(small(beginner), finished, resume=True) == read_result(Run.open(finished))


def test_a_responses_file_cut_in_a_line_is_gone_on_with(finished, beginner) -> None:
    before = files(finished)  # in place: the run names its data by their absolute path
    for left in (before["responses.jsonl"][:-7], b""):
        (finished / "result.json").unlink()
        (finished / "responses.jsonl").write_bytes(left)
        train(small(beginner), finished, resume=True)
        assert len(read_lines(finished / "responses.jsonl", Response)) == 24
    assert files(finished) == before


def test_a_relative_run_directory_is_resumed_by_its_absolute_path(
    beginner, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "respond", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(small(beginner), Path("run"))
    assert train(small(beginner), tmp_path / "run", resume=True).test.responses == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "./no-such-model"}, "no-such-model.*cannot be loaded"),
        ({"trl": {"num_generations": 3}}, "num_generations"),
    ],
)
def test_what_cannot_begin_can_be_mended_in_place(beginner, tmp_path, wrong, words) -> None:
    settings = small(beginner).model_dump()
    changed = {**settings, **wrong, "trl": {**settings["trl"], **wrong.get("trl", {})}}
    with pytest.raises(ConfigError, match=words):
        train(Config(**changed), tmp_path / "run")
    assert train(small(beginner), tmp_path / "run").test.responses == 3


def test_the_command(beginner, tmp_path, capsys) -> None:
    config = tmp_path / "task.toml"
    config.write_text(small(beginner).dump())
    out = tmp_path / "run"
    assert main(["train", "hypospace", "--config", str(config), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "train: 4 observation sets, 1 seed, 3 parallel responses" in shown
    assert "test: 4 observation sets" in shown
    assert main(["train", "hypospace", "--resume", str(out)]) == 0  # finished: shown again
    assert capsys.readouterr().out == shown


def test_the_papers_run_works_on_a_model_of_gemmas_shape(tmp_path) -> None:
    """Every setting of configs/hypospace/paper.toml but size: chat, NF4, LoRA, bf16, KL."""
    model = tmp_path / "gemma"
    tiny.build(model, (one.prompt for one in dataset(Causal())))
    words = AutoTokenizer.from_pretrained(model)
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=64,
        layer_types=["sliding_attention", "full_attention"], max_position_embeddings=1024,
        pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    Gemma3ForCausalLM(config).save_pretrained(model)
    (paper,) = shipped_configs("hypospace")
    settings = Config.load(paper).model_dump()
    settings |= {"model": str(model), "sets": 4, "samples": 2}
    settings["trl"] |= {"max_steps": 2, "num_generations": 2, "per_device_train_batch_size": 2,
                        "gradient_accumulation_steps": 2, "max_completion_length": 8}  # fmt: skip
    out = tmp_path / "run"
    result = train(Config(**settings), out)
    assert result.test.responses == 2
    assert json.loads((out / "prompts.jsonl").read_text().splitlines()[0])["prompt"][0]["role"] == (
        "user"
    )
    assert (out / "rl" / "model" / "adapter_model.safetensors").is_file()
    steps = [row for row in Run.open(out / "rl").metrics() if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all("kl" in row for row in steps)
