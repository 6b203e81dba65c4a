"""Whatever the workers do, every call ends in one status, the budget is exact, nothing stays."""

import itertools
import json
import math
import os
import random
import signal
from collections import Counter
from contextlib import suppress

import numpy as np
import pyarrow.parquet as pq
import pytest
from faulty import SPEC, assert_none_left, fate, molecules
from helpers import HANGS, promised
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import files, kill_and_resume

from ipsrl.molecules import ComponentConfig, Scoring, TransformConfig, train
from ipsrl.molecules.component import Failure, Timeout
from ipsrl.molecules.execution.processes import Processes, Worker
from ipsrl.molecules.search.oracle import Oracle, Status
from ipsrl.runs import Run

STATUS = {
    "fine": Status.VALID, "crash": Status.FAILED, "no number": Status.FAILED,
    "garbage": Status.FAILED, "hang": Status.TIMEOUT, "native hang": Status.TIMEOUT,
}  # fmt: skip


@pytest.fixture
def mark(monkeypatch, tmp_path):
    monkeypatch.setenv("MARK", str(tmp_path))
    yield
    assert_none_left(str(tmp_path))


# --- promise 10: the laws of every answer ---------------------------------------------------------

# What a component may answer: numbers, also such as are 0, and no number in several ways.
ANSWERS = st.sampled_from([0.0, 0.25, 1.0, Failure("broken"), Timeout("late")])
TEXTS = ["C", "CC", "CCC", "CO", "CN", "c1ccccc1"]


