"""`ipsrl train llm`: any task trains, nothing is lost, and what cannot work is refused before."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import llm_toy as toy
import pyarrow.parquet as pq
import pytest
import torch
from helpers import HANGS
from killing import survive
from llm_task import KINDS, SHORT, config_of, cut, differences, results, task, words
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerState

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.functions import load_function
from ipsrl.llm.config import Config
from ipsrl.llm.training import _inputs, _Recorder, _result, train
from ipsrl.runs import Run

# --- what a run leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_trains_and_leaves_a_run_directory(kind, home, finished) -> None:
    run = Run.open(finished(kind))
    assert run.finished
    assert run.config(Config) == config_of(home, kind)
    steps = [row for row in run.metrics() if "reward" in row]
    # A step that reuses completions has no rewards of its own.
    assert [row["step"] for row in steps] == ([1, 3, 5] if kind == "reused" else [*range(1, 7)])
    method = KINDS[kind].get("method", "ips-grpo")
    assert ("flowrl/log_z" in steps[0]) == (method == "flowrl")
    assert ("exemplars/loss" in steps[0]) == (method == "exemplar-replay")
    assert ("outcomes/effective" in steps[0]) == (not kind.endswith("-alone"))
    result = run.result()
    assert result["steps"] == 6
    values = [row["reward"] for row in steps]  # the last ten, here all of them
    assert result["reward"] == pytest.approx(sum(values) / len(values), rel=1e-12)  # a sum of six
    assert 0 < result["reward"] < 1
    if kind.endswith("-alone"):
        assert result["distinct"] is None
        assert result["effective"] is None
    else:
        assert 1 <= result["effective"] <= result["distinct"] <= 8


@pytest.mark.parametrize(("kind", "scaled"), [("ips-grpo", True), ("grpo", False),
                                              ("flowrl-mlp", False), ("replay", True)])  # fmt: skip
def test_only_ips_scales_rewards(kind, scaled, finished) -> None:
    steps = [row for row in Run.open(finished(kind)).metrics() if "reward" in row]
    assert any(row.get("ips/reward", row["reward"]) > row["reward"] for row in steps) == scaled
    assert any(row["ips/weight_max"] > 1 for row in steps) == scaled


def test_several_rewards_of_which_one_says_what_is_right(home, tmp_path) -> None:
    functions = [f"{home / 'task.py'}:{name}" for name in ("correct", "reward")]
    config = task(
        home, reward=functions, success=["correct"], trl={**SHORT, "reward_weights": [1.0, 0.5]}
    )
    train(config, tmp_path / "run")
    assert Run.open(tmp_path / "run").config(Config) == config
    (row,) = [row for row in Run.open(tmp_path / "run").metrics() if "reward" in row]
    mean = row["rewards/correct/mean"] + 0.5 * row["rewards/reward/mean"]
    assert row["reward"] == pytest.approx(mean, rel=1e-6)  # float32 means of eight
    rows = toy.table(tmp_path / "run" / "trainer")
    wrong = rows["correct"] == 0
    assert set(rows["ips_weight"][wrong]) == {1.0}
    n = rows["outcome"][~wrong].value_counts()
    expected = [8 / n[outcome] for outcome in rows["outcome"][~wrong]]
    assert rows["ips_weight"][~wrong].tolist() == pytest.approx(expected)


def test_similarities_are_a_function_of_outcome_keys(home, tmp_path) -> None:
    """Half the weight of what is unlike counts too: p = (1 + n / G) / 2."""
    similarity = f"{home / 'task.py'}:alike"
    train(task(home, estimator="kernel", similarity=similarity, trl=SHORT), tmp_path / "run")
    rows = toy.table(tmp_path / "run" / "trainer")
    n = rows["outcome"].value_counts()
    assert len(n) > 1
    expected = [2 / (1 + n[outcome] / 8) for outcome in rows["outcome"]]
    assert rows["ips_weight"].tolist() == pytest.approx(expected)


def test_the_weights_move_and_the_model_can_be_loaded(home, finished) -> None:
    before = load_file(home / "toy" / "model.safetensors")
    after = load_file(finished("ips-grpo") / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    model = AutoModelForCausalLM.from_pretrained(finished("ips-grpo") / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished("ips-grpo") / "model")
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize(("kind", "rank"), [("adapters", 4), ("nf4", 4)])
def test_with_adapters_only_they_are_written_and_they_have_learned(kind, rank, finished) -> None:
    folder = finished(kind) / "model"
    assert not (folder / "model.safetensors").exists()
    weights = load_file(folder / "adapter_model.safetensors")
    targets = {name.split(".")[-3] for name in weights}
    assert targets == {"q_proj", "k_proj", "v_proj", "o_proj"}
    up = [value for name, value in weights.items() if "lora_B" in name]
    assert all(value.shape[1] == rank and value.abs().max() > 0 for value in up)  # they start at 0
    settings = json.loads((folder / "adapter_config.json").read_bytes())
    assert (settings["r"], settings["lora_alpha"]) == (rank, 32)


def test_evaluation_is_logged_and_never_scaled(finished) -> None:
    rows = [row for row in Run.open(finished("evaluated")).metrics() if "eval_reward" in row]
    assert [row["step"] for row in rows] == [3, 6]
    assert all(0 < row["eval_reward"] < 1 for row in rows)


def test_a_log_has_neither_times_nor_anything_that_is_no_json(finished) -> None:
    for kind in ("ips-grpo", "evaluated", "flowrl-mlp"):
        text = (finished(kind) / "metrics.jsonl").read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        for row in map(json.loads, text.splitlines()):
            assert not [key for key in row if "time" in key or "second" in key]


def test_the_tiny_model_stands_in_the_run_directory(finished) -> None:
    start = load_file(finished("tiny") / "tiny" / "model.safetensors")
    end = load_file(finished("tiny") / "model" / "model.safetensors")
    assert any(not torch.equal(start[name], end[name]) for name in start)


def test_completions_hold_outcomes_and_raw_rewards(finished) -> None:
    files = sorted((finished("ips-grpo") / "trainer" / "completions").iterdir())
    assert len(files) == 6
    table = pq.read_table(files[0]).to_pydict()
    assert len(table["completion"]) == 8
    task_outcome = [text.strip()[:2] or None for text in table["completion"]]
    assert table["outcome"] == task_outcome


# --- stopping -----------------------------------------------------------------------------------


def test_a_collapsed_run_stops(home, tmp_path, capsys) -> None:
    """No group of eight has 9 effective outcomes; the patience is three logs."""
    config = task(home, stop_below=9.0, trl={"max_steps": 30})
    assert train(config, tmp_path / "run").steps == 3
    assert "stops the run at step 3" in capsys.readouterr().out
    assert Run.open(tmp_path / "run").result()["steps"] == 3


def test_a_resumed_run_stops_where_the_uninterrupted_one_did(home, tmp_path) -> None:
    """One log below the threshold is before the checkpoint, and two after."""
    config = task(home, stop_below=9.0, trl={"save_steps": 1})
    train(config, tmp_path / "whole")
    cut(tmp_path / "whole", tmp_path / "cut", at=1)
    assert train(config, tmp_path / "cut", resume=True).steps == 3
    assert differences(tmp_path / "cut", tmp_path / "whole") == []


def test_a_finished_run_may_be_resumed_and_stays_as_it_is(home, tmp_path) -> None:
    """Also one that was stopped, which has steps left."""
    config = task(home, stop_below=9.0, trl={"save_steps": 3})
    result = train(config, tmp_path / "run")
    before = results(tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True) == result
    assert results(tmp_path / "run") == before


# --- same configuration, same bytes -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ips-grpo", "flowrl-mlp", "tiny", "nf4"])
def test_the_same_configuration_twice_gives_the_same_files(kind, home, finished, tmp_path) -> None:
    torch.manual_seed(987)  # whatever the state of the caller
    train(config_of(home, kind), tmp_path / "again")
    names = set(results(tmp_path / "again"))
    assert {"metrics.jsonl", "result.json"} < names
    assert any(name.startswith("model/") for name in names)
    assert differences(tmp_path / "again", finished(kind)) == []


def test_another_seed_gives_other_files(home, finished, tmp_path) -> None:
    """Else the tests of equal files could not fail."""
    train(task(home, seed=1), tmp_path / "other")
    changed = differences(tmp_path / "other", finished("ips-grpo"))
    assert {"metrics.jsonl", "result.json", "model/model.safetensors"} <= {*changed}


def command(config: Config, out: Path, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ipsrl", "train", "llm", *words(config), "--out", str(out)],
        capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.promise(number=7)
@pytest.mark.parametrize("kind", ["ips-grpo", "replay", "flowrl-table"])
def test_another_process_with_another_hash_seed_gives_the_same_files(
    kind, home, finished, tmp_path, record_property
) -> None:
    answer = command(config_of(home, kind), tmp_path / "run", PYTHONHASHSEED="4242")
    assert answer.returncode == 0, answer.stderr
    assert f"written to {tmp_path / 'run'}" in answer.stdout
    assert differences(tmp_path / "run", finished(kind)) == []
    record_property("figure", f"llm, {kind}: {len(results(finished(kind)))} files")


# --- interruptions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "at"), [
    *((kind, 4) for kind in KINDS), ("ips-grpo", 2), ("replay", 2), ("replay", 0), ("tiny", 0),
])  # fmt: skip
def test_a_resumed_run_equals_the_uninterrupted_one(kind, at, home, finished, tmp_path) -> None:
    """From the middle of the second epoch, whose order differs; of the first; from the start."""
    cut(finished(kind), tmp_path / "run", at)
    train(config_of(home, kind), tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", finished(kind)) == []


def test_a_run_is_resumed_at_the_end_of_an_epoch(home, tmp_path) -> None:
    config = task(home, trl={"save_steps": 3})
    train(config, tmp_path / "whole")
    cut(tmp_path / "whole", tmp_path / "cut", at=3)
    train(config, tmp_path / "cut", resume=True)
    assert differences(tmp_path / "cut", tmp_path / "whole") == []


def dies(config: Config, out: Path, number: int) -> None:
    """The command, killed in the fifth step, two checkpoints after the start."""
    answer = command(config, out, TASK_ENDS_AT="5", TASK_ENDS_BY=str(number), PYTHONHASHSEED="7")
    assert answer.returncode == -number, answer.stderr
    assert (out / "trainer" / "checkpoint-4" / "trainer_state.json").is_file()
    assert not Run.open(out).finished


@pytest.mark.promise(number=6)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(home, finished, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    dies(task(home), out, signal.SIGKILL)
    assert main(["train", "llm", "--resume", str(out)]) == 0
    assert f"written to {out}" in capsys.readouterr().out
    assert differences(out, finished("ips-grpo")) == []


@pytest.mark.slow
@pytest.mark.promise(number=6)
@pytest.mark.parametrize(("kind", "number"), [
    ("replay", signal.SIGKILL), ("flowrl-mlp", signal.SIGKILL), ("adapters", signal.SIGKILL),
    ("ips-grpo", signal.SIGTERM),
])  # fmt: skip
def test_so_does_every_kind_of_run_and_of_death(kind, number, home, finished, tmp_path) -> None:
    dies(config_of(home, kind), tmp_path / "run", number)
    assert main(["train", "llm", "--resume", str(tmp_path / "run")]) == 0
    assert differences(tmp_path / "run", finished(kind)) == []


@pytest.mark.slow
@pytest.mark.promise(number=6)
@pytest.mark.parametrize("kind", ["replay", "flowrl-table"])
def test_ten_kills_change_nothing(kind, home, tmp_path, record_property) -> None:
    """The run has 40 steps and 20 checkpoints, and some kills come while one is written."""
    config = task(home, trl={"max_steps": 40}, **KINDS[kind])
    train(config, tmp_path / "whole")

    def check(directory: Path) -> None:
        assert differences(directory, tmp_path / "whole") == []

    record_property("figure", survive(10, tmp_path, ["llm", *words(config)], check))


def test_an_interruption_says_how_to_go_on(home, finished, tmp_path, monkeypatch, capsys) -> None:
    """Ctrl-C in the fifth step."""
    function = load_function(f"{home / 'task.py'}:interrupted")
    monkeypatch.setattr(sys.modules[function.__module__], "calls", 0)
    monkeypatch.setattr(function, "__name__", "reward")  # for the same names of columns
    out = tmp_path / "run"
    config = task(home, reward=f"{home / 'task.py'}:interrupted")
    assert main(["train", "llm", *words(config), "--out", str(out)]) == 130
    message = capsys.readouterr().err
    assert f"stopped; continue with: ipsrl train llm --resume {out}" in message
    assert "Traceback" not in message
    assert main(["train", "llm", "--resume", str(out)]) == 0
    assert differences(out, finished("ips-grpo")) == []


def test_a_run_is_resumed_with_its_own_configuration_only(home, finished) -> None:
    with pytest.raises(RunError, match="another configuration"):
        train(task(home, seed=3), finished("ips-grpo"), resume=True)


@pytest.mark.parametrize("name", ["task.py", "prompts.jsonl"])
def test_a_run_does_not_go_on_with_another_file(name, home, finished) -> None:
    run, file = finished("ips-grpo"), home / name
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"\n")
        with pytest.raises(RunError, match=f"started with other files .*{name}"):
            train(config_of(home, "ips-grpo"), run, resume=True)
    finally:
        file.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ips-grpo", "flowrl-mlp"])
def test_two_processes_share_one_run(kind, home, tmp_path) -> None:
    """Each scores one half of a group of eight."""
    out = tmp_path / "run"
    config = task(home, **KINDS[kind], trl={"per_device_train_batch_size": 4, "max_steps": 4})
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    answer = subprocess.run(
        [sys.executable, "-m", *launch, "ipsrl", "train", "llm", *words(config), "--out", out],
        capture_output=True, text=True, timeout=HANGS,
        env={**os.environ},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    states = sorted(path.name for path in (out / "trainer" / "checkpoint-4").glob("rng_state*"))
    assert states == ["rng_state_0.pth", "rng_state_1.pth"]  # there were two
    assert answer.stdout.count(f"written to {out}") == 1
    run = Run.open(out)
    assert [row["step"] for row in run.metrics() if "reward" in row] == [1, 2, 3, 4]
    for file in (out / "trainer" / "completions").iterdir():
        assert len(pq.read_table(file)) == 8
    assert run.result()["steps"] == 4
    assert main(["diagnose", str(out)]) == 0


# --- what cannot work is refused before anything is written ------------------------------------


def test_a_model_that_cannot_be_loaded_is_refused(assert_refused) -> None:
    assert_refused({"model": "./no-such-model"}, "no-such-model.*cannot be loaded")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lora_rank": 2, "lora_targets": ["foo"]}, "Target modules.*foo"),
        ({"trl": {"reward_weights": [1.0, 2.0]}}, "Number of reward weights"),
    ],
)
def test_what_only_the_trainer_finds_can_be_mended_in_place(wrong, message, home, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(task(home, **{**wrong, "trl": {**SHORT, **wrong.get("trl", {})}}), tmp_path / "run")
    assert train(task(home, trl=SHORT), tmp_path / "run").steps == 1


def test_adapters_for_all_linear_layers(home, tmp_path) -> None:
    train(task(home, lora_rank=2, lora_targets=["all-linear"], trl=SHORT), tmp_path / "run")
    names = load_file(tmp_path / "run" / "model" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["reward", "outcome"])
def test_functions_of_other_arguments_are_refused_before_anything_is_written(
    name, home, tmp_path
) -> None:
    """Among them a column that the data set does not have."""
    with pytest.raises(InvalidInput, match="narrow cannot be called.*completion_ids.*columns"):
        train(task(home, **{name: f"{home / 'task.py'}:narrow"}), tmp_path / "run")
    with pytest.raises(InvalidInput, match="wanted cannot be called.*'shift'"):
        train(task(home, **{name: f"{home / 'task.py'}:wanted"}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "success", "message"),
    [
        (["reward", "reward"], [], "two reward functions have one name.*Rename one"),
        (["reward", "correct"], ["corect"], "success is .*reward functions.*reward, correct"),
    ],
)
def test_names_that_do_not_tell_reward_functions_apart(
    names, success, message, home, assert_refused
) -> None:
    functions = [f"{home / 'task.py'}:{name}" for name in names]
    assert_refused({"reward": functions, "success": success}, message)


@pytest.mark.parametrize("name", ["reward", "outcome"])
def test_functions_that_are_not_there_are_refused_before_anything_is_written(
    name, home, tmp_path
) -> None:
    with pytest.raises(InvalidInput, match="there is no file"):
        train(task(home, **{name: f"{home / 'no_such.py'}:f"}), tmp_path / "run")
    with pytest.raises(InvalidInput, match="nearest is 'reward'"):
        train(task(home, **{name: f"{home / 'task.py'}:rewart"}), tmp_path / "run")
    with pytest.raises(InvalidInput, match="an? int, which cannot be called"):
        train(task(home, **{name: f"{home / 'task.py'}:number"}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_step_in_which_nothing_has_a_reward_does_not_end_the_run(home, tmp_path) -> None:
    """TRL logs None, an older one NaN."""
    state = TrainerState(max_steps=3, log_history=[{"reward": 0.5, "step": 1}])
    with Run.create(tmp_path / "run", task(home)) as run, ExitStack() as stack:
        recorder = _Recorder(run, stack)
        recorder.on_train_begin(None, state, None)
        for step, nothing in ((2, None), (3, math.nan)):
            state.global_step = step
            state.log_history.append({"reward": nothing, "step": step})
            recorder.on_log(None, state, None, {"reward": nothing, "outcomes/effective": 1.0})
        assert [row["reward"] for row in run.metrics()] == [0.5, None, None]
    assert _result(state).reward == 0.5


def test_a_reward_that_was_not_logged_is_none_and_not_0(home, tmp_path, capsys) -> None:
    logged = TrainerState(global_step=3, log_history=[{"reward": 0.25}, {"reward": 0.75}])
    assert _result(logged).reward == 0.5
    nothing = _result(TrainerState(global_step=3))
    assert nothing.reward is None
    with Run.create(tmp_path / "run", task(home), _inputs(task(home))) as run:
        run.finish(dataclasses.asdict(nothing))
    assert main(["train", "llm", "--resume", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith("3 steps: reward none\n")
