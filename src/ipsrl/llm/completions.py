"""Completions that a run has logged, and what each of them means.

    step        after how many optimiser steps; without it, every group is a step of its own
    prompt      text or list of messages
    completion  text or list of messages
    outcome     optional: text of the outcome key, None for none
    raw_reward, reward, or one column per reward function

TRL writes such Parquet files into OUTPUT_DIR/completions with `log_completions=True`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl.errors import InvalidInput, words
from ipsrl.functions import check_takes, name_of, one_each

OutcomeFunction = Callable[..., Sequence[Hashable | None]]
"""outcome_fn(prompts, completions, **columns), one key per row; None for no outcome."""

_NO_REWARD = ("step", "advantage", "outcome")


@dataclass(frozen=True)
class Completions:
    """Rows in the order of their steps."""

    prompts: list[Any]
    completions: list[Any]
    columns: dict[str, list[Any]]
    """All others, as they were logged."""
    steps: np.ndarray | None
    rewards: np.ndarray | None
    """NaN where a row has none."""
    reward_name: str | None
    """Columns that the reward is the sum of."""


def read_completions(paths: Iterable[Path], *, reward: str | None = None) -> Completions:
    """Logged completions of Parquet files, JSON lines, or folders of them.

    The reward is `raw_reward` if that was logged, else `reward`, else the sum of all columns of
    floats, which TRL names after the reward functions.

    Args:
      paths: files; or folders with completions*.parquet, *.parquet or *.jsonl in them or in their
        subfolder `completions` (TRL) or `trainer/completions` (`ipsrl train llm`).
      reward: name of the reward column, if another.
    Returns:
      the rows of all files, sorted by step.
    Raises:
      InvalidInput: for a file that is missing, broken or empty, or a column that is missing.
    """
    columns: dict[str, list[Any]] = {}
    rows = 0
    for path in dict.fromkeys(file for place in paths for file in _files(Path(place))):
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path)
        new = len(next(iter(table.values()), []))
        for name in dict.fromkeys([*columns, *table]):
            columns.setdefault(name, [None] * rows).extend(table.get(name, [None] * new))
        rows += new
    if rows == 0:
        raise InvalidInput(
            "the files hold no completions. Name a file of prompt, completion and reward, or the "
            "output directory of a run with log_completions=True."
        )
    for name in ("prompt", "completion"):
        _check_column(name, columns)
    chosen = _reward_columns(columns, reward)
    rewards = sum((_numbers(name, columns[name]) for name in chosen), np.zeros(rows))
    steps = _numbers("step", columns.get("step", [0] * rows))
    if np.isnan(steps).any():
        row = int(np.flatnonzero(np.isnan(steps))[0])
        raise InvalidInput(f"row {row} has no step. Give every row one, or none.")
    order = np.argsort(steps, kind="stable")
    columns = {name: [column[i] for i in order] for name, column in columns.items()}
    return Completions(
        prompts=columns.pop("prompt"),
        completions=columns.pop("completion"),
        columns=columns,
        steps=steps[order].astype(np.int64) if "step" in columns else None,
        rewards=rewards[order] if chosen else None,
        reward_name=" + ".join(chosen) or None,
    )


def outcome_keys(rows: Completions, outcome_fn: OutcomeFunction | None) -> list[Hashable | None]:
    """Outcome of each row: by the function, or else as the run has logged it.

    Raises:
      InvalidInput: if there is neither; or see `call_outcome_fn`.
    """
    if outcome_fn is not None:
        return call_outcome_fn(outcome_fn, rows.prompts, rows.completions, **rows.columns)
    if "outcome" not in rows.columns:
        raise InvalidInput(
            "the completions have no column 'outcome', so nothing says which of them mean the "
            "same. Name a function (prompts, completions, **columns) -> keys: --outcome mod:fn."
        )
    return [_whole(key) for key in rows.columns["outcome"]]


def call_outcome_fn(
    outcome_fn: OutcomeFunction, prompts: list[Any], completions: list[Any], **columns: list[Any]
) -> list[Hashable | None]:
    """Keys of all rows in one call, checked.

    Raises:
      InvalidInput: if the function does not take these columns, raises (naming the row), or does
        not return one key per row.
    """
    name = name_of(outcome_fn)
    arguments = {"prompts": prompts, "completions": completions, **columns}
    check_takes(outcome_fn, arguments)
    try:
        keys = outcome_fn(**arguments)
    except (Exception, SystemExit) as error:
        raise InvalidInput(
            f"{name} raised {words(error)}{_where(outcome_fn, arguments)}. "
            "Return None for a completion that has no outcome."
        ) from error
    return one_each(keys, name, "keys", len(prompts), "completions")


def group_numbers(rows: Completions, group_size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Number of the prompt and of the group of each row.

    A group ends where the prompt or the step changes, or after `group_size` completions.

    Raises:
      InvalidInput: for groups of one completion, or a size that leaves a part of a group.
    """
    texts = (json.dumps(prompt, sort_keys=True, default=str) for prompt in rows.prompts)
    numbers: dict[str, int] = {}
    prompt_R = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
    new = np.diff(prompt_R, prepend=-1) != 0
    if rows.steps is not None:
        new |= np.diff(rows.steps, prepend=rows.steps[0]) != 0
    if group_size is not None:
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=len(new))
        for start, size in zip(starts, sizes, strict=True):
            if group_size < 1 or size % group_size:
                raise InvalidInput(
                    f"{size} completions of one prompt follow each other from row {start} on, "
                    f"which are no whole groups of {group_size}. Pass num_generations of the run."
                )
        new |= (np.arange(len(new)) - np.repeat(starts, sizes)) % group_size == 0
    if new.all():
        raise InvalidInput(
            f"each of the {len(new)} groups has one completion, so no two can be compared. Keep "
            "the completions of a prompt together, in the order in which they were logged."
        )
    return prompt_R, np.cumsum(new) - 1


