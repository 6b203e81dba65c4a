"""Paths that a user names: run directories, and folders of them from `ipsrl reproduce`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsrl.errors import IpsrlError, words
from ipsrl.report.routes import has_routes, routes
from ipsrl.report.view import Routes, listed
from ipsrl.runs import Folder
from ipsrl.runs.lock import is_held

_DEPTH = 4  # folders below the one that is named
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
        folders = list(_folders(path, _DEPTH, {}))
        try:
            begun = any(map(_is_run, folders)) or _is_item(path) or has_routes(path)
        except (IpsrlError, OSError):  # what the page says; to wait would not mend it
            begun = True
        if any(map(is_held, folders)) or not (begun or path.is_file()):
            return True
    return False


def find(paths: Sequence[Path]) -> Found:
    """Find the runs in run directories and folders."""
    paths = list({path.resolve(): path for path in paths}.values())
    same = Counter(path.resolve().name for path in paths)
    runs: dict[Path, str] = {}
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    pictures: dict[str, bytes] = {}
    syntheses: list[Routes] = []
    troubles: dict[str, str] = {}
    notes: list[str] = []
    failed: dict[str, str] = {}
    for path in paths:
        whole = path.resolve()
        name = whole.name if same[whole.name] == 1 else str(whole)
        before = "" if len(paths) == 1 else f"{name}/"
        inside = list(filter(_is_run, _folders(path, _DEPTH, troubles)))
        for run in inside:
            within = run.relative_to(path).as_posix()
            runs.setdefault(run.resolve(), name if within == "." else f"{before}{within}")
        try:
            is_item, is_routes = _is_item(path), has_routes(path)
            if is_routes:
                title = f"Routes, {name}" if before else "Routes"
                syntheses.append(routes(path, title))
            rows = json.loads((path / "table.json").read_bytes()) if is_item else []
            note = _of_sweep(path, rows)
        except (IpsrlError, OSError) as error:
            troubles.setdefault(str(path), words(error))
            continue
        if note:
            notes.append(f"{before}{note}")
        if is_item:
            tables[name] = rows
            failed |= {f"{before}{run}": why for run, why in _failed(rows).items()}
            drawn = any(any(row["measures"].values()) for row in filter(_is_swept, rows))
            swept = path.glob("sweep.svg") if drawn else ()
            for picture in (*sorted(path.glob("index-*.png")), *swept):
                caption = _CAPTIONS.get(picture.name, picture.stem.removeprefix("index-"))
                pictures[f"{before}{caption}"] = picture.read_bytes()
        elif not (inside or is_routes or note or str(path) in troubles):
            what = (
                "is not a run directory (no config.toml), and no folder in it is one"
                if path.exists()
                else "does not exist"
            )
            troubles[str(path)] = (
                f"{path} {what}. Pass what --out named, or a folder of such directories."
            )
    by_label = {label: run for run, label in runs.items()}
    return Found(by_label, tables, pictures, syntheses, troubles, notes, failed)


def _is_run(path: Path) -> bool:
    try:
        return (path / "config.toml").is_file()
    except OSError:  # of a folder that may not be searched
        return False


def _folders(path: Path, depth: int, troubles: dict[str, str]) -> Iterator[Path]:
    """A folder and those in it, sorted; what lies in a run is a part of it.

    Args:
      path: of the folder.
      depth: how many levels below it count.
      troubles: gets, by path, why a folder cannot be read.
    """
    yield path
    if not depth or _is_run(path):
        return
    names = []
    try:
        if path.is_dir():
            with os.scandir(path) as found:
                names = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        troubles[str(path)] = f"{path} cannot be read ({words(error)}), nor what is in it."
    for name in names:
        yield from _folders(path / name, depth - 1, troubles)


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
    return row.keys() >= {"values", "runs", "measures", "failed"}


def _of_sweep(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a sweep is, in words; "" if it has ended well, or there is none.

    Args:
      path: its folder, where its list of files names all runs before there is a table.
      rows: its table, which names the runs that the sweep has now.
    """
    folder = Folder(path)
    names = sorted(name[:-1] for name in folder.listed if name.endswith("/"))
    runs = [run for row in rows if _is_swept(row) for run in row["runs"]] or [
        name for name in names if f"{name}.toml" in folder
    ]
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
        said += f"; not begun: {listed(waiting)}"
    return f"{said}.{then}"
