"""Diagnosis of logged completions: laws, cases worked by hand, synthetic runs, real runs of TRL."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import ENUMERATION, FLOAT32_DRIFT, assert_close, peak_memory, steps
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from llm_logs import ALL, Share, diagnosed, log_of

from ipsrl import outcome_ids
from ipsrl.core.metrics import expected_distinct
from ipsrl.errors import InvalidInput
from ipsrl.llm.collapse import diagnose_completions, outcome_statistics
from ipsrl.llm.completions import outcome_keys, read_completions
from ipsrl.llm.summary import summary

groups_of_ids = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(-1, 4)
)

# --- statistics of a batch ----------------------------------------------------------------------


@given(groups_of_ids)
def test_statistics_count_what_counters_count(ids_PG: np.ndarray) -> None:
    counters = [Counter(group[group >= 0].tolist()) for group in ids_PG]
    counters = [counter for counter in counters if counter]
    expected = {
        "distinct": [len(counter) for counter in counters],
        "effective": [
            math.exp(-sum(n / c.total() * math.log(n / c.total()) for n in c.values()))
            for c in counters
        ],
        "inert_groups": [len(c) == c.total() > 1 for c in counters],
        "single_outcome_groups": [len(c) == 1 for c in counters],
    }
    statistics = outcome_statistics(ids_PG)
    assert statistics.pop("no_outcome") == np.mean(ids_PG == -1)
    assert list(statistics) == list(expected)
    for name, values in expected.items():
        assert_close(statistics[name], np.mean(values or [0.0]))


@given(groups_of_ids)
def test_statistics_are_bounded(ids_PG: np.ndarray) -> None:
    statistics = outcome_statistics(ids_PG)
    some = (ids_PG >= 0).any()
    assert some <= statistics["effective"] <= statistics["distinct"] <= ids_PG.shape[1]


@given(groups_of_ids, st.randoms())
def test_order_and_names_do_not_matter(ids_PG: np.ndarray, random: Any) -> None:
    names = random.sample(range(2**62), 5)
    renamed = np.array([*names, -1])[ids_PG]  # index -1 is the last: no outcome stays none
    shuffled = np.array([random.sample(list(group), len(group)) for group in renamed])
    expected = outcome_statistics(ids_PG)
    for name, value in outcome_statistics(random.sample(list(shuffled), len(shuffled))).items():
        assert_close(value, expected[name])


def test_statistics_worked_by_hand() -> None:
    ids_PG = np.array([[5, 5, 5, 7], [1, 2, -1, 3], [-1, -1, -1, -1]])
    # shares 3/4, 1/4: exp(-3/4 log 3/4 - 1/4 log 1/4) = 4 / 3^(3/4); and three equal ones: 3
    assert outcome_statistics(ids_PG) == {
        "distinct": (2 + 3) / 2,
        "effective": pytest.approx((4 / 3**0.75 + 3) / 2, rel=ENUMERATION),
        "inert_groups": 1 / 2,
        "single_outcome_groups": 0.0,
        "no_outcome": 5 / 12,
    }


def test_statistics_loop_over_no_group_and_no_member() -> None:
    ids_PG = outcome_ids(range(9))[np.random.default_rng(0).integers(0, 9, (4096, 16))]
    outcome_statistics(ids_PG)  # the first call imports
    few = steps(lambda: outcome_statistics(ids_PG[:4, :4]))
    # Many ids are sorted, a few are compared, which takes fewer steps.
    assert steps(lambda: outcome_statistics(ids_PG)) < 2 * few
    # A dozen arrays of 8 bytes for every id.
    assert peak_memory(lambda: outcome_statistics(ids_PG)) < 12 * 8 * ids_PG.size


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((2, 2)), "not outcome ids"),
        (np.zeros(4, int), r"shape \(4,\).*\(groups, group_size\)"),
        (np.zeros((4, 0), int), "no group"),
    ],
)
def test_statistics_refuse_what_are_no_groups(ids: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        outcome_statistics(ids)


# --- synthetic runs -----------------------------------------------------------------------------


def test_a_run_that_collapses_at_a_known_step(tmp_path: Path) -> None:
    d = diagnosed(tmp_path, log_of(lambda t: ALL if t < 30 else "a" * 8, 60))
    # Windows of 3 steps, bound 8 / 2: steps 28-30 have (8 + 8 + 1) / 3 = 5.7, 29-31 have 3.3.
    assert (d.verdict, d.collapsed_at) == ("collapsed", 30)
    assert (d.rows, d.prompts, d.groups, d.group_size, d.visits) == (960, 2, 120, 8, 60)
    assert_close([d.start, d.end], np.array([8.0, 1.0]))
    assert_close(d.effective, np.repeat([8.0, 1.0], 30))
    assert d.distinct_share == [1.0] * 30 + [1 / 8] * 30
    assert d.top_share == [1 / 8] * 30 + [1.0] * 30
    assert d.valid_share == [1.0] * 60
    assert_close(d.reward, np.arange(60) / 10)
    assert d.top_outcomes == ["a", *d.top_outcomes[1:]]
    assert sorted(d.top_outcomes) == list(ALL)
    assert d.top_starts == list(range(0, 60, 5))
    assert d.top_shares[0] == [1 / 8] * 6 + [1.0] * 6
    # A quarter has 15 steps of 8: 120 completions of each prompt.
    assert d.coverage["first"]["samples"] == [1, 2, 4, 8, 16, 32, 64]
    assert_close(
        d.coverage["first"]["distinct"], expected_distinct([15] * 8, [1, 2, 4, 8, 16, 32, 64])
    )
    assert_close(d.coverage["last"]["distinct"], np.ones(7))
    text = summary(d)
    assert "COLLAPSED at step 30: from 8.00 to 1.00 effective outcomes" in text
    assert "from a checkpoint before that step, with IPSGRPOTrainer" in text
    # Only our trainers log a raw reward, so there IPS was in use.


@pytest.mark.parametrize(
    ("groups", "steps", "verdict"),
    [
        (lambda t: ALL, 60, "did not collapse"),
        (lambda t: "a" * 8 if 20 <= t < 40 else ALL, 60, "did not collapse"),  # it came back
        (lambda t: "aaaabbcd" if t > 30 else "aabbccdd", 60, "did not collapse"),  # 4 to 3.4
        (lambda t: "aaaaaaab" if t > 30 else "aaaaabbb", 60, "collapsed"),  # 1.9 to 1.46
        (lambda t: "a" * 8, 60, "started collapsed"),
        (lambda t: "a" * 8 if t < 30 else ALL, 60, "started collapsed"),
        (lambda t: ALL if t < 5 else "a" * 8, 9, "too few steps"),
        (lambda t: "a" * 8, 9, "started collapsed"),
        (lambda t: ALL if t < 1 else "a" * 8, 600, "collapsed"),  # within the first window of 30
    ],
)
def test_verdicts(tmp_path: Path, groups: Share, steps: int, verdict: str) -> None:
    d = diagnosed(tmp_path, log_of(groups, steps))
    assert d.verdict == verdict
    assert (d.collapsed_at is not None) == (verdict == "collapsed")
    assert verdict.upper() in summary(d)


def test_names_and_the_order_in_a_group_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    groups = [rng.choice(list("aaabcd"), 8) for _ in range(20)]
    d = diagnosed(tmp_path, log_of(lambda t: groups[t].tolist(), 20))
    again = diagnosed(
        tmp_path, log_of(lambda t: [f"name {key}" for key in rng.permutation(groups[t])], 20)
    )
    assert_close(again.effective, np.array(d.effective))
    for quarter, curve in again.coverage.items():
        assert_close(curve["distinct"], np.array(d.coverage[quarter]["distinct"]))
    assert_close([again.start, again.end], np.array([d.start, d.end]))
    assert again.verdict == d.verdict


def test_completions_without_an_outcome_are_left_out(tmp_path: Path) -> None:
    groups = ["a", "b", None, None]
    d = diagnosed(tmp_path, log_of(lambda t: groups if t else [None] * 4, 12))
    assert d.effective == [None, *[pytest.approx(2.0)] * 11]
    assert d.valid_share == [0.0] + [0.5] * 11
    assert d.distinct_share[1:] == [0.5] * 11  # 2 of 4
    assert d.inert_groups == 1.0
    text = summary(d)
    assert "All outcomes differ in 100% of the groups" in text
    assert "Name a coarser outcome" in text


def test_ragged_groups_and_no_steps(tmp_path: Path) -> None:
    rows = [
        {"prompt": prompt, "completion": key, "outcome": key}
        for prompt, group in [("p", "ab"), ("q", "aabb"), ("p", "abcd"), ("q", "aaaa")]
        for key in group
    ]
    d = diagnosed(tmp_path, rows)
    assert d.steps == [0, 1, 2, 3]  # every group is one
    assert (d.groups, d.group_size, d.reward_name) == (4, 4, None)
    assert_close(d.effective, np.array([2.0, 2.0, 4.0, 1.0]))
    assert d.reward == [None] * 4
    assert "reward" not in summary(d)


def test_neighbouring_groups_of_a_prompt_are_cut_by_their_size(tmp_path: Path) -> None:
    rows = log_of(lambda t: "aaaabbbb", 10, prompts=1)  # two groups of 4 in each step
    assert diagnosed(tmp_path, rows).effective == [pytest.approx(2.0)] * 10
    cut = diagnosed(tmp_path, rows, group_size=4)
    assert cut.groups == 20
    assert_close(cut.effective, np.ones(10))
    with pytest.raises(InvalidInput, match="8 completions at step 0.*cannot be cut.*groups of 3"):
        diagnosed(tmp_path, rows, group_size=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (log_of(lambda t: [None, None], 3), "none of the 12 completions has an outcome"),
        (log_of(lambda t: "a", 3), "each of the 6 groups has one completion"),
    ],
)
def test_what_cannot_be_diagnosed(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        diagnosed(tmp_path, rows)


def test_the_json_holds_everything(tmp_path: Path) -> None:
    d = diagnosed(tmp_path, log_of(lambda t: "aabb" if t else [None] * 4, 12))
    stored = json.loads(d.json())
    assert stored == json.loads(json.dumps(dataclasses.asdict(d)))
    assert stored["effective"][0] is None


def test_diagnosis_needs_no_framework() -> None:
    """It runs where completions lie, without torch or transformers."""
    code = """if True:
        import sys
        import ipsrl.llm.collapse, ipsrl.llm.completions, ipsrl.functions, ipsrl.llm.summary
        heavy = {"torch", "transformers", "trl", "pandas", "matplotlib"} & set(sys.modules)
        sys.exit(", ".join(heavy) or 0)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- what TRL writes ----------------------------------------------------------------------------

