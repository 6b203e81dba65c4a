"""Data sets of prompts, from files and hubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset

from ipsrl.errors import ConfigError

_UNREAD = (".csv", ".tsv", ".txt", ".arrow", ".gz", ".zip", ".zst")


def read_dataset(name: str, split: str) -> Any:
    """Read a data set whose rows have a prompt.

    Args:
      name: file in JSON lines or Parquet, or hub name.
      split: of a hub data set.
    Raises:
      ConfigError: if it cannot be read, or a row has no prompt of the kind of the others.
    """
    path = Path(name)
    of_file = path.suffix in (".jsonl", ".json", ".parquet")
    if of_file and split != "train":
        raise ConfigError(
            f"the split {split!r} has no effect on the file {name!r}, which is read as a whole. "
            "Leave it out."
        )
    if not of_file and (path.is_file() or path.suffix in _UNREAD or name[0] in "./~"):
        raise ConfigError(
            f"dataset {name!r} is not a JSONL or Parquet file (.jsonl, .json, .parquet), nor the "
            "name of a hub data set. Convert it."
        )
    try:
        if path.suffix == ".parquet":
            dataset: Any = Dataset(pq.read_table(path))
        elif of_file:
            dataset = Dataset.from_list(_json_lines(path))
        else:
            dataset = load_dataset(name, split=split, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise ConfigError(
            f"dataset {name!r} cannot be read ({error}). Pass a JSONL or Parquet file, "
            "or the name of a hub data set."
        ) from None
    if "prompt" not in dataset.column_names or len(dataset) == 0:
        raise ConfigError(
            f"dataset {name!r} has {len(dataset)} rows with the columns {dataset.column_names}, "
            "but each row needs a 'prompt': a text, or a list of messages."
        )
    kind = type(dataset[0]["prompt"])
    for row, prompt in enumerate(dataset["prompt"]):
        if not (isinstance(prompt, str | list) and prompt):
            problem = "each row needs a text, or a list of messages"
        elif type(prompt) is not kind:
            problem = "row 0 has another kind; use texts everywhere, or messages everywhere"
        elif kind is list and not all(map(_is_message, prompt)):
            problem = 'a message is {"role": "user", "content": ...}'
        else:
            continue
        raise ConfigError(
            f"dataset {name!r} has the prompt {prompt!r} in row {row}, but {problem}."
        )
    return dataset


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows, each with the names of all: a data set takes its columns from the first."""
    rows = []
    text = path.read_text(encoding="utf-8-sig")  # Windows begins with a mark
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and bool(message.get("role")) and "content" in message
