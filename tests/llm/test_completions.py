"""Files of completions: read as they are meant, or refused with one clear sentence."""

from __future__ import annotations

import json
import math
import os
import random
import reprlib
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import assert_close
from llm_logs import write

from ipsrl.cli import main
from ipsrl.errors import InvalidInput
from ipsrl.llm.collapse import diagnose_completions
from ipsrl.llm.completions import outcome_keys, read_completions

ROW = {"step": 0, "prompt": "p", "completion": "x", "outcome": "a", "reward": 1.0}
ENDS = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r")  # of lines, for str.splitlines


def lines(*rows: dict[str, Any], ascii: bool = True) -> str:
    return "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows)


def row_with(name: str, text: str) -> str:
    """A line that has this JSON under this name."""
    return lines({**ROW, name: "HERE"}).replace('"HERE"', text)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        read_completions([path], **options)
    message = str(refused.value)
    assert len(message) < 2000
    return message


# --- files ----------------------------------------------------------------------------------------

ROWS = [
    {"step": 2, "prompt": "p", "completion": "b", "quality": 0.5, "style": None, "advantage": 0.0},
    {"step": 2, "prompt": "p", "completion": "a", "quality": 1.0, "style": 0.25, "advantage": 0.0},
    {"step": 1, "prompt": "p", "completion": "a", "quality": 0.0, "style": 0.25, "advantage": 0.0},
]


def test_rewards_add_up_as_trl_adds_them(tmp_path: Path) -> None:
    """Where one function gave None, the others decide; where all did, there is no reward."""
    given = [(0.5, 1.0), (None, 1.0), (0.5, None), (None, None)]
    rows = [{**ROWS[0], "quality": one, "style": other} for one, other in given]
    rewards = read_completions([write(tmp_path / "log.jsonl", rows)]).rewards
    np.testing.assert_array_equal(rewards, [1.5, 1.0, 0.5, np.nan])


def test_one_file_several_and_folders_read_alike(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", ROWS)
    folder = tmp_path / "run" / "completions"
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table.slice(0, 2), folder / "completions_00002.parquet")
    pq.write_table(table.slice(2), folder / "completions_00001.parquet")
    (folder / "README.md").write_text("TRL's hub card")
    for paths in ([file], [folder], [folder.parent], [*folder.glob("*.parquet")], [folder] * 2):
        rows = read_completions(paths)
        assert rows.completions == ["a", "b", "a"]  # sorted by step
        assert rows.steps is not None
        assert rows.steps.tolist() == [1, 2, 2]
        assert rows.reward_name == "quality + style"
        np.testing.assert_array_equal(rows.rewards, [0.25, 0.5, 1.25])
        assert set(rows.columns) == {"step", "quality", "style", "advantage"}


def test_files_with_different_columns(tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl", [{"prompt": "p", "completion": "a", "reward": 1}])
    new = write(tmp_path / "new.jsonl", [{"prompt": "p", "completion": "b", "outcome": "b"}])
    rows = read_completions([old, new])
    assert rows.columns == {"reward": [1, None], "outcome": [None, "b"]}


def test_which_column_is_the_reward(tmp_path: Path) -> None:
    def read(rows: list[dict[str, Any]], **options: Any) -> Any:
        return read_completions([write(tmp_path / "log.jsonl", rows)], **options)

    assert read([{**ROWS[0], "reward": 3}]).reward_name == "reward"
    both = read([{**ROWS[0], "reward": 3, "raw_reward": 4}])
    assert (both.reward_name, both.rewards.tolist()) == ("raw_reward", [4.0])
    named = read(ROWS, reward="style")
    assert named.reward_name == "style"
    with pytest.raises(InvalidInput, match="no column 'stile'; the nearest is 'style'"):
        read(ROWS, reward="stile")
    with pytest.raises(InvalidInput, match="'completion' is 'b' in row 0. Write numbers"):
        read(ROWS, reward="completion")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "hold no completions"),
        ("\n\n", "hold no completions"),
        ('{"prompt": "p", "completions": "x"}', "no column 'completion'; .* is 'completions'"),
        ('{"prompts": "p", "completion": "x"}', "no column 'prompt'; .* is 'prompts'"),
        ('{"prompt": "p", "completion": "x"}\n{"prompt"', "line 2 is not a JSON object: Expecting"),
        ('{"prompt": "p", "completion": "x", "step": null}', "row 0 has no step"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_completions([path])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "nowhere does not exist" in refusal(tmp_path / "nowhere")


def test_conversations(tmp_path: Path) -> None:
    """Prompts and completions that are lists of messages."""
    table = pa.table(
        {
            "step": [1] * 4,
            "prompt": [[{"role": "user", "content": f"q{i // 2}"}] for i in range(4)],
            "completion": [[{"role": "assistant", "content": word}] for word in "aaab"],
            "reward": [1.0] * 4,
            "advantage": [0.0] * 4,
        }
    )
    pq.write_table(table, tmp_path / "completions_00001.parquet")
    rows = read_completions([tmp_path])
    d = diagnose_completions(
        rows, outcome_keys(rows, lambda completions, **c: [m[0]["content"] for m in completions])
    )
    assert (d.prompts, d.groups, d.group_size) == (2, 2, 2)
    assert_close(d.effective, np.array([(1 + 2) / 2]))


# --- JSON lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_only_a_line_feed_ends_a_line(tmp_path: Path, end: str) -> None:
    text = f"one{end}two"
    path = tmp_path / "log.jsonl"
    # JSON has control characters escaped, and the others as they are.
    path.write_bytes(lines({**ROW, "completion": text}, ROW, ascii=end < " ").encode())
    assert read_completions([path]).completions == [text, "x"]


def test_what_windows_writes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(ROW, ROW).replace("\n", "\r\n").encode() + b" \r\n")
    assert read_completions([path]).completions == ["x", "x"]


