"""JSON lines: data sets and responses in files, and judging line by line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace.datasets import ObservationSet
from ipsrl.hypospace.task import AnyTask, Judgement, bad_input, judge

LONGEST_LINE = 2**19
"""Bytes of a JSON line: a response of the longest kind, every character escaped, fits."""

T = TypeVar("T")


def write_dataset(sets: Iterable[ObservationSet], path: Path) -> None:
    """Write one JSON object per line and observation set.

    Raises:
      InvalidInput: if the file cannot be written.
    """
    lines = (json.dumps(asdict(one)) + "\n" for one in sets)
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error}). Name another file.") from None


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Objects of a file of JSON lines, such as what `write_dataset` wrote; other keys are ignored.

    Args:
      path: the file.
      kind: a dataclass, such as `ObservationSet`.
    Raises:
      InvalidInput: naming the line, if the file cannot be read or a line does not fit.
    """
    adapter, rows = TypeAdapter(kind), []
    try:
        with path.open("rb") as file:
            for line in file:
                line = line if rows else line.removeprefix(codecs.BOM_UTF8)  # as Windows begins
                rows.append(adapter.validate_json(line, strict=True))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error}). Name a file of JSON lines.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{path}, line {len(rows) + 1}: {key and key + ': '}{first['msg']}. Each line must be "
            f"an object with {', '.join(kind.__annotations__)}."
        ) from None
    if not rows:
        raise InvalidInput(f"{path} is empty. Name a file of JSON lines.")
    return rows


def judge_lines(task: AnyTask, source: BinaryIO, sink: TextIO) -> None:
    """Answer every line of `source` by one line in `sink`, at once, whatever the line holds.

    In: {"observations": [...], "response": "..."}; {"view": "010000011"} instead of observations;
    the options in `task.judged_by`, such as "max_edges", for this line.  Other keys are ignored.
    Out: {"key": text or null, "valid": bool, "reason": text}.

    Args:
      task: a domain.
      source: lines of bytes, read in pieces, so that a huge one needs no memory.
      sink: text; flushed after each line, so that a program can wait for its answer.
    """
    while line := source.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            while not line.endswith(b"\n") and (line := source.readline(LONGEST_LINE)):
                pass
            judgement = bad_input(f"the line has more than {LONGEST_LINE} bytes")
        else:
            judgement = judge_line(task, line)
        answer = {"key": judgement.key, "valid": judgement.valid, "reason": judgement.reason}
        sink.write(json.dumps(answer) + "\n")
        sink.flush()


def judge_line(task: AnyTask, line: bytes) -> Judgement:
    """Judgement of one JSON line; see `judge_lines`."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return bad_input(f"the line is not JSON ({type(error).__name__})")
    if not isinstance(row, dict):
        return bad_input("the line is not a JSON object")
    observations = row["observations"] if "observations" in row else [row.get("view")]
    if not isinstance(observations, list):
        return bad_input("observations is not a list")
    options = {name: row[name] for name in task.judged_by if name in row}
    try:
        chosen = _with_options(task, options) if options else task
    except ConfigError as error:
        return bad_input(str(error)[:200])
    return judge(chosen, observations, row.get("response"))  # type: ignore[arg-type]  # it checks


def _with_options(task: AnyTask, options: dict[str, Any]) -> AnyTask:
    config = type(task.config)(**{**task.config.model_dump(), **options})
    return type(task)(config)  # type: ignore[call-arg]  # a domain is made of its configuration
