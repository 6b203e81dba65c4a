"""Completions that a run has logged, and their outcomes.

    step        after how many optimiser steps; without it, every group is a step of its own
    prompt      text or list of messages
    completion  text or list of messages
    outcome     optional: text of the outcome key, None for none
    raw_reward, reward, or one column per reward function

TRL writes such Parquet files into OUTPUT_DIR/completions with `log_completions=True`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl.errors import InvalidInput, nearest, words
from ipsrl.functions import calling, check_takes, name_of, one_each, printing_aside
from ipsrl.llm.grouping import prompt_key
from ipsrl.llm.outcomes import load_outcome

OutcomeFunction = Callable[..., Sequence[Hashable | None]]
"""outcome_fn(prompts, completions, **columns), one key per row; None for no outcome."""

_Table = dict[str, list[Any]]

_NO_REWARD = ("step", "advantage", "outcome")
_NUMBER = (int, float, np.floating)
_ARGUMENTS = ("outcome_fn", "prompts", "completions")
_LARGEST = 1e100  # of a reward, so that sums over columns and rows are finite
_COLUMNS = 1000  # of a file, at most: a row of JSON gets None for each that it lacks
_CHUNK = 2000  # rows of a file that are in memory twice while it is read


@dataclass(frozen=True)
class Completions:
    """Rows in the order of their steps."""

    prompts: list[Any]
    completions: list[Any]
    columns: dict[str, list[Any]]
    """All other columns, as they were logged."""
    steps: np.ndarray | None
    rewards: np.ndarray | None
    """Rewards; NaN for a row without any."""
    reward_name: str | None
    """Columns whose sum is the reward; what a column lacks is left out of the sum."""


def read_completions(
    paths: Iterable[Path], *, reward: str | None = None, texts: bool = True
) -> Completions:
    """Logged completions of Parquet files, JSON lines, or folders of them.

    The reward is `raw_reward` if that was logged, else `reward`, else the sum of all columns of
    floats, which TRL names after the reward functions.

    Args:
      paths: files; or folders with completions*.parquet, *.parquet or *.jsonl in them or in their
        subfolder `completions` (TRL) or `trainer/completions` (`ipsrl train llm`).
      reward: name of the reward column, if another.
      texts: False leaves out the completions and other texts, which only an outcome function reads
        and which take most of the memory.
    Returns:
      the rows of all files, sorted by step.
    Raises:
      InvalidInput: for a file that is missing, broken or empty, a column that is missing, or a
        value that cannot be a prompt, step or reward.
    """
    kept = None if texts else {"prompt", "step", "outcome", "raw_reward", "reward", reward}
    prompts: dict[Hashable, Any] = {}
    columns: dict[str, list[Any]] = {}
    rows = 0
    for path in dict.fromkeys(file for place in paths for file in _files(Path(place))):
        read = _read_parquet if path.suffix == ".parquet" else _read_lines
        for table in read(path, kept):
            new = len(table["prompt"])
            for name in dict.fromkeys([*columns, *table]):
                values = table.get(name, [None] * new)
                if name == "prompt":  # one object for equal prompts
                    values = [prompts.setdefault(prompt_key(prompt), prompt) for prompt in values]
                columns.setdefault(name, [None] * rows).extend(_shared(values))
            rows += new
    if rows == 0:
        raise InvalidInput(
            "the files hold no completions. Name a file of prompt, completion and reward, or the "
            "output directory of a run with log_completions=True."
        )
    for row, prompt in enumerate(columns["prompt"]):
        if prompt is None or prompt != prompt:
            raise InvalidInput(f"row {row} has no prompt, so no group. Write it, or drop the row.")
    chosen = _reward_columns(columns, reward)
    rewards = np.full(rows, np.nan)
    for name in chosen:  # as TRL adds them: where one is None, the others decide
        values = _numbers(name, columns[name])
        rewards = np.where(np.isnan(rewards), values, rewards + np.nan_to_num(values))
    steps = _steps(columns["step"]) if "step" in columns else None
    if steps is not None and (steps[1:] < steps[:-1]).any():
        order = np.argsort(steps, kind="stable")
        steps, rewards = steps[order], rewards[order]
        for name, column in columns.items():  # one at a time, for the memory
            columns[name] = [column[i] for i in order]
    return Completions(
        prompts=columns.pop("prompt"),
        completions=columns.pop("completion") if texts else [],
        columns=columns,
        steps=steps,
        rewards=rewards if chosen else None,
        reward_name=" + ".join(chosen) or None,
    )


def read_outcomes(
    paths: Iterable[Path], *, outcome: str | None, reward: str | None
) -> tuple[Completions, list[Hashable | None]]:
    """Logged completions and their outcomes, as the commands name them.

    Args:
      paths: see `read_completions`; texts are read where `outcome` is given.
      outcome: see `load_outcome`; None for the column `outcome`.
      reward: name of the reward column, if another.
    Returns:
      the rows, and the outcome key of each.
    Raises:
      InvalidInput: see `load_outcome`, `read_completions` and `outcome_keys`.
    """
    with printing_aside():
        outcome_fn = load_outcome(outcome) if outcome else None
        rows = read_completions(paths, reward=reward, texts=outcome_fn is not None)
        return rows, outcome_keys(rows, outcome_fn)


def outcome_keys(rows: Completions, outcome_fn: OutcomeFunction | None) -> list[Hashable | None]:
    """Outcome of each row, by the function or else as logged by the run.

    Raises:
      InvalidInput: if there is neither; or see `call_outcome_fn`.
    """
    if outcome_fn is not None:
        # No column may have the name of an argument.
        columns = {n: v for n, v in rows.columns.items() if n not in _ARGUMENTS}
        return call_outcome_fn(outcome_fn, rows.prompts, rows.completions, **columns)
    if "outcome" not in rows.columns:
        raise InvalidInput(
            "the completions have no column 'outcome', so nothing says which of them mean the "
            "same. Name the outcome, such as --outcome math, or a function (prompts, completions, "
            "**columns) -> keys: --outcome mod:fn."
        )
    try:
        return [_whole(key) for key in rows.columns["outcome"]]
    except RecursionError:
        raise InvalidInput(
            "a logged outcome is a list that nests too deep. Log a text that names the outcome."
        ) from None


def call_outcome_fn(
    outcome_fn: OutcomeFunction, prompts: list[Any], completions: list[Any], **columns: Any
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
        with calling(name):
            keys = outcome_fn(**arguments)
    except Exception as error:
        if isinstance(error.__cause__, SystemExit | GeneratorExit):  # it did not mean a row
            raise
        raise InvalidInput(
            f"{name} raised {words(error)}{_where(outcome_fn, arguments)}. "
            "Return None for a completion that has no outcome."
        ) from error
    return one_each(keys, name, "keys", len(prompts), "completions")


def _where(outcome_fn: OutcomeFunction, arguments: dict[str, Any]) -> str:
    """The first row for which the function alone raises."""
    lists = {name: values for name, values in arguments.items() if isinstance(values, list)}
    for row, completion in enumerate(arguments["completions"]):
        try:
            one = {name: values[row : row + 1] for name, values in lists.items()}
            outcome_fn(**{**arguments, **one})
        except (Exception, SystemExit):
            return f" (at row {row}, completion {str(completion)[:80]!r})"
    return ""


def _files(path: Path) -> list[Path]:
    if path.exists() and not path.is_dir():
        return [path]
    is_run = (path / "config.toml").is_file()
    here = () if is_run else (path,)  # tables of other families are not completions
    for folder in (path / "trainer" / "completions", path / "completions", *here):
        for pattern in ("completions*.parquet", "*.parquet", "*.jsonl"):
            if files := sorted(folder.glob(pattern)):
                return files
    what = "has no *.parquet or *.jsonl" if path.is_dir() else "does not exist"
    if is_run:
        what = "is a run that has logged no completions, which only language models do"
    raise InvalidInput(
        f"{path.absolute()} {what}. Name files of completions, or the output directory of a run "
        "with log_completions=True."
    )


def _read_parquet(path: Path, kept: Container[str | None] | None) -> Iterator[_Table]:
    """Read the columns, some rows at a time; columns that are not kept must be floats."""
    try:
        # Neither threads nor whole columns, which take memory.
        with pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
            schema = file.schema_arrow
            _check_columns(path, schema.names, kept)
            names = [
                field.name
                for field in schema
                if kept is None or field.name in kept or pa.types.is_floating(field.type)
            ]
            for batch in file.iter_batches(_CHUNK, columns=names, use_threads=False):
                yield batch.to_pydict()
    except InvalidInput:
        raise
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{path} cannot be read as Parquet ({error}). It may have been cut off while it was "
            "written: leave it out, or name it *.jsonl if it holds JSON lines."
        ) from None


def _read_lines(path: Path, kept: Container[str | None] | None) -> Iterator[_Table]:
    """Read the columns, some rows at a time; columns that are not kept must be floats.

    A line ends at a line feed and nowhere else: JSON may hold other ends of lines in a text.
    """
    try:
        with path.open("rb") as file:
            rows = (row for n, line in enumerate(file, 1) if (row := _read_line(path, n, line)))
            while chunk := list(islice(rows, _CHUNK)):
                names = dict.fromkeys(name for row in chunk for name in row)
                _check_columns(path, names, kept)
                table = {name: [row.get(name) for row in chunk] for name in names}
                for name, values in table.items():
                    if kept is not None and name not in kept:
                        table[name] = [v if v is None or type(v) is float else "" for v in values]
                yield table
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error}). Name JSON lines.") from None


def _read_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)  # as Windows writes it
    try:
        row = json.loads(line.decode("utf-8")) if line.strip() else {}
        if isinstance(row, dict):
            return row
        problem = short(row)
    except ValueError as error:
        problem = str(error)
    except RecursionError:
        problem = "it nests too deep"
    raise InvalidInput(
        f"{path}, line {number} is not a JSON object: {problem}. Write one per line, such as "
        '{"prompt": "2 + 2 =", "completion": "4", "reward": 1}'
    )


def _check_columns(path: Path, names: Collection[str], kept: Container[str | None] | None) -> None:
    if len(names) > _COLUMNS:
        raise InvalidInput(
            f"{path} has more than {_COLUMNS} columns. Write what differs from row to row as a "
            "value, not as the name of a column."
        )
    for name in ("prompt", "completion") if kept is None else ("prompt",):
        _check_column(str(path), name, names)


def _check_column(what: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        known = [f"{known:.40}" for known in islice(names, 20)]
        raise InvalidInput(
            f"{what} has no column {name!r}{nearest(name, known)} "
            f"(of {', '.join(known)}). Rename the column."
        )


def _reward_columns(columns: dict[str, list[Any]], reward: str | None) -> list[str]:
    if reward is not None:
        _check_column("the file", reward, columns)
        return [reward]
    for name in ("raw_reward", "reward"):
        if name in columns:
            return [name]
    return sorted(  # the order of the columns may be that of the rows
        name
        for name, values in columns.items()
        if name not in _NO_REWARD
        and any(isinstance(value, float) for value in values)
        and all(value is None or isinstance(value, float) for value in values)
    )


def _shared(values: list[Any]) -> list[Any]:
    """The values, with one object for equal texts and for equal whole numbers."""
    seen: dict[Any, Any] = {}
    return [seen.setdefault(v, v) if type(v) in (str, int) else v for v in values]


def _steps(values: list[Any]) -> np.ndarray:
    for row, value in enumerate(values):
        if value is None or value != value:
            raise InvalidInput(f"row {row} has no step. Give every row one, or none.")
        if (
            not isinstance(value, _NUMBER)
            or isinstance(value, bool)
            or not -(2**63) <= value < 2**64
            or value != int(value)
        ):
            raise InvalidInput(
                f"'step' is {short(value)} in row {row}. Write whole numbers of 64 bits."
            )
    whole = [int(value) for value in values]
    least, most = min(whole), max(whole)
    return np.array(whole, np.int64 if most < 2**63 else np.uint64 if least >= 0 else object)


def _numbers(name: str, values: list[Any]) -> np.ndarray:
    """The values as floats, NaN for None."""
    for row, value in enumerate(values):
        if value is not None and (not isinstance(value, _NUMBER) or abs(value) > _LARGEST):
            raise InvalidInput(
                f"{name!r} is {short(value)} in row {row}. Write numbers up to {_LARGEST:g}, or "
                "null for none."
            )
    return np.array([np.nan if value is None else value for value in values], float)


def _whole(key: Any) -> Any:
    """A key as it was before pandas made floats of integers, and JSON made lists of tuples."""
    if isinstance(key, float):
        if key != key:
            return None
        return int(key) if key.is_integer() else repr(key)
    return tuple(_whole(part) for part in key) if isinstance(key, list) else key