def _where(outcome_fn: OutcomeFunction, arguments: dict[str, list[Any]]) -> str:
    """The first row on which the function raises by itself."""
    for row, completion in enumerate(arguments["completions"]):
        try:
            outcome_fn(**{name: values[row : row + 1] for name, values in arguments.items()})
        except (Exception, SystemExit):
            return f" (at row {row}, completion {str(completion)[:80]!r})"
    return ""


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for folder in (path / "trainer" / "completions", path / "completions", path):
        for pattern in ("completions*.parquet", "*.parquet", "*.jsonl"):
            if files := sorted(folder.glob(pattern)):
                return files
    what = "has no *.parquet or *.jsonl" if path.is_dir() else "does not exist"
    raise InvalidInput(
        f"{path} {what}. Name files of completions, or the output directory of a run "
        "with log_completions=True."
    )


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    try:
        return pq.ParquetFile(path).read().to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(
            f"{path} cannot be read as Parquet ({error}). It may have been cut off while it was "
            "written: leave it out, or name it *.jsonl if it holds JSON lines."
        ) from None


def _read_lines(path: Path) -> dict[str, list[Any]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}). Name JSON lines.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line or "{}")
        except ValueError as error:
            row = error
        if not isinstance(row, dict):
            raise InvalidInput(
                f"{path}, line {number} is not a JSON object: {row}. Write one per line, such as "
                '{"prompt": "2 + 2 =", "completion": "4", "reward": 1}'
            )
        if row:
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _check_column(name: str, columns: dict[str, list[Any]]) -> None:
    if name not in columns:
        near = get_close_matches(name, columns, n=1, cutoff=0.0)
        raise InvalidInput(
            f"the completions have no column {name!r}; the nearest is {near[0]!r} "
            f"(of {', '.join(columns)}). Rename the column."
        )


def _reward_columns(columns: dict[str, list[Any]], reward: str | None) -> list[str]:
    if reward is not None:
        _check_column(reward, columns)
        return [reward]
    for name in ("raw_reward", "reward"):
        if name in columns:
            return [name]
    return [
        name
        for name, values in columns.items()
        if name not in _NO_REWARD
        and any(isinstance(value, float) for value in values)
        and all(value is None or isinstance(value, float) for value in values)
    ]


def _numbers(name: str, values: list[Any]) -> np.ndarray:
    """The values as floats, NaN for None."""
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, Real):
            raise InvalidInput(
                f"{name!r} is {value!r} in row {row}. Write numbers, or null for none."
            )
    return np.array([np.nan if value is None else value for value in values], float)


def _whole(key: Any) -> Any:
    """A key as it was before pandas made floats of integers beside None."""
    if isinstance(key, float):
        if key != key:
            return None
        return int(key) if key.is_integer() else repr(key)
    return tuple(key) if isinstance(key, list) else key
