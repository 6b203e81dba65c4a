"""Which completions are one group, whatever the order of the rows; and what cannot be told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipsrl.errors import InvalidInput
from ipsrl.llm.collapse import Diagnosis, diagnose_completions
from ipsrl.llm.completions import Completions, outcome_keys, read_completions
from ipsrl.llm.grouping import group_numbers
from ipsrl.llm.summary import summary

Row = dict[str, Any]


def write(path: Path, rows: list[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def diagnosed(*paths: Path, **options: Any) -> Diagnosis:
    rows = read_completions(paths)
    return diagnose_completions(rows, outcome_keys(rows, None), **options)


def uniform_log(steps: int = 30, prompts: int = 8, size: int = 8) -> list[Row]:
    """Outcomes are uniform over eight; rewards are sums that rounding makes depend on the order."""
    rng = random.Random(0)
    return [
        {
            "step": step,
            "prompt": f"p{prompt}",
            "completion": "x",
            "outcome": rng.choice("abcdefgh"),
            "quality": rng.random(),
            "style": rng.choice([0.1, 0.7, None]),
        }
        for step in range(steps)
        for prompt in range(prompts)
        for _ in range(size)
    ]


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """Another order, of the keys of a row too."""
    rng = random.Random(seed)
    return [dict(rng.sample(list(row.items()), len(row))) for row in rng.sample(rows, len(rows))]


# --- any order -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_shuffled_rows_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    rows = uniform_log()
    d = diagnosed(write(tmp_path / f"sorted.{kind}", rows))
    assert (d.groups, d.group_size, d.verdict) == (240, 8, "did not collapse")
    for seed in range(5):
        other = shuffled(rows, seed)
        again = diagnosed(write(tmp_path / f"{seed}.{kind}", other))
        assert again.json() == d.json()
        assert summary(again) == summary(d)
        halves = [write(tmp_path / f"{seed}-{i}.{kind}", other[i::2]) for i in range(2)]
        assert diagnosed(*halves).json() == d.json()


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    prompts = [
        "p", '"p"', "\ud800", [{"role": "user", "content": "p"}], [{"role": "user", "content": "q"}]
    ]  # fmt: skip
    row = st.fixed_dictionaries(
        {
            "step": st.sampled_from([-1, 0, 2**63, 2**64 - 2, 2**64 - 1]),
            "prompt": st.sampled_from(prompts),
            "completion": st.just("x"),
            "outcome": st.sampled_from(["a", "b", 1, True, None, [1, "a"]]),
            "first": st.none() | st.floats(-1, 1),
            "second": st.none() | st.floats(-1e3, 1e3),
        }
    )
    return draw(st.lists(row, min_size=1, max_size=40))


@given(logs(), st.integers(0, 2**32))
def test_no_order_changes_what_is_said(rows: list[Row], seed: int) -> None:
    def said(rows: list[Row]) -> str:
        column = {name: [row[name] for row in rows] for name in rows[0]}
        keys = [tuple(key) if isinstance(key, list) else key for key in column["outcome"]]
        rewards = np.array(column["first"], float) + np.array(column["second"], float)
        completions = Completions(
            column["prompt"], column["completion"], {}, np.array(column["step"], object), rewards,
            "first + second",
        )  # fmt: skip
        try:
            return diagnose_completions(completions, keys).json()
        except InvalidInput as error:
            return str(error)

    order = random.Random(seed).sample(rows, len(rows))
    assert said(order) == said(rows)


def test_a_prompt_of_messages_is_one_whatever_the_order_of_its_keys() -> None:
    one = [{"role": "user", "content": "p"}]
    other = [{"content": "p", "role": "user"}]
    text = json.dumps(one)  # a text is another prompt
    prompt_R, group_R = group_numbers([one, text, other, text], np.zeros(4, int), None)
    assert prompt_R.tolist() == group_R.tolist()
    assert prompt_R[0] == prompt_R[2] != prompt_R[1] == prompt_R[3]


# --- several groups of one prompt at one step ----------------------------------------------------


def with_a_prompt_twice() -> list[Row]:
    """Step 3 has two groups of p0: the first is all of one outcome, the second of another."""
    rows = uniform_log(steps=12, prompts=2)
    twice = [{**row, "outcome": key} for key in "ab" for row in rows[48:56]]
    return [*rows[:48], *twice[:8], *rows[56:64], *twice[8:], *rows[64:]]


def test_groups_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    for seed in range(3):
        path = write(tmp_path / "log.jsonl", shuffled(with_a_prompt_twice(), seed))
        message = "'p0' has 16 completions at step 3, and most others have 8.*--group-size 8;.* 16"
        with pytest.raises(InvalidInput, match=message):
            diagnosed(path)
        assert diagnosed(path, group_size=16).groups == 24  # if they are one group
        with pytest.raises(InvalidInput, match="at step 3 with others between.*order in which"):
            diagnosed(path, group_size=8)


def test_the_order_of_the_log_tells_them_apart(tmp_path: Path) -> None:
    d = diagnosed(write(tmp_path / "log.jsonl", with_a_prompt_twice()), group_size=8)
    assert (d.groups, d.group_size) == (25, 8)
    # p1 at step 3 as in the log without them; p0 has two groups of one outcome.
    whole = diagnosed(write(tmp_path / "all.jsonl", with_a_prompt_twice()), group_size=16)
    assert d.effective[3] is not None
    assert whole.effective[3] is not None
    p1 = 2 * whole.effective[3] - 2  # the mean of p1 and of a and b at 1 : 1
    assert d.effective[3] == pytest.approx((p1 + 1 + 1) / 3)
    assert d.effective[:3] + d.effective[4:] == whole.effective[:3] + whole.effective[4:]


def test_ragged_groups_need_no_size() -> None:
    """Some completions were dropped; with twice as many as the others it would be two groups."""
    steps, prompts = np.zeros(21, int), ["p"] * 8 + ["q"] * 8 + ["r"] * 5
    assert group_numbers(prompts, steps, None)[1].tolist() == [0] * 8 + [1] * 8 + [2] * 5
    assert group_numbers(prompts, steps, 8)[1].tolist() == [0] * 8 + [1] * 8 + [2] * 5


@pytest.mark.parametrize("size", [-1, 0, 1, 9])
def test_a_size_that_no_group_has_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=f"--group-size is {size}, but"):
        group_numbers(["p"] * 8, np.zeros(8, int), size)


def test_images_that_were_not_logged_need_a_size() -> None:
    """TRL leaves of an image that there was one: two prompts may look the same."""
    asked = {"type": "text", "text": "What is it?"}
    prompt = [{"role": "user", "content": [{"type": "image"}, asked]}]
    rows = [*[json.loads(json.dumps(prompt)) for _ in range(8)]]
    with pytest.raises(InvalidInput, match="image that was not logged.*--group-size"):
        group_numbers(rows, np.zeros(8, int), None)
    assert group_numbers(rows, np.zeros(8, int), 4)[1].tolist() == [0] * 4 + [1] * 4
    named = [{"role": "user", "content": [{"type": "image", "image": "cat.png"}, asked]}]
    assert group_numbers([named] * 4, np.zeros(4, int), None)[1].tolist() == [0] * 4


# --- no steps ------------------------------------------------------------------------------------


def without_steps(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "step"} for row in rows]


def test_shuffled_rows_without_steps_are_refused(tmp_path: Path) -> None:
    rows = without_steps(uniform_log())
    assert diagnosed(write(tmp_path / "log.jsonl", rows)).groups == 240
    for seed in range(5):
        path = write(tmp_path / "log.jsonl", shuffled(rows, seed))
        with pytest.raises(InvalidInput, match="one completion.*Add the column step"):
            diagnosed(path)
        with pytest.raises(InvalidInput, match="cannot be cut into whole groups of 8"):
            diagnosed(path, group_size=8)


def test_a_prompt_twice_in_a_row_without_steps(tmp_path: Path) -> None:
    rows = without_steps(uniform_log(steps=12))
    path = write(tmp_path / "log.jsonl", [*rows[:8], *rows[:8], *rows[8:]])
    with pytest.raises(InvalidInput, match="'p0' has 16 completions from row 0 on.*--group-size 8"):
        diagnosed(path)
    assert diagnosed(path, group_size=8).groups == 97


# --- what one completion tells -------------------------------------------------------------------


def test_a_group_with_one_outcome_is_no_evidence(tmp_path: Path) -> None:
    """Beside two groups of eight outcomes, one has lost all completions but one, one all keys."""
    rows = [
        {"step": step, "prompt": prompt, "completion": "x", "outcome": key}
        for step in range(20)
        for prompt, keys in {
            "p": list("abcdefgh"), "q": list("abcdefgh"), "r": ["a"], "s": ["a", *[None] * 7]
        }.items()
        for key in keys
    ]  # fmt: skip
    d = diagnosed(write(tmp_path / "log.jsonl", rows))
    assert (d.verdict, d.start, d.end) == ("did not collapse", pytest.approx(8), pytest.approx(8))


def test_no_verdict_from_outcomes_that_have_none_beside_them(tmp_path: Path) -> None:
    rows = [{**row, "outcome": "a" if i % 8 == 0 else None} for i, row in enumerate(uniform_log())]
    with pytest.raises(InvalidInput, match="none of the 240 groups has two.*outcome function"):
        diagnosed(write(tmp_path / "log.jsonl", rows))


def test_most_groups_of_one_are_refused(tmp_path: Path) -> None:
    rows = uniform_log()
    rows = [row for i, row in enumerate(rows) if i % 8 == 0 or i % 64 < 8]  # one whole of eight
    with pytest.raises(InvalidInput, match="210 of the 240 groups have one completion"):
        diagnosed(write(tmp_path / "log.jsonl", rows))


def test_a_collapse_among_few_outcomes_is_doubted(tmp_path: Path) -> None:
    """From step 15 on, six of eight completions have no outcome."""
    rows = [
        {"step": step, "prompt": "p", "completion": "x", "outcome": key}
        for step in range(30)
        for key in ("abcdefgh" if step < 15 else ["a", "b", *[None] * 6])
    ]
    d = diagnosed(write(tmp_path / "log.jsonl", rows))
    assert d.verdict == "collapsed"
    assert "only 25% of the completions have an outcome in those steps" in summary(d)
    started = diagnosed(write(tmp_path / "log.jsonl", [
        {**row, "outcome": row["outcome"] and "a"} for row in rows if row["step"] >= 15
    ]))  # fmt: skip
    assert started.verdict == "started collapsed"
    assert "only 25%" in summary(started)


def test_steps_of_groups_of_one_are_not_passed_over(tmp_path):
    """Their prompts were sampled once, or their groups cut: nothing can be said of them."""

    def rows(alone: int):
        for step in range(30):
            for prompt in "pq":
                for i in range(1 if step >= 30 - alone else 4):
                    yield {"step": step, "prompt": prompt, "completion": str(i), "outcome": i % 3}

    def diagnosed(alone: int):
        path = tmp_path / f"{alone}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows(alone)))
        read = read_completions([path])
        return diagnose_completions(read, outcome_keys(read, None))

    with pytest.raises(
        InvalidInput, match="at 10 steps, such as 20, each prompt has one completion"
    ):
        diagnosed(10)
    few = diagnosed(2)  # a log that was cut off
    assert (few.alone, few.groups) == (4, 60)
    assert "groups 60 of 4 (of one completion, and not compared: 4)" in summary(few)
    assert diagnosed(0).alone == 0