@pytest.mark.parametrize("nested", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("name", ["prompt", "completion", "outcome", "more"])
def test_deep_nesting_is_refused(tmp_path: Path, nested: tuple[str, str], name: str) -> None:
    path, depth = tmp_path / "log.jsonl", 10**5
    deep = nested[0] * depth + "1" + nested[1] * depth
    path.write_text(lines(ROW) + row_with(name, deep))
    assert "line 2 is not a JSON object: it nests too deep" in refusal(path)


def test_a_nesting_that_json_reads_is_no_traceback(tmp_path: Path) -> None:
    """Around the limit of recursion, whichever function reaches it."""
    path = tmp_path / "log.jsonl"
    for depth in range(50, 1000, 25):
        for name in ("prompt", "outcome"):
            path.write_text(row_with(name, "[" * depth + "]" * depth) * 2)
            with suppress(InvalidInput):
                rows = read_completions([path])
                diagnose_completions(rows, outcome_keys(rows, None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" + b"1, " * 10**6 + b"1]", "line 1 is not a JSON object: [1, 1, 1, 1, 1, 1, ...]"),
        (b'"' + b"x" * 10**7 + b'"', "line 1 is not a JSON object: 'xxxxxxxxxxxx...xxxxxxxxxxxxx'"),
        (b'{"prompt": ' + b"1" * 5000 + b"}", "line 1 is not a JSON object: Exceeds the limit"),
        (b"\xff\xfe{}", "line 1 is not a JSON object: 'utf-8' codec can't decode byte 0xff"),
        (b"\x00" * 100, "line 1 is not a JSON object"),
        (os.urandom(10_000), "is not a JSON object"),
        (json.dumps(dict.fromkeys(map(str, range(10**5)), 0)).encode(), "more than 1000 columns"),
        (json.dumps({"x" * 10**6: 0, "y": 1}).encode(), "no column 'prompt'"),
    ],
    ids=["array", "text", "number", "utf-16", "nul", "noise", "columns", "name"],
)
def test_huge_and_foreign_lines(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_huge_completion_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(ROW, {**ROW, "completion": "y" * 10**7}))
    assert [len(text) for text in read_completions([path]).completions] == [1, 10**7]


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        [-(2**63), -5, -1, 0],
        [2**53, 2**53 + 1],  # floats cannot tell them apart
        [2**63 - 1, 2**63],
        [2**64 - 2, 2**64 - 1],
        [-1, 2**64 - 1],
        [0.0, 1.0, 3.0],  # as pandas writes integers beside a missing one
    ],
)
def test_every_whole_step_is_itself(tmp_path: Path, steps: list[Any]) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*({**ROW, "step": step} for step in steps[::-1] for _ in range(2))))
    rows = read_completions([path])
    assert rows.steps is not None
    assert rows.steps.tolist() == sorted(steps * 2)
    d = diagnose_completions(rows, outcome_keys(rows, None))
    assert (d.steps, d.groups) == (steps, len(steps))
    assert json.loads(d.json())["steps"] == steps