class Table:
    """A component that answers what the test says."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def __call__(self, smiles):
        self.asked += smiles
        return [self.answers[TEXTS.index(text)] for text in smiles]


@pytest.mark.promise(number=10)
def test_statuses_add_up_and_a_failure_is_no_reward(record_property):
    searches, counts = promised(5_000, 100), Counter[Status]()
    settings(max_examples=searches, deadline=None)(check_statuses)(counts)
    assert set(counts) == set(Status)
    found = ", ".join(f"{counts[status]} {status.value}" for status in Status)
    record_property("figure", f"{counts.total()} calls ({found}) of {searches} random scorings")


@given(
    tables=st.lists(
        st.lists(ANSWERS, min_size=len(TEXTS), max_size=len(TEXTS)), min_size=1, max_size=3
    ),
    elsewhere=st.lists(st.booleans(), min_size=3, max_size=3),
    batches=st.lists(st.lists(st.sampled_from(TEXTS), max_size=8), max_size=5),
    budget=st.integers(1, 8),
    aggregation=st.sampled_from(["product", "geometric-mean"]),
)
def check_statuses(counts, tables, elsewhere, batches, budget, aggregation):
    configs = [ComponentConfig(kind="qed", name=f"part{i}") for i in range(len(tables))]
    scoring = Scoring(configs, aggregation)
    scoring.components = [Table(table) for table in tables]
    # Workers only mean here: last, and only if needed.
    scoring.configs = [
        part.model_copy(update={"workers": int(slow)})
        for part, slow in zip(configs, elsewhere, strict=False)
    ]
    oracle = Oracle(scoring, budget)
    for batch in batches:
        answers = oracle(batch)
        assert len(answers) == len(batch)
        for text, call in zip(batch, answers, strict=True):
            assert call is None or call.smiles == text
    calls = oracle.calls
    asked = {text for batch in batches for text in batch}
    counts += Counter(call.status for call in calls)
    assert len(calls) == len({call.smiles for call in calls}) == min(budget, len(asked))
    assert oracle.left == budget - len(calls)
    assert [call.number for call in calls] == list(range(1, len(calls) + 1))
    for call in calls:
        assert (call.status is Status.VALID) == np.isfinite(call.reward) == (not call.reason)
        column = [table[TEXTS.index(call.smiles)] for table in tables]
        decided = expectation(column, elsewhere)
        if isinstance(decided, Failure):
            late = isinstance(decided, Timeout)
            assert call.status is (Status.TIMEOUT if late else Status.FAILED)
            assert call.reason.endswith(decided.reason)
        else:
            power = 1 / len(column) if aggregation == "geometric-mean" else 1
            assert call.status is Status.VALID
            assert call.reward == pytest.approx(decided**power)


def expectation(column, elsewhere) -> float | Failure:
    """Product of the values, or what decides before all of them are known."""
    parts = list(zip(column, elsewhere, strict=False))
    quick = [value for value, slow in parts if not slow]
    for value in quick:
        if isinstance(value, Failure):
            return value
    reward = math.prod(quick)
    for value in (value for value, slow in parts if slow):
        if reward == 0:
            return 0.0
        if isinstance(value, Failure):
            return value
        reward *= value
    return reward


def test_workers_are_asked_only_for_what_is_not_decided():
    """C is 0 by a quick component, CC failed there, CCC is 0 by the first worker."""
    tables = [Table(row) for row in (
        [1.0, 1.0, 0.0, 0.5, 1.0, 1.0],  # a worker
        [0.0, Failure("broken"), 0.5, 0.5, 1.0, 1.0],  # quick
        [1.0, 1.0, 1.0, Timeout("late"), 1.0, 1.0],  # a worker
    )]  # fmt: skip
    configs = [ComponentConfig(kind="qed", name=name) for name in ("first", "quick", "last")]
    scoring = Scoring(configs, "product")
    scoring.components = tables
    slow = {"workers": 1}
    scoring.configs = [
        configs[0].model_copy(update=slow),
        configs[1],
        configs[2].model_copy(update=slow),
    ]
    scores = scoring(TEXTS[:5])
    assert [table.asked for table in tables] == [["CCC", "CO", "CN"], TEXTS[:5], ["CO", "CN"]]
    np.testing.assert_array_equal(scores.rewards, [0, np.nan, 0, np.nan, 1])
    assert [failure and type(failure) for failure in scores.failures] == [
        None,
        Failure,
        None,
        Timeout,
        None,
    ]
    np.testing.assert_array_equal(scores.raw["first"], [np.nan, np.nan, 0, 0.5, 1])
    # `always` asks it for all, and then a failure of it counts
    scoring.configs[2] = configs[2].model_copy(update=slow | {"always": True})
    scoring(TEXTS[:5])
    assert tables[2].asked[2:] == TEXTS[:5]


# --- promise 8: real processes --------------------------------------------------------------------


@pytest.fixture
def short_for_what_hangs(monkeypatch):
    """What shall answer has all the time that a slow machine needs.

    A hang in Python brings its limit forward by itself (faulty.py).
    """
    ask = Worker.ask

    def patient(worker: Worker, smiles: str) -> float | Failure:
        worker._lines.timeout = 2.0 if fate(smiles) == "native hang" else HANGS
        return ask(worker, smiles)

    monkeypatch.setattr(Worker, "ask", patient)


def kill_now_and_then(component: Processes, kills: int, calls: int) -> list[int]:
    """Workers are killed from outside, at moments among so many calls; returns who was killed."""
    rng, numbers, ask = random.Random(0), itertools.count(), component._ask
    moments = sorted(rng.sample(range(calls * 9 // 10), kills))
    killed: list[int] = []

    def asked(smiles: str) -> float | Failure:
        number = next(numbers)
        programs = [worker._lines._program for worker in component._workers]
        running = [program.pid for program in programs if program is not None]
        if running and len(killed) < kills and moments[len(killed)] <= number:
            pid = rng.choice(running)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return ask(smiles)

    component._ask = asked
    return killed


def every_call_is_accounted_for(calls: int) -> dict[str, int]:
    """10 % crash, 5 % hang, 5 % answer garbage, and 1 % are killed from outside."""
    component = ComponentConfig(
        kind="function", function=SPEC, name="faulty", workers=4, timeout=HANGS, retries=1,
        transform=TransformConfig(kind="sigmoid", low=0.0, high=40.0),
    )  # fmt: skip
    asked = molecules(calls + 20)
    rng = random.Random(0)
    with Scoring([component], "product") as scoring:
        oracle = Oracle(scoring, calls)
        killed = kill_now_and_then(scoring.components[0], calls // 100, calls)
        for first in range(0, len(asked), 64):
            batch = asked[first : first + 64] + rng.choices(asked[: first + 64], k=8)
            rng.shuffle(batch)
            answers = oracle(batch)
            for text, call in zip(batch, answers, strict=True):
                assert call is None or call.smiles == text
    assert len(oracle.calls) == calls  # none lost, none double, not one too many
    assert oracle.left == 0
    assert len({call.smiles for call in oracle.calls}) == calls
    unexpected = []
    for call in oracle.calls:
        assert (call.status is Status.VALID) == np.isfinite(call.reward) == (not call.reason)
        if call.status is Status.VALID:
            assert call.raw == (len(call.smiles),)  # no other's answer
        if call.status is not STATUS[fate(call.smiles)]:
            unexpected.append(call)
    # Who was killed from outside is asked again, and may then hang, or die of itself.
    assert all("code -9" in call.reason for call in unexpected)
    assert len(unexpected) <= len(killed)
    return Counter(call.status.value for call in oracle.calls) | {"killed": len(killed)}


@pytest.mark.promise(number=8)
def test_calls_under_faults(mark, short_for_what_hangs, record_property):
    calls = promised(10_000, 300)
    counts = every_call_is_accounted_for(calls)
    assert counts["killed"] >= 0.9 * (calls // 100)
    found = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    record_property("figure", f"{calls} calls ({found}): 0 lost, 0 twice")


# --- whole runs -----------------------------------------------------------------------------------


def test_a_run_under_faults_ends_exactly_and_says_so(
    config,
    tmp_path,
    mark,
    short_for_what_hangs,
    capsys,
):
    faulty = ComponentConfig(
        kind="function", function=SPEC, name="faulty", workers=2, timeout=HANGS, retries=0,
        transform=TransformConfig(kind="sigmoid", low=0.0, high=40.0),
    )  # fmt: skip
    chosen = config(components=[ComponentConfig(kind="qed"), faulty])
    result = train(chosen, tmp_path / "run")
    calls = pq.read_table(tmp_path / "run" / "calls.parquet").to_pylist()
    assert result.ended == "budget"
    assert result.calls == len(calls) == chosen.budget
    expected = Counter(STATUS[fate(call["smiles"])].value for call in calls)
    assert Counter(call["status"] for call in calls) == expected
    assert (result.failed, result.timeouts) == (expected["failed"], expected["timeout"])
    assert result.failed > 0
    assert result.timeouts > 0
    for call in calls:
        if call["status"] != "valid":
            assert call["reward"] is call["penalised"] is call["faulty"] is None
            assert call["qed"] is not None
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["failed"] + written["timeouts"] == result.failed + result.timeouts
    last = Run.open(tmp_path / "run").metrics()[-1]
    assert (last["failed"], last["timeouts"]) == (result.failed, result.timeouts)
    assert written["reasons"] == result.reasons
    text = capsys.readouterr().err
    lost = result.failed + result.timeouts
    assert f"WARNING: {lost} of {chosen.budget} oracle calls ({lost / chosen.budget:.1%})" in text
    for reason, count in result.reasons.items():
        assert f"{count}  {reason}" in text


USER = """
import time

