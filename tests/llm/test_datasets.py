"""Prompts are read from files of either kind, and files without any are refused."""

from __future__ import annotations

import codecs

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llm_task import PROMPTS, SHORT, differences, task, write_lines

from ipsrl.errors import ConfigError
from ipsrl.llm.datasets import read_dataset
from ipsrl.llm.training import train


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


def test_a_column_that_the_first_row_lacks_is_kept(tmp_path) -> None:
    """Also in a file that begins with the mark of Windows."""
    data = tmp_path / "columns.jsonl"
    data.write_bytes(codecs.BOM_UTF8 + b'{"prompt": "a"}\n{"answer": 3, "prompt": "b"}\n')
    assert read_dataset(str(data), "train").to_dict() == {"prompt": ["a", "b"], "answer": [None, 3]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "no-such-file.jsonl"}, "no-such-file.jsonl.*cannot be read.*JSONL or Parquet"),
        ({"dataset": "no-such-file.parquet"}, "no-such-file.parquet.*cannot be read"),
        ({"eval_dataset": "no-such-file.jsonl"}, "no-such-file.jsonl.*cannot be read"),
        ({"dataset": "prompts.csv"}, "prompts.csv' is not a JSONL or Parquet file.*Convert it"),
        ({"dataset": "./prompts"}, "/prompts' is not a JSONL or Parquet file"),
        ({"split": "test"}, "the split 'test' has no effect on the file .*read as a whole"),
    ],
    ids=str,
)  # fmt: skip
def test_files_that_cannot_be_read_are_refused(options, message, assert_refused) -> None:
    assert_refused(options, message)


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
