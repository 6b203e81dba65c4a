"""A start model is kept, never sees the test half, and is right at times."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ipsrl.hypospace import Boolean, Voxel, dataset, read_lines
from ipsrl.hypospace.recovery import Response, evaluate
from ipsrl.hypospace.responses import Sampling, collect, local_model, respond
from ipsrl.hypospace.tiny import start_model
from ipsrl.llm import tiny
from ipsrl.pretrained import load_model, load_tokenizer


def test_a_start_model_is_always_the_same_and_kept(tmp_path) -> None:
    task = Boolean()
    model, again = (
        start_model(task, dataset(task), steps=2, cache=tmp_path / name) for name in ("a", "b")
    )
    names = [path.name for path in sorted(model.iterdir())]
    assert names == [path.name for path in sorted(again.iterdir())]
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    stamp = os.stat(again / "model.safetensors").st_mtime_ns
    assert start_model(task, dataset(task), steps=2, cache=tmp_path / "b") == again
    assert os.stat(again / "model.safetensors").st_mtime_ns == stamp
    assert start_model(task, dataset(task, seed=1), steps=2, cache=tmp_path / "b") != again


def test_a_start_model_never_sees_the_test_half(tmp_path, monkeypatch) -> None:
    """Views of one cell only: if all but one are in the test half, all answers are to that one."""
    task = Voxel()
    sets = dataset(task, count=129)
    seen: list[str] = []
    from trl.trainer.sft_trainer import SFTTrainer

    original = SFTTrainer.__init__

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.extend(kwargs["train_dataset"]["prompt"])
        original(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "__init__", remember)
    start_model(task, sets, steps=2, cache=tmp_path)
    assert set(seen) <= {one.prompt for one in sets if one.split == "train"}
    assert len(set(seen)) > 30


def test_a_pretrained_model_is_taught_and_stays_what_it_is(tmp_path) -> None:
    """Its tokenizer and sizes are kept, its weights move, and no other model is taken for it."""
    task = Boolean()
    prompts = [one.prompt for one in dataset(task)]
    tiny.build(tmp_path / "base", prompts, hidden=32, chat=False)
    options = {"steps": 2, "cache": tmp_path / "cache"}
    taught = start_model(task, dataset(task), base=str(tmp_path / "base"), **options)
    before, after = (load_model(folder).state_dict() for folder in (tmp_path / "base", taught))
    assert {name: value.shape for name, value in before.items()} == {
        name: value.shape for name, value in after.items()
    }
    assert any((before[name] != after[name]).any() for name in before)
    vocabularies = [load_tokenizer(folder).get_vocab() for folder in (tmp_path / "base", taught)]
    assert vocabularies[0] == vocabularies[1]
    assert start_model(task, dataset(task), **options) != taught


@pytest.mark.slow
def test_a_start_model_is_like_a_base_model(tmp_path) -> None:
    """Right at times, on both halves; and biased: its commonest answer comes far too often."""
    task = Boolean()
    sets = dataset(task)
    model = start_model(task, sets)  # of the user's cache, where the other slow tests need it too
    complete = local_model(str(model), Sampling(max_tokens=32))
    collect(tmp_path / "responses.jsonl", respond(task, complete, sets, 64))
    responses = read_lines(tmp_path / "responses.jsonl", Response)
    for half in ("train", "test"):
        found = evaluate(task, sets, responses, split=half)
        assert 0.4 < found.valid_rate[0] < 0.9  # taught with 30 % of blind answers
        assert found.recovery[2][0] < 0.9 * found.uniform[2]  # at N = 4


def test_nothing_is_left_of_a_start_model_that_was_stopped(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tiny, "build", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        start_model(Boolean(), dataset(Boolean()), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