def slow(smiles):
    time.sleep(0.02 * (len(smiles[0]) % 5))  # answers come in another order than the questions
    return [len(text) / 40 for text in smiles]
"""


def test_workers_and_a_stop_change_no_byte(config, tmp_path, mark, monkeypatch):
    (tmp_path / "user.py").write_text(USER)
    mine = {"kind": "function", "function": f"{tmp_path}/user.py:slow", "name": "mine"}
    base = {"budget": 40, "checkpoint_every": 1}
    train(config(components=[ComponentConfig(**mine)], **base), tmp_path / "whole")
    log = Run.log

    def stopping(run, rows):
        rows = list(rows)
        log(run, rows)
        if rows[0]["step"] == 2:
            raise KeyboardInterrupt

    chosen = config(components=[ComponentConfig(workers=2, **mine)], **base)
    monkeypatch.setattr(Run, "log", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, tmp_path / "parts")
    monkeypatch.undo()
    assert_none_left(str(tmp_path))
    train(chosen, tmp_path / "parts", resume=True)
    whole, parts = files(tmp_path / "whole"), files(tmp_path / "parts")
    assert whole.pop("config.toml") != parts.pop("config.toml")
    assert parts == whole


@pytest.mark.slow
def test_killed_and_resumed_with_workers(config, tmp_path, mark):
    (tmp_path / "user.py").write_text(USER)
    mine = ComponentConfig(kind="function", function=f"{tmp_path}/user.py:slow", workers=2)
    kill_and_resume(config(components=[mine], checkpoint_every=1), tmp_path, 1)