def test_unsigned_steps_of_parquet(tmp_path: Path) -> None:
    steps = np.repeat(np.arange(2**64 - 20, 2**64, dtype=np.uint64), 4)
    keys = ["abcd"[i % 4] if i < 40 else "a" for i in range(80)]
    table = pa.table({"step": steps, "prompt": ["p"] * 80, "completion": keys, "outcome": keys})
    path = tmp_path / "log.parquet"
    pq.write_table(table, path)
    out = tmp_path / "out"
    assert main(["diagnose", str(path), "--out", str(out)]) == 0
    found = json.loads((out / "diagnosis.json").read_bytes())
    # Windows of 3 steps, bound 4 / 2: the 9th to 11th have 4, 1, 1, which is 2; then 1.
    assert (found["verdict"], found["collapsed_at"]) == ("collapsed", int(steps[11 * 4]))
    assert found["steps"][-1] == 2**64 - 1
    assert (out / "diagnosis.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "step", [1.5, "7", True, [1], 2**64, -(2**63) - 1, 10**400, math.inf], ids=reprlib.repr
)
def test_what_is_no_step(tmp_path: Path, step: Any) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(ROW, {**ROW, "step": step}))
    assert "in row 1. Write whole numbers of 64 bits" in refusal(path)


@pytest.mark.parametrize(
    "reward", [10**399, -(10**399), 1e101, math.inf, -math.inf, "1", [1.0]], ids=reprlib.repr
)
def test_what_is_no_reward(tmp_path: Path, reward: Any) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(ROW, {**ROW, "reward": reward}))
    assert "in row 1. Write numbers up to 1e+100, or null" in refusal(path)


def test_rewards_that_are_numbers(tmp_path: Path) -> None:
    """Missing ones are left out; the sum of the largest is finite."""
    path = tmp_path / "log.jsonl"
    rewards = [math.nan, None, True, 10**100, 1e100]
    path.write_text(lines(*({**ROW, "reward": reward} for reward in rewards)))
    rows = read_completions([path])
    d = diagnose_completions(rows, outcome_keys(rows, None))
    assert d.reward == [pytest.approx((1 + 1e100 + 1e100) / 3)]


@pytest.mark.parametrize("prompt", [None, math.nan])
def test_a_row_without_a_prompt_is_refused(tmp_path: Path, prompt: Any) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(ROW, ROW, {**ROW, "prompt": prompt}))
    assert "row 2 has no prompt" in refusal(path)
    path.write_text(lines(ROW, ROW, {"completion": "x"}))
    assert "row 2 has no prompt" in refusal(path)


