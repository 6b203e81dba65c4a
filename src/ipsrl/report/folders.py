"""Paths that a user names: run directories, and folders of them from `ipsrl reproduce`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipsrl.errors import IpsrlError
from ipsrl.report.routes import has_routes, routes
from ipsrl.report.view import Routes
from ipsrl.runs import Folder

_DEPTH = 4  # folders below the one that is named


@dataclass(frozen=True)
class Found:
    """Runs by label; of items and sweeps their tables, and their pictures by caption; routes.

    Attributes:
      troubles: by path, why it has nothing to show or a part of it cannot be read.
    """

    runs: Mapping[str, Path]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    pictures: Mapping[str, bytes]
    routes: Sequence[Routes]
    troubles: Mapping[str, str]


def find(paths: Sequence[Path]) -> Found:
    """Find the runs in run directories and folders."""
    runs: dict[Path, str] = {}
    tables: dict[str, Sequence[Mapping[str, Any]]] = {}
    pictures: dict[str, bytes] = {}
    syntheses: list[Routes] = []
    troubles: dict[str, str] = {}
    for path in paths:
        before = "" if len(paths) == 1 else f"{path.resolve().name}/"
        inside = list(_runs(path, _DEPTH))
        for run in inside:
            within = run.relative_to(path).as_posix()
            label = path.resolve().name if within == "." else f"{before}{within}"
            runs.setdefault(run.resolve(), label)
        try:
            is_item, is_routes = _is_item(path), has_routes(path)
            if is_routes:
                title = f"Routes, {path.resolve().name}" if before else "Routes"
                syntheses.append(routes(path, title))
        except IpsrlError as error:
            troubles[str(path)] = str(error)
            continue
        if is_item:
            tables[path.resolve().name] = json.loads((path / "table.json").read_bytes())
            for picture in (*sorted(path.glob("index-*.png")), *path.glob("sweep.svg")):
                pictures[f"{before}{picture.stem.removeprefix('index-')}"] = picture.read_bytes()
        elif not inside and not is_routes:
            what = (
                "is not a run directory (no config.toml), and no folder in it is one"
                if path.exists()
                else "does not exist"
            )
            troubles[str(path)] = (
                f"{path} {what}. Pass what --out named, or a folder of such directories."
            )
    labels = list(runs.values())
    return Found(
        {label if labels.count(label) == 1 else str(run): run for run, label in runs.items()},
        tables,
        pictures,
        syntheses,
        troubles,
    )


def _runs(path: Path, depth: int) -> Iterator[Path]:
    """Run directories in a folder, sorted; what lies in a run is a part of it."""
    if (path / "config.toml").is_file():
        yield path
    elif depth and path.is_dir():
        with os.scandir(path) as found:
            names = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        for name in names:
            yield from _runs(path / name, depth - 1)


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
