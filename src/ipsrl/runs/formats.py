"""The files of a run as bytes: the same content gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ipsrl.errors import RunError


def as_parquet(table: pa.Table) -> bytes:
    """A table as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink)  # else the bytes depend on the history
    return sink.getvalue().to_pybytes()


def read_parquet(path: Path) -> pa.Table:
    """A table that a run wrote, and may replace meanwhile: the file is opened once."""
    content = path.read_bytes()
    try:
        return pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that a run wrote."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, error) from None
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a file with one a line, without a line that is being written just now."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    try:  # one call of the parser is twice as fast as one per line
        return json.loads(b"[" + whole.replace(b"\n", b",") + b"]")
    except (ValueError, RecursionError) as error:
        raise _broken(path, error) from None


def cut(path: Path, size: int) -> None:
    """Drop what a run has written after so many bytes."""
    with path.open("ab") as file:
        if file.tell() < size:  # truncating would fill it with NUL
            raise _broken(path, EOFError(f"it has {file.tell():,} of {size:,} bytes"))
        file.truncate(size)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays that a run wrote as safetensors."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> RunError:
    """The error for a file of a run that somebody or something has changed."""
    return RunError(
        f"{path} cannot be read ({error}), though the run wrote it. Restore it from a copy, or "
        "start a new run elsewhere."
    )


def as_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as safetensors, which stores memory as it lies: a slice is made contiguous first."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def as_json(value: Mapping[str, Any]) -> bytes:
    """An object as JSON, which has no NaN."""
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"