@pytest.mark.parametrize(
    "name",
    ["\ud800", "\udc80x", "\x00", "\x1b[31m", "\u202e", "$x$", "_", "", "x" * 10**6],
    ids=reprlib.repr,
)
def test_odd_texts_are_diagnosed_and_drawn(tmp_path: Path, name: str, capsys: Any) -> None:
    """As an outcome, as a prompt, and as the name of the reward."""
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*(
        {"step": t, "prompt": name, "completion": "x", "outcome": key, name or "r": 0.5}
        for t in range(12) for key in (name, "b")
    )))  # fmt: skip
    assert main(["diagnose", str(path), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.encode()  # a lone surrogate has no bytes
    assert "\x1b" not in shown
    assert name in json.loads((tmp_path / "diagnosis.json").read_bytes())["top_outcomes"]


def test_lists_of_json_are_tuples(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*({**ROW, "outcome": key} for key in ([1, [2, "a"]], [0.5], [[], 1.0]))))
    rows = read_completions([path])
    assert outcome_keys(rows, None) == [(1, (2, "a")), ("0.5",), ((), 1)]


def test_equal_outcomes_have_one_name(tmp_path: Path) -> None:
    """True is 1, whichever comes first."""
    for order in (1, -1):
        path = tmp_path / "log.jsonl"
        path.write_text(lines(*({**ROW, "outcome": key} for key in [1, True, 2, 2][::order])))
        rows = read_completions([path])
        d = diagnose_completions(rows, outcome_keys(rows, None))
        assert sorted(d.top_outcomes) == ["1", "2"]


# --- columns -------------------------------------------------------------------------------------


def test_a_column_has_the_name_of_an_argument(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines({**ROW, "prompts": 1, "completions": 2, "outcome_fn": 3}))

    def outcome(prompts: list[str], completions: list[str], **columns: Any) -> list[Any]:
        assert set(columns) == {"step", "outcome", "reward"}
        return [*prompts, *completions][::2]

    assert outcome_keys(read_completions([path]), outcome) == ["p"]


def test_the_order_of_columns_is_not_that_of_the_sum(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for row in ({"b": 0.1, "a": 0.2, "c": 0.3}, {"c": 0.3, "a": 0.2, "b": 0.1}):
        path.write_text(lines({"prompt": "p", "completion": "x", **row}))
        rows = read_completions([path])
        assert rows.reward_name == "a + b + c"
        assert rows.rewards is not None
        assert rows.rewards.tolist() == [0.2 + 0.1 + 0.3]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_without_texts_nothing_else_changes(tmp_path: Path, kind: str) -> None:
    rng = random.Random(0)
    rows = [
        {
            "step": step, "prompt": f"p{prompt}", "completion": f"{rng.random()}",
            "outcome": rng.choice(["a", "b", None]), "quality": rng.random(), "style": None,
            "mixed": f"{rng.random()}", "advantage": rng.random(), "whole": 1,
        }
        for step in range(12) for prompt in range(2) for _ in range(4)
    ]  # fmt: skip
    path = tmp_path / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(lines(*({**row, "mixed": rng.choice([0.5, "x"])} for row in rows)))
    full, lean = (read_completions([path], texts=texts) for texts in (True, False))
    assert lean.completions == []
    assert lean.reward_name == full.reward_name == "quality"
    assert diagnose_completions(lean, outcome_keys(lean, None)) == diagnose_completions(
        full, outcome_keys(full, None)
    )


def test_logged_outcomes_need_no_completions(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(*({"prompt": "p", "outcome": key} for key in "ab")))
    assert main(["diagnose", str(path)]) == 0
    assert "no column 'completion'" in refusal(path)


# --- Parquet and folders -------------------------------------------------------------------------


def parquet(path: Path, rows: int = 500) -> bytes:
    table = {name: [value] * rows for name, value in ROW.items()}
    pq.write_table(pa.table({**table, "completion": [str(i) for i in range(rows)]}), path)
    return path.read_bytes()


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    whole = parquet(path)
    for length in (0, 1, 4, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "cannot be read as Parquet" in refusal(path)


def test_a_damaged_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    whole, rng = parquet(path), random.Random(0)
    refused = []
    for _ in range(200):
        damaged = bytearray(whole)
        for place in rng.sample(range(len(whole)), rng.choice([1, 5])):
            damaged[place] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_completions([path])
        except InvalidInput as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert max(map(len, refused)) < 2000


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1], "b": ["x"]}, "no column 'prompt'"),
        ({f"c{i}": [0] for i in range(1001)}, "more than 1000 columns"),
        ({"prompt": ["p"], "completion": ["x"], "step": ["1"]}, "'step' is '1' in row 0"),
        ({"prompt": pa.array([], "string"), "completion": pa.array([], "string")}, "hold no compl"),
        ({"prompt": [None, None], "completion": ["x", "y"]}, "row 0 has no prompt"),
        # A time that Python's datetime does not hold.
        (
            {"prompt": ["p"], "completion": ["x"], "t": pa.array([2**62], pa.timestamp("ms"))},
            "read",
        ),
    ],
)
def test_foreign_schemas(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(table), path)
    assert message in refusal(path)


