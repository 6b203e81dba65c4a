"""The loop: exact budgets, honest accounts, and the same bytes after a death."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from searches import METHODS, files, kill_and_resume

from ipsrl.cli import main
from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules import (
    ComponentConfig,
    Prior,
    Scoring,
    Sequences,
    TransformConfig,
    train,
)
from ipsrl.molecules.molecule import canonical, scaffold
from ipsrl.molecules.search.loop import IDLE
from ipsrl.runs import Run

USER = """
def fails_at_times(smiles):
    return [float("nan") if "N" in text else 0.7 for text in smiles]

def slow(smiles):
    import time
    time.sleep(0.05)
    return [len(text) / 40 for text in smiles]
"""

PROGRAM = """
import json, sys

for line in sys.stdin:
    text = json.loads(line)["smiles"]
    error = {"error": f'=no "licence",\\nfor {text}'}
    print(json.dumps(error if "N" in text else {"value": len(text) / 40}))
"""


class Stop(Exception):
    pass


# --- accounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_method_spends_the_budget_exactly(config, tmp_path, name):
    chosen = config(**METHODS[name])
    result = train(chosen, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    rows = run.metrics()
    assert result.ended == "budget"
    assert result.calls == len(calls) == chosen.budget
    assert [call["call"] for call in calls] == list(range(1, chosen.budget + 1))
    assert len({call["smiles"] for call in calls}) == chosen.budget  # a repeat costs nothing
    assert sum(row["new"] for row in rows) == chosen.budget
    assert {(row["failed"], row["timeouts"]) for row in rows} == {(0, 0)}
    assert result.steps == len(rows) == calls[-1]["step"]
    assert result.samples == result.steps * chosen.batch
    assert result.invalid == round(sum((1 - row["valid"]) * chosen.batch for row in rows))
    assert all(np.isfinite(row["loss"]) for row in rows)
    scaled = [(row["ips/reward"], row["penalised"]) for row in rows if "ips/reward" in row]
    assert bool(scaled) == (chosen.method == "ips-grpo")
    assert all(more >= less for more, less in scaled)  # p^ <= 1
    hits = [call for call in calls if call["reward"] > chosen.threshold]
    assert result.hits == len(hits) == rows[-1]["hits"]
    assert result.scaffolds == len({call["scaffold"] for call in hits})
    assert result.ob100 is None
    assert result.best == max(call["reward"] for call in calls)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["calls"] == chosen.budget


def test_the_tables_hold_what_was_computed(config, tmp_path):
    train(config(), tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    scoring = Scoring([ComponentConfig(kind="qed")], "geometric-mean")
    scores = scoring([call["smiles"] for call in calls])
    for call, reward in zip(calls, scores.rewards, strict=True):
        assert canonical(call["smiles"]) == call["smiles"]
        assert call["scaffold"] == scaffold(call["smiles"])
        assert (call["status"], call["reason"]) == ("valid", "")
        assert call["reward"] == pytest.approx(call["qed"]) == pytest.approx(reward)
        assert call["penalised"] in (0, call["reward"])
    lines = (tmp_path / "run" / "molecules.smi").read_text().splitlines()
    rewards = [float(line.split()[1]) for line in lines]
    assert rewards == sorted(rewards, reverse=True)
    assert len(rewards) == sum(call["reward"] > 0.55 for call in calls)


def test_both_tables_agree_in_every_cell(config, tmp_path):
    """Also those of calls that failed, for reasons that need quotes."""
    (tmp_path / "program.py").write_text(PROGRAM)
    program = ComponentConfig(
        kind="program", name="mine", command=[sys.executable, str(tmp_path / "program.py")]
    )
    train(config(components=[ComponentConfig(kind="qed"), program], budget=30), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "calls.parquet")
    with (tmp_path / "run" / "calls.csv").open(newline="") as file:
        names, *lines = csv.reader(file)
    assert names == table.column_names
    texts = [i for i, field in enumerate(table.schema) if str(field.type) == "string"]
    formulas = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
    assert not any(name.startswith(formulas) for name in names)
    assert not any(line[i].startswith(formulas) for line in lines for i in texts)
    read = {"int64": int, "double": float, "string": str}
    kinds = [read[str(field.type)] for field in table.schema]
    found = [
        [kind(cell) if cell or kind is str else None for kind, cell in pairs]
        for pairs in (zip(kinds, line, strict=True) for line in lines)
    ]
    assert found == [list(call.values()) for call in table.to_pylist()]
    failed = [call for call in table.to_pylist() if call["status"] == "failed"]
    assert 0 < len(failed) < len(found) == 30
    for call in failed:
        assert call["reward"] is call["penalised"] is call["mine"] is None
        assert call["reason"] == f'mine: =no "licence",\nfor {call["smiles"]}'


def test_the_filter_pays_each_scaffold_so_often(config, tmp_path):
    train(config(bucket=3, budget=150), tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    before: dict[str, int] = {}  # molecules of earlier batches; repeats count too, so at least
    for step in sorted({call["step"] for call in calls}):
        batch = [call for call in calls if call["step"] == step]
        for call in batch:
            if before.get(call["scaffold"], 0) >= 3:
                assert call["penalised"] == 0
        for call in batch:
            before[call["scaffold"]] = before.get(call["scaffold"], 0) + 1
    assert any(call["penalised"] == 0 for call in calls)


def test_failures_cost_a_call_and_are_no_reward(config, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    mine = ComponentConfig(
        kind="function", name="mine", function=f"{tmp_path}/user.py:fails_at_times"
    )
    result = train(config(components=[mine]), tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    failed = [call for call in calls if call["status"] == "failed"]
    assert result.failed == len(failed) == sum("N" in call["smiles"] for call in calls) > 0
    for row in Run.open(tmp_path / "run").metrics():  # all so far, so that a page can say it
        assert row["failed"] == sum(call["step"] <= row["step"] for call in failed)
    for call in failed:
        assert call["reward"] is call["penalised"] is call["mine"] is None
        assert "not a finite number" in call["reason"]
    assert result.calls == 60


def test_it_learns(config, tmp_path):
    """More molecules with nitrogen, if that is what is paid."""
    nitrogen = ComponentConfig(
        kind="smarts", smarts=["[#7]"], transform=TransformConfig(kind="step", low=1.0)
    )
    for method in ("reinvent", "ips-grpo"):
        chosen = config(components=[nitrogen], method=method, budget=120, bucket=0, lr=1e-3)
        train(chosen, tmp_path / method)
        rewards = [row["reward"] for row in Run.open(tmp_path / method).metrics()]
        assert np.mean(rewards[-3:]) > np.mean(rewards[:3])


def test_an_agent_that_finds_nothing_new_comes_to_an_end(config, tmp_path, monkeypatch):
    """A prior that knows a single molecule: it spends one call, and stops."""

    def ethanol(prior, count, generator):
        return Sequences(ids := prior.encode(["CCO"] * count), torch.zeros(ids.shape))

    monkeypatch.setattr(Prior, "sample", ethanol)
    result = train(config(batch=4, augmentations=0), tmp_path / "run")
    assert (result.calls, result.ended, result.steps) == (1, "idle", IDLE + 1)


def test_a_search_without_one_value_has_failed(config, tmp_path, capsys):
    (tmp_path / "user.py").write_text("def f(smiles):\n    raise SystemExit('no licence')\n")
    mine = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:f")
    (tmp_path / "c.toml").write_text(config(components=[mine], budget=8).dump())
    words = ["train", "molecules", "--config", str(tmp_path / "c.toml"), "--out"]
    assert main([*words, str(tmp_path / "run")]) == 1
    told = capsys.readouterr()
    assert "WARNING: 8 of 8 oracle calls (100.0%) have no value" in told.err
    assert "SystemExit: no licence" in told.err
    assert "best reward none" in told.out
    result = Run.open(tmp_path / "run").result()
    assert (result["calls"], result["failed"], result["best"]) == (8, 8, None)
    assert {line["reward"] for line in Run.open(tmp_path / "run").metrics()} == {None}


# --- the same bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reinvent", "replay", "kernel", "exemplars", "decorated"])
def test_resumed_is_uninterrupted(config, tmp_path, monkeypatch, name):
    chosen = config(**METHODS[name])
    train(chosen, tmp_path / "whole")
    log = Run.log

    def stopping(run, rows):
        rows = list(rows)
        log(run, rows)
        if rows[0]["step"] == 3:
            raise Stop

    monkeypatch.setattr(Run, "log", stopping)
    with pytest.raises(Stop):
        train(chosen, tmp_path / "parts")
    monkeypatch.undo()
    train(chosen, tmp_path / "parts", resume=True)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_seeds_differ_and_repeat(config, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(seed=seed, budget=20), tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["calls.csv"] != files(tmp_path / "c")["calls.csv"]


@pytest.mark.promise(number=7)
def test_another_process_with_another_hash_seed_gives_the_same_files(
    config, tmp_path, record_property
):
    chosen = config(**METHODS["replay"])
    train(chosen, tmp_path / "here")
    (tmp_path / "config.toml").write_text(chosen.dump())
    subprocess.run(
        [sys.executable, "-m", "ipsrl", "train", "molecules",
         "--config", tmp_path / "config.toml", "--out", tmp_path / "elsewhere"],
        check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "4242"},
    )  # fmt: skip
    assert files(tmp_path / "elsewhere") == files(tmp_path / "here")
    record_property("figure", f"molecules: {len(files(tmp_path / 'here'))} files")


def test_killed_and_resumed(config, tmp_path):
    (tmp_path / "user.py").write_text(USER)
    mine = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:slow")
    kill_and_resume(config(components=[mine], checkpoint_every=1), tmp_path, 1)


@pytest.mark.slow
@pytest.mark.promise(number=5)
def test_killed_twenty_times(config, tmp_path, record_property):
    (tmp_path / "user.py").write_text(USER)
    mine = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:slow")
    chosen = config(components=[mine], checkpoint_every=1, budget=400, **METHODS["replay"])
    record_property("figure", kill_and_resume(chosen, tmp_path, 20))


# --- refusals -------------------------------------------------------------------------------------


def test_refusals_come_before_any_work(config, tmp_path):
    with pytest.raises(InvalidInput, match="is not a prior"):
        train(config(prior=str(tmp_path)), tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"\[U\].*was not taught"):
        train(config(decorate="CC(*)[U]", augmentations=0), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(config(budget=5), tmp_path / "run")
    with pytest.raises(RunError, match="holds a run already"):
        train(config(budget=5), tmp_path / "run")
    with pytest.raises(RunError, match="another configuration"):
        train(config(budget=6), tmp_path / "run", resume=True)
