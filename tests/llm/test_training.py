"""`ipsrl train llm`: any task trains, nothing is lost, and what cannot work is refused before.

Most runs take six steps on the toy of llm_toy; three prompts, so two steps into an epoch of three
a checkpoint is written, and then after it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llm_toy as toy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import HANGS
from killing import survive
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerState
from trl import GRPOConfig

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.functions import load_function
from ipsrl.llm.checkpoints import newest_checkpoint
from ipsrl.llm.config import Config
from ipsrl.llm.training import _result, train
from ipsrl.runs import Run

TASK = '''
"""Reward and outcome of a text or of messages; the reward can also end the process."""
import os
import signal

calls = 0
end_at = int(os.environ.get("TASK_ENDS_AT", "0"))


def text(completion):
    return completion if isinstance(completion, str) else completion[0]["content"]


def reward(completions, **columns):
    global calls
    calls += 1
    if calls == end_at:
        os.kill(os.getpid(), int(os.environ["TASK_ENDS_BY"]))
    return [1.0 - ord((text(c).strip() or "?")[-1]) % 64 / 64 for c in completions]


def outcome(completions, **columns):
    return [text(c).strip()[:2] or None for c in completions]


def interrupted(completions, **columns):
    global calls
    calls += 1
    if calls == 9:  # the fifth call: `reward` counts too
        raise KeyboardInterrupt
    return reward(completions, **columns)


def narrow(completions):
    return [1.0 for c in completions]


def wanted(completions, prompts, shift, **columns):
    assert shift == [len(prompt) for prompt in prompts]
    return [float(n) for n in shift]


number = 3
'''

PROMPTS = ["name one", "one more", "please name"]
TRL = {
    "num_generations": 8,
    "per_device_train_batch_size": 8,
    "max_completion_length": 1,
    "learning_rate": 1e-2,
    "max_steps": 6,
    "save_steps": 2,
    "save_total_limit": 9,
}
SHORT = {"max_steps": 1, "save_strategy": "no"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a task, its prompts and a model."""
    folder = tmp_path_factory.mktemp("task")
    (folder / "task.py").write_text(TASK)
    write_lines(folder / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    toy.saved(folder / "toy")
    return folder


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def task(home: Path, **options: Any) -> Config:
    """A configuration; `trl` adds to that of the others."""
    settings = {
        "model": str(home / "toy"),
        "dataset": str(home / "prompts.jsonl"),
        "reward": f"{home / 'task.py'}:reward",
        "outcome": f"{home / 'task.py'}:outcome",
    }
    return Config(**{**settings, **options, "trl": {**TRL, **options.get("trl", {})}})


def words(config: Config) -> list[str]:
    """The options of the command."""
    found = []
    for key, value in config.model_dump(exclude_defaults=True).items():
        found.append(f"--{key.replace('_', '-')}")
        if isinstance(value, dict):
            found += [f"{name}={json.dumps(part)}" for name, part in value.items()]
        else:
            found.append(str(value))
    return found


def results(directory: Path) -> dict[str, bytes]:
    """What must not depend on anything but configuration and seed."""
    kinds = ("metrics.jsonl", "result.json", "model/*.safetensors", "trainer/completions/*")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for kind in kinds
        for path in sorted(directory.glob(kind))
    }


def differences(directory: Path, reference: Path) -> list[str]:
    ours, theirs = results(directory), results(reference)
    return [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]