def test_folders_without_completions(tmp_path: Path) -> None:
    (tmp_path / "completions").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    assert "has no *.parquet or *.jsonl" in refusal(tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    assert "cannot be read as Parquet" in refusal(tmp_path)
    (tmp_path / "completions" / "log.jsonl").mkdir()
    assert "log.jsonl cannot be read" in refusal(tmp_path)


def test_a_run_of_another_family_is_named_as_that(tmp_path: Path) -> None:
    """Its tables are not completions whose columns have other names."""
    (tmp_path / "config.toml").touch()
    pq.write_table(pa.table({"step": [1], "outcome": [2]}), tmp_path / "outcomes.parquet")
    assert "is a run that has logged no completions" in refusal(tmp_path)


# --- outcomes -------------------------------------------------------------------------------------


def no_columns(prompts: list[str], completions: list[str]) -> list[str]:
    return completions


def needs_more(prompts: list[str], completions: list[str], answer: list[str], **c: Any) -> list:
    return answer


def raises_at_b(prompts: list[str], completions: list[str], **columns: Any) -> list[int]:
    return [{"a": 1}[completion] for completion in completions]


@pytest.mark.parametrize(
    ("outcome_fn", "message"),
    [
        (no_columns, r"no_columns cannot be called.*Take what you do not need as \*\*columns"),
        (
            needs_more,
            "needs_more cannot be called: missing .*'answer'.*: prompts, completions, step, qual",
        ),
        (raises_at_b, "raises_at_b raised KeyError: 'b' .at row 1, completion 'b'"),
        (lambda prompts, completions, **c: completions[1:], "returned 2 keys for 3 completions"),
        (lambda prompts, completions, **c: "aba", "returned 3 keys|returned a str"),
        (lambda prompts, completions, **c: None, "returned a NoneType for 3 completions"),
    ],
)
def test_outcome_functions_that_fail(tmp_path: Path, outcome_fn: Any, message: str) -> None:
    rows = read_completions([write(tmp_path / "log.jsonl", ROWS)])
    with pytest.raises(InvalidInput, match=message):
        outcome_keys(rows, outcome_fn)


def test_an_outcome_function_gets_every_column(tmp_path: Path) -> None:
    rows = read_completions([write(tmp_path / "log.jsonl", ROWS)])

    def outcome(completions: list[str], quality: list[float], **columns: Any) -> list[Any]:
        assert set(columns) == {"prompts", "step", "style", "advantage"}
        return [(c, q > 0.4) for c, q in zip(completions, quality, strict=True)]

    assert outcome_keys(rows, outcome) == [("a", False), ("b", True), ("a", True)]


def test_logged_outcomes_are_keys(tmp_path: Path) -> None:
    """pandas writes whole numbers beside None as floats, and JSON writes tuples as lists."""
    logged = ["a", 3.0, math.nan, None, [1, 2], 0.5]
    rows = read_completions(
        [
            write(
                tmp_path / "log.jsonl",
                [{"prompt": "p", "completion": "x", "outcome": key} for key in logged],
            )
        ]
    )
    assert outcome_keys(rows, None) == ["a", 3, None, None, (1, 2), "0.5"]


def test_without_a_function_the_outcome_must_be_logged(tmp_path: Path) -> None:
    rows = read_completions([write(tmp_path / "log.jsonl", ROWS)])
    with pytest.raises(InvalidInput, match="no column 'outcome'.*--outcome mod:fn"):
        outcome_keys(rows, None)


# --- memory --------------------------------------------------------------------------------------

MEMORY = """
import contextlib, io, re, sys
from pathlib import Path
import pyarrow.parquet, tyro
import ipsrl.llm.collapse, ipsrl.llm.summary
from ipsrl.cli import main

def peak():  # in MB; ru_maxrss would begin with what the parent has
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

before = peak()
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["diagnose", *sys.argv[1:]]) == 0
print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("size", [10**5, pytest.param(10**6, marks=pytest.mark.slow)])
def test_memory(tmp_path: Path, kind: str, size: int, record_property: Any) -> None:
    """10^6 rows in 400 MB: 340 bytes a row, and 60 MB for what does not grow, such as buffers."""
    rng = np.random.default_rng(0)
    row = np.arange(size)
    rows = {
        "step": row // 1000,
        "prompt": [f"Question {i // 8 % 125}, in one word: what is it?" for i in row],
        "completion": [f"<think>let me see {x}</think> the answer is a" for x in rng.random(size)],
        "outcome": rng.choice(list("abcdefgh"), size),
        "reward": rng.random(size),
        "advantage": rng.random(size),
    }
    order = rng.permutation(size)
    table, path = pa.table(rows).take(pa.array(order)), tmp_path / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with path.open("w") as file:
            for batch in table.to_batches(10_000):
                file.write(lines(*batch.to_pylist()))
    (tmp_path / "task.py").write_text(
        "def outcome(prompts, completions, outcome, **columns):\n    return outcome\n"
    )
    for options in ([], ["--outcome", f"{tmp_path / 'task.py'}:outcome"]):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path), *options],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        record_property(
            "figure", f"{size} rows of {kind}, {len(options)}: {done.stdout.strip()} MB"
        )
        assert float(done.stdout) < 60 + 340e-6 * size