FROM_TRL = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@FROM_TRL
def test_a_real_run_of_trl(tmp_path: Path) -> None:
    """GRPO collapses; the diagnosis of its files is what the monitor measured while it ran."""
    from tiny_grpo import outcome, reward, train

    from ipsrl.llm.monitor import CollapseMonitor

    monitor = CollapseMonitor(outcome)
    trainer = train(
        tmp_path,
        reward_funcs=[monitor.watch(reward)],
        callbacks=[monitor],
        max_steps=40,
        log_completions=True,
        num_completions_to_print=0,
    )
    files = sorted((tmp_path / "completions").glob("*.parquet"))
    assert len(files) == 40
    assert pq.read_schema(files[0]).names == ["step", "prompt", "completion", "reward", "advantage"]
    rows = read_completions([tmp_path])
    d = diagnose_completions(rows, outcome_keys(rows, outcome))
    assert (d.rows, d.groups, d.group_size) == (40 * 32, 80, 16)
    assert d.verdict == "collapsed"
    logged = [log for log in trainer.state.log_history if "loss" in log]
    assert d.effective == pytest.approx(  # TRL averages metrics in float32
        [log["outcomes/effective"] for log in logged], rel=FLOAT32_DRIFT
    )
    assert d.reward == pytest.approx([log["reward"] for log in logged], rel=FLOAT32_DRIFT)


@FROM_TRL
def test_a_real_run_of_ours_names_its_outcomes(tmp_path: Path) -> None:
    """IPS-GRPO logs outcome and raw_reward, so no function is needed; and it does not collapse."""
    from tiny_grpo import outcome, reward, train

    from ipsrl.llm import IPSGRPOTrainer

    train(
        tmp_path,
        reward_funcs=[reward],
        trainer=IPSGRPOTrainer,
        trainer_options={"outcome_fn": outcome},
        max_steps=40,
        log_completions=True,
        num_completions_to_print=0,
    )
    rows = read_completions([tmp_path])
    assert rows.reward_name == "raw_reward"
    d = diagnose_completions(rows, outcome_keys(rows, None))
    assert d.verdict == "did not collapse"
    assert max(value for value in d.reward if value is not None) <= 1.0