KINDS: dict[str, dict[str, Any]] = {
    "ips-grpo": {},
    "replay": {"estimator": "replay"},
    "grpo": {"method": "grpo"},
    "grpo-alone": {"method": "grpo", "outcome": ""},
    "flowrl-mlp": {"method": "flowrl"},
    "flowrl-table": {"method": "flowrl", "flowrl_log_z": "table", "flowrl_beta": 3.0},
    "flowrl-alone": {"method": "flowrl", "outcome": ""},
    "adapters": {"lora_rank": 4, "lora_dropout": 0.1},
    "nf4": {"lora_rank": 4, "load_in_4bit": True, "model": "tiny"},
    "tiny": {"model": "tiny", "trl": {"max_completion_length": 3}},
    "reused": {"trl": {"num_iterations": 2, "steps_per_generation": 2,
                       "gradient_accumulation_steps": 2}},
    "evaluated": {"trl": {"eval_strategy": "steps", "eval_steps": 3,
                          "per_device_eval_batch_size": 8}},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(home, tmp_path_factory) -> Callable[[str], Path]:
    """Runs that nothing happened to; each is made once."""
    made: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in made:
            out = tmp_path_factory.mktemp("runs") / kind
            train(config_of(home, kind), out)
            made[kind] = out
        return made[kind]

    return run


def config_of(home: Path, kind: str) -> Config:
    options = dict(KINDS[kind])
    if kind == "evaluated":
        options["eval_dataset"] = str(home / "prompts.jsonl")
    return task(home, **options)


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
    assert ("outcomes/effective" in steps[0]) == (not kind.endswith("-alone"))
    result = run.result()
    assert result["steps"] == 6
    raw = "reward" if kind.endswith("-alone") else "raw_reward"
    values = [row[raw] for row in steps]  # the last ten, here all of them
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
    assert any(row["reward"] != row["raw_reward"] for row in steps) == scaled
    assert any(row["ips/weight_max"] > 1 for row in steps) == scaled


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


# --- data ---------------------------------------------------------------------------------------


def test_parquet_and_lines_of_the_same_rows_are_the_same_data(home, tmp_path) -> None:
    pq.write_table(pa.table({"prompt": PROMPTS}), tmp_path / "prompts.parquet")
    for name in ("prompts.parquet", "prompts.jsonl"):
        file = tmp_path / name if name.endswith("parquet") else home / name
        train(task(home, dataset=str(file), trl={"max_steps": 2}), tmp_path / name[8:])
    assert differences(tmp_path / "parquet", tmp_path / "jsonl") == []


def test_prompts_may_be_messages(home, tmp_path) -> None:
    rows = [{"prompt": [{"role": "user", "content": prompt}]} for prompt in PROMPTS]
    data = write_lines(tmp_path / "chat.jsonl", rows)
    result = train(task(home, model="tiny", dataset=str(data), trl=SHORT), tmp_path / "run")
    assert 0 < result.reward < 1
    (file,) = (tmp_path / "run" / "trainer" / "completions").iterdir()
    (prompt, *_) = pq.read_table(file)["prompt"].to_pylist()
    assert "user" in str(prompt)


def test_other_columns_reach_the_functions(home, tmp_path) -> None:
    rows = [{"prompt": prompt, "shift": len(prompt)} for prompt in PROMPTS]
    data = write_lines(tmp_path / "columns.jsonl", rows)
    config = task(home, dataset=str(data), reward=f"{home / 'task.py'}:wanted", trl=SHORT)
    assert train(config, tmp_path / "run").reward in map(len, PROMPTS)


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


def cut(finished: Path, out: Path, at: int) -> None:
    """What a run leaves that dies in the step after checkpoint `at` and two more logs."""
    shutil.copytree(finished, out)
    (out / "result.json").unlink()
    shutil.rmtree(out / "model")
    for checkpoint in (out / "trainer").glob("checkpoint-*"):
        if int(checkpoint.name.rpartition("-")[2]) > at:
            shutil.rmtree(checkpoint)
    lines = (out / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (out / "metrics.jsonl").write_bytes(b"".join(lines[: at + 2]) + lines[at][:20])


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


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
@pytest.mark.parametrize("kind", ["replay", "flowrl-mlp", "flowrl-table", "reused"])
def test_old_checkpoints_go_as_a_whole(kind, strategy, home, tmp_path) -> None:
    """Whatever the method wrote into them; and the newest can be resumed from."""
    limited = {"save_total_limit": 1, "save_strategy": strategy}
    train(task(home, **merged(KINDS[kind], limited)), tmp_path / "run")
    (newest,) = (tmp_path / "run" / "trainer").glob("checkpoint-*")
    assert newest_checkpoint(Run.open(tmp_path / "run")) == str(newest)


def merged(options: dict[str, Any], trl: dict[str, Any]) -> dict[str, Any]:
    return {**options, "trl": {**options.get("trl", {}), **trl}}


@pytest.mark.parametrize("harm", ["missing", "truncated", "empty"])
def test_a_checkpoint_that_was_being_written_is_passed_over(harm, home, finished, tmp_path) -> None:
    cut(finished("ips-grpo"), tmp_path / "run", at=4)
    newest = tmp_path / "run" / "trainer" / "checkpoint-4"
    (newest / "optimizer.pt").write_bytes(b"not all of it")
    state = newest / "trainer_state.json"
    if harm == "missing":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[: 100 if harm == "truncated" else 0])
    train(task(home), tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", finished("ips-grpo")) == []


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
    """Of 40 steps with 20 checkpoints; some die while they write one."""
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


# --- the command --------------------------------------------------------------------------------


def test_the_command_says_how_it_ended_and_where_it_wrote(home, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main(["train", "llm", *words(task(home, trl=SHORT)), "--out", str(out)]) == 0
    result = Run.open(out).result()
    assert capsys.readouterr().out == (
        f"1 steps: reward {result['reward']:.3f}, {result['effective']:.2f} effective of "
        f"{result['distinct']:.2f} outcomes per group\nwritten to {out}\n"
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


def test_equal_configurations_have_equal_digests(home) -> None:
    one = task(home, trl={"top_k": 3, "top_p": 0.5})
    other = Config(**{**one.model_dump(), "trl": dict(reversed(one.trl.items()))})
    assert one == other
    assert one.digest() == other.digest()


def test_a_configuration_comes_back_from_its_file(home, tmp_path) -> None:
    tables = {"lr_scheduler_kwargs": {"a": [1, 2.5, "b"], "c": {"d": True}}, "run_name": "ä\x7f\n"}
    config = task(home, trl={**tables, "learning_rate": 1e-05})
    (tmp_path / "config.toml").write_text(config.dump())
    assert Config.load(tmp_path / "config.toml") == config


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
    assert main(["train", "llm", "--resume", str(out), *options]) == 1
    assert "--resume continues a run as it was configured" in capsys.readouterr().err
    assert results(out) == before


def test_a_run_is_resumed_with_its_own_configuration_only(home, finished) -> None:
    with pytest.raises(RunError, match="another configuration"):
        train(task(home, seed=3), finished("ips-grpo"), resume=True)


def test_nothing_cannot_be_resumed(home, tmp_path, capsys) -> None:
    assert main(["train", "llm", "--resume", str(tmp_path / "none")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
    with pytest.raises(RunError, match="is not a run directory"):
        train(task(home), tmp_path / "none", resume=True)
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcome": ""}, 'ips-grpo needs to know what a completion means.*outcome = "file.py'),
        ({"outcome": "", "method": "grpo", "stop_below": 2.0}, "stop_below needs to know"),
        ({"method": "grpo", "eps": 0.1}, "eps has no effect with method grpo, only with ips-grpo"),
        ({"method": "grpo", "alpha": 0.5}, "alpha has no effect"),
        ({"method": "flowrl", "estimator": "replay"}, "estimator has no effect"),
        ({"method": "grpo", "negative_rewards": "keep"}, "negative_rewards has no effect"),
        ({"flowrl_beta": 3.0}, "flowrl_beta has no effect with method ips-grpo, only with flowrl"),
        ({"flowrl_log_z": "table"}, "flowrl_log_z has no effect"),
        ({"load_in_4bit": True}, "freezes the weights, so set lora_rank"),
        ({"stop_below": 0.5}, "stop_below.*never stop.*1.5"),
        ({"method": "ppo"}, "method = 'ppo'"),
        ({"eps": 1.5}, "eps is 1.5"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": float("nan")}, "alpha = nan"),
        ({"seed": -1}, "seed = -1"),
        ({"lora_rank": -1}, "lora_rank = -1"),
        ({"lora_dropout": 1.0}, "lora_dropout = 1"),
        ({"flowrl_beta": 0.0, "method": "flowrl"}, "flowrl_beta = 0"),
        ({"outcomes": "x"}, "unknown key 'outcomes'; the nearest key is 'outcome'"),
        ({"trl": {"output_dir": "x"}}, "trl.output_dir is set by ipsrl itself. Use --out and seed"),
        ({"trl": {"seed": 3}}, "trl.seed is set by ipsrl itself"),
        ({"trl": {"data_seed": 3}}, "trl.data_seed is set by ipsrl itself"),
        ({"trl": {"run_name": None}}, "trl.*without a value"),
        ({"trl": {"learning_rate": float("nan")}}, "trl.*learning_rate.*finite"),
        ({"trl": {"save_only_model": True}}, "save_only_model.*--resume"),
        ({"trl": {"beta": 0.1}, "method": "flowrl"}, "trl.beta.*flowrl_beta"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(options, message, home) -> None:
    with pytest.raises(ConfigError, match=message):
        task(home, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trl": {"learning_rat": 1.0}}, "no key 'learning_rat'.*nearest is 'learning_rate'"),
        ({"trl": {"num_generation": 8}}, "nearest is 'num_generations'"),
        ({"trl": {"num_generations": 3}}, r"trl: .*\(8\) must be divisible by num_generations"),
        ({"trl": {"num_generations": 1}}, "trl: .*at least 2 generations"),
        ({"trl": {"eval_strategy": "sometimes"}}, "trl.*sometimes"),
        ({"trl": {"max_steps": "many"}}, "trl.max_steps = 'many'.*integer"),
        ({"trl": {"model_init_kwargs": 3}, "lora_rank": 2, "load_in_4bit": True},
         "trl.model_init_kwargs = 3"),
        ({"trl": {"num_iterations": 2, "save_steps": 3}}, "save_steps = 3.*multiple of 2.*resumed"),
        ({"trl": {"steps_per_generation": 4}}, "save_steps = 2.*multiple of 4"),
        ({"trl": {"multi_objective_aggregation": "normalize_then_sum"}}, "sum_then_normalize"),
        ({"trl": {"eval_strategy": "steps", "eval_steps": 2}}, "eval_dataset"),
        *(
            ({"trl": {"report_to": report}}, f"report_to.*{named}.*pip install")
            for report, named in (
                ("tensorboard", "tensorboard"), ("wandb", "wandb"), ("trackio", "trackio"),
                (["none", "mlflow"], "mlflow"), ("comet_ml", "comet_ml"),
            )
        ),
        ({"trl": {"report_to": "tensorbord"}}, "unknown; the nearest is 'tensorboard'"),
        ({"trl": {"report_to": ""}}, "unknown"),
        ({"trl": {"use_vllm": True}}, r'use_vllm.*pip install "trl\[vllm\]"'),
        ({"trl": {"use_liger_kernel": True}}, 'pip install "liger-kernel"'),
        ({"trl": {"deepspeed": "ds.json"}}, 'pip install "deepspeed"'),
        ({"trl": {"optim": "lomo"}}, "lomo.*pip install"),
        ({"trl": {"optim": "galore_adamw"}}, "(?i)galore.*pip install"),
        ({"trl": {"optim": "grokadamw"}}, "grokadamw.*pip install"),
        ({"trl": {"optim": "adamw_torch_8bit"}}, "torchao.*pip install"),
        ({"trl": {"optim": "adamw"}}, "adamw is not a valid"),
        ({"trl": {"optim_args": "nesterov"}}, "optimiser or its learning rates cannot begin"),
        ({"trl": {"learning_rate": -1.0}}, "trl.learning_rate = -1.0.*greater than or equal to 0"),
        ({"trl": {"adam_beta1": 1.0}}, "trl.adam_beta1 = 1.0.*less than 1"),
        ({"trl": {"lr_scheduler_type": "warmup_stable_decay"}}, "num_decay_steps"),
        ({"trl": {"lr_scheduler_kwargs": {"no_such": 1}}}, "no_such"),
        ({"trl": {"temperature": 0.0}}, "trl.temperature = 0.0.*greater than 0"),
        ({"trl": {"gradient_accumulation_steps": 0}}, "gradient_accumulation_steps = 0"),
        ({"trl": {"loss_type": "gpro"}}, "trl.loss_type = 'gpro'.*does not know it"),
        ({"trl": {"scale_rewards": "groups"}}, "trl.scale_rewards = 'groups'"),
        ({"trl": {"log_level": "loud"}}, "trl.log_level = 'loud'"),
        ({"trl": {"max_steps": 0}}, "trl.max_steps = 0 trains nothing"),
        ({"trl": {"per_device_train_batch_size": 32}},
         "has 3 prompts, but one generation takes 4.*nothing would be trained"),
        ({"dataset": "no-such-file.jsonl"}, "no-such-file.jsonl.*cannot be read.*JSONL or Parquet"),
        ({"dataset": "no-such-file.parquet"}, "no-such-file.parquet.*cannot be read"),
        ({"eval_dataset": "no-such-file.jsonl"}, "no-such-file.jsonl.*cannot be read"),
        ({"model": "./no-such-model"}, "no-such-model.*cannot be loaded"),
        ({"dataset": "prompts.csv"}, "prompts.csv' is no JSONL or Parquet file.*Convert it"),
        ({"dataset": "./prompts"}, "/prompts' is no JSONL or Parquet file"),
        ({"split": "test"}, "split = 'test' is of a hub data set; .*read as a whole"),
    ],
    ids=str,
)  # fmt: skip
def test_what_trl_or_the_files_cannot_do_is_refused_before_anything_is_written(
    options, message, home, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        train(task(home, **options), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


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


def test_steps_between_checkpoints_fit_the_generations_if_not_given(home, tmp_path) -> None:
    options = task(home, trl={"num_iterations": 3, "save_total_limit": 2}).model_dump()
    del options["trl"]["save_steps"]
    train(Config(**options), tmp_path / "run")
    state = json.loads((tmp_path / "run/trainer/checkpoint-6/trainer_state.json").read_bytes())
    assert state["save_steps"] == 51  # the first multiple of 3 from 50 on


KEYS = sorted(field.name for field in dataclasses.fields(GRPOConfig) if field.init)


def test_every_misspelt_key_is_refused_and_every_value_of_a_wrong_kind(home, tmp_path) -> None:
    """Each of TRL's and of ours, once with a letter too many and once with a list of lists."""
    good = task(home).model_dump()
    values = {(*place, name): value for place, keys in (((), Config.model_fields), (("trl",), KEYS))
              for key in keys for name, value in ((f"{key}x", 1), (key, [[1.5]]))}  # fmt: skip
    for place, value in values.items():
        changed = {**good, "trl": dict(TRL)}
        (changed["trl"] if len(place) == 2 else changed)[place[-1]] = value
        with pytest.raises(ConfigError, match=place[-1]):
            train(Config(**changed), tmp_path / "run")
    assert len(values) > 200
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_never_comes_is_refused(home, tmp_path) -> None:
    with pytest.raises(ConfigError, match="eval_dataset is never used. Set trl.eval_strategy"):
        train(task(home, eval_dataset=str(home / "prompts.jsonl")), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_undoes_scaling_is_nothing_to_other_methods(home, tmp_path) -> None:
    trl = {"multi_objective_aggregation": "normalize_then_sum", **SHORT}
    train(task(home, method="grpo", trl=trl), tmp_path / "run")


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 rows.*'prompt'"),
        (b"\n\n", "has 0 rows.*'prompt'"),
        (b'{"question": "a"}\n', r"columns \['question'\].*'prompt': a text, or a list"),
        (b'{"prompt": "a"', "cannot be read.*line 1"),
        (b'{"prompt": "a"}\n\n{"prompt": a}\n', "cannot be read.*line 3"),
        (b'{"prompt": [{"from": "user"}]}\n', "in row 0, but a message is .*role"),
        (b'{"prompt": ["a"]}\n', "in row 0, but a message is .*role"),
        (b'{"prompt": "\xff"}', "cannot be read.*utf-8"),
        (b"3\n", "cannot be read.*JSON object"),
        (b'["a"]\n', "cannot be read.*JSON object"),
        (b'{"prompt": 3}\n', "prompt 3 in row 0"),
        (b'{"prompt": null}\n', "prompt None in row 0"),
        (b'{"prompt": "a"}\n{"prompt": ""}\n', "prompt '' in row 1"),
        (b'{"prompt": "a"}\n{"other": "a"}\n', "prompt None in row 1"),
        (b'{"prompt": "a"}\n{"prompt": [{"role": "user", "content": "a"}]}\n', "cannot be read"),
    ],
    ids=str,
)
def test_data_without_prompts_are_refused_before_anything_is_written(
    content, message, home, tmp_path
) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        train(task(home, dataset=str(file)), tmp_path / "run")
    with pytest.raises(ConfigError, match=message):
        train(task(home, eval_dataset=str(file)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == [file]


def test_a_broken_parquet_file_is_refused(home, tmp_path) -> None:
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"prompt": PROMPTS}), file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"data\.parquet.*cannot be read"):
        train(task(home, dataset=str(file)), tmp_path / "run")
    pq.write_table(pa.table({"text": PROMPTS}), file)
    with pytest.raises(ConfigError, match=r"columns \['text'\]"):
        train(task(home, dataset=str(file)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == [file]


def test_the_command_explains_a_refusal_and_writes_nothing(home, tmp_path, capsys) -> None:
    options = words(task(home, trl={"learning_rat": 1}))
    assert main(["train", "llm", *options, "--out", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ipsrl train llm: trl has no key 'learning_rat'")
    assert list(tmp_path.iterdir()) == []


def test_two_lists_of_fields_are_refused(home, tmp_path, capsys) -> None:
    """The first would be forgotten."""
    options = [*words(task(home)), "--trl", "top_k=3", "--out", str(tmp_path / "run")]
    assert main(["train", "llm", *options]) == 1
    assert "all KEY=VALUE pairs after one --trl" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_is_no_pair_has_exit_code_2(home, tmp_path, capsys) -> None:
    options = [*words(task(home)), "top_k", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main(["train", "llm", *options])
    assert ended.value.code == 2
    assert "top_k" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- ipsrl diagnose, on a run -------------------------------------------------------------------


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
        ("reward", "raw_reward", 1),
    ):
        expected = [row[key] / scale + (scale == -1) for row in logged]
        # rewards are float32 numbers of order 1; the others are the same computation
        assert found[name] == pytest.approx(expected, rel=1e-6), name


def test_diagnose_of_a_run_without_outcomes_names_the_option(finished, capsys) -> None:
    assert main(["diagnose", str(finished("grpo-alone"))]) == 1
    assert "--outcome mod:fn" in capsys.readouterr().err


def test_a_reward_that_was_not_logged_is_none_and_not_0(home, tmp_path, capsys) -> None:
    logged = TrainerState(global_step=3, log_history=[{"reward": 0.25}, {"reward": 0.75}])
    assert _result(logged).reward == 0.5
    nothing = _result(TrainerState(global_step=3))
    assert nothing.reward is None
    with Run.create(tmp_path / "run", task(home)) as run:
        run.finish(dataclasses.asdict(nothing))
    assert main(["train", "llm", "--resume", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith("3 steps: reward none\n")
