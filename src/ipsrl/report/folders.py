"""Paths that a user names: run directories, and folders of them from `ipsrl reproduce`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsrl.errors import IpsrlError
from ipsrl.report.routes import has_routes, routes
from ipsrl.report.view import Routes
from ipsrl.runs import Folder
from ipsrl.runs.lock import is_held

_DEPTH = 4  # folders below the one that is named
_NAMED = 4  # of the runs that have not begun
_CAPTIONS = {"sweep.svg": "Median, range and seeds of every cell"}


@dataclass(frozen=True)
class Found:
    """Runs by label; of items and sweeps their tables, and their pictures by caption; routes.

    Attributes:
      notes: how far sweeps are that have not ended, or not well.
      failed: by the label of a sweep's run, why it failed.
      troubles: by path, why it has nothing to show or a part of it cannot be read.
    """

    runs: Mapping[str, Path]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    pictures: Mapping[str, bytes]
    routes: Sequence[Routes]
    troubles: Mapping[str, str]
    notes: Sequence[str]
    failed: Mapping[str, str]


def going_on(paths: Sequence[Path]) -> bool:
    """True if more will come: somebody writes runs or a sweep, or a path has nothing yet."""
    for path in paths:
        folders = list(_folders(path, _DEPTH))
        begun = any(map(_is_run, folders)) or _is_item(path) or has_routes(path)
        if any(map(is_held, folders)) or not (begun or path.is_file()):
            return True
    return False


def find(paths: Sequence[Path]) -> Found:
    """Find the runs in run directories and folders."""
    runs: dict[Path, str] = {}
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    pictures: dict[str, bytes] = {}
    syntheses: list[Routes] = []
    troubles: dict[str, str] = {}
    notes: list[str] = []
    failed: dict[str, str] = {}
    for path in paths:
        before = "" if len(paths) == 1 else f"{path.resolve().name}/"
        inside = list(filter(_is_run, _folders(path, _DEPTH)))
        for run in inside:
            within = run.relative_to(path).as_posix()
            label = path.resolve().name if within == "." else f"{before}{within}"
            runs.setdefault(run.resolve(), label)
        try:
            is_item, is_routes = _is_item(path), has_routes(path)
            if is_routes:
                title = f"Routes, {path.resolve().name}" if before else "Routes"
                syntheses.append(routes(path, title))
            rows = json.loads((path / "table.json").read_bytes()) if is_item else []
            note = _of_sweep(path, rows)
        except IpsrlError as error:
            troubles[str(path)] = str(error)
            continue
        if note:
            notes.append(f"{before}{note}")
        if is_item:
            tables[path.resolve().name] = rows
            failed |= {f"{before}{run}": why for run, why in _failed(rows).items()}
            drawn = any(any(row["measures"].values()) for row in filter(_is_swept, rows))
            swept = path.glob("sweep.svg") if drawn else ()
            for picture in (*sorted(path.glob("index-*.png")), *swept):
                caption = _CAPTIONS.get(picture.name, picture.stem.removeprefix("index-"))
                pictures[f"{before}{caption}"] = picture.read_bytes()
        elif not (inside or is_routes or note):
            what = (
                "is not a run directory (no config.toml), and no folder in it is one"
                if path.exists()
                else "does not exist"
            )
            troubles[str(path)] = (
                f"{path} {what}. Pass what --out named, or a folder of such directories."
            )
    return Found(
        _named(runs),
        tables,
        pictures,
        syntheses,
        troubles,
        notes,
        failed,
    )


def _named(labels: Mapping[Path, str]) -> dict[str, Path]:
    """Runs by their labels, or by their paths where two have one label."""
    same = Counter(labels.values())
    return {str(run) if same[label] > 1 else label: run for run, label in labels.items()}


def _is_run(path: Path) -> bool:
    return (path / "config.toml").is_file()


def _folders(path: Path, depth: int) -> Iterator[Path]:
    """A folder and those in it, sorted; what lies in a run is a part of it."""
    yield path
    if depth and path.is_dir() and not _is_run(path):
        with os.scandir(path) as found:
            names = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        for name in names:
            yield from _folders(path / name, depth - 1)


def _is_item(path: Path) -> bool:
    """True if it is a folder of `reproduce` with a table of rows."""
    try:
        rows = json.loads((path / "table.json").read_bytes())
    except (OSError, ValueError):
        return False
    return (
        "table.json" in Folder(path)
        and isinstance(rows, list)
        and all(isinstance(row, dict) for row in rows)
    )


def _failed(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Why runs of a sweep failed, by their names; empty for the rows of an item."""
    return {run: why for row in rows if _is_swept(row) for run, why in row["failed"].items()}


def _is_swept(row: Mapping[str, Any]) -> bool:
    """True for a row as `sweep.results.rows_of` makes it."""
    return row.keys() >= {"values", "measures", "failed"}


def _of_sweep(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a sweep is, in words; "" if it has ended well, or there is none.

    Args:
      path: its folder, where its list of files names all runs from the start.
      rows: its table.
    """
    folder = Folder(path)
    names = sorted(name[:-1] for name in folder.listed if name.endswith("/"))
    runs = [name for name in names if f"{name}.toml" in folder]
    if not runs:
        return ""
    ended = [name for name in runs if (path / name / "result.json").exists()]
    failed = {*_failed(rows)}
    left = sorted({*runs} - {*ended} - failed)
    if is_held(path):
        state, then = "is running", ""
    elif left:
        state, then = "was stopped", " The command that began it continues it."
    elif failed:
        return f"The sweep has ended: {len(failed)} of {len(runs)} runs failed."
    else:
        return ""
    said = f"The sweep {state}: {len(ended)} of {len(runs)} runs have ended"
    if waiting := [name for name in left if not _is_run(path / name)]:
        more = [f"{len(waiting) - _NAMED} more"] if len(waiting) > _NAMED else []
        said += f"; not begun: {', '.join([*waiting[:_NAMED], *more])}"
    return f"{said}.{then}"
