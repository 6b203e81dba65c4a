"""Syntheses that `ipsrl molecules route` wrote into a folder."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from ipsrl.errors import RunError
from ipsrl.report.view import Routes, Synthesis
from ipsrl.runs import Folder

FILE = "routes.json"
DRAWN = 40
"""Routes that have their picture on the page; of each of the others there are the steps."""


def has_routes(folder: Path) -> bool:
    return FILE in Folder(folder)


def routes(folder: Path, title: str = "Routes", among: int = 1) -> Routes:
    """The routes in a folder; molecules without one stand last.

    Args:
      folder: that has them.
      title: heading.
      among: runs on the page: of each, fewer are drawn.
    Raises:
      RunError: if they cannot be read.
    """
    most = DRAWN // among
    try:
        rows = json.loads((folder / FILE).read_text("utf-8"))
        found = [_synthesis(folder, i, row, i < most) for i, row in enumerate(rows)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"{folder / FILE} cannot be read ({error}). Write it again with ipsrl molecules route."
        ) from None
    made = sum(one.steps is not None for one in found)
    note = f"{made} of {len(found)} molecules have a route within the limits."
    if len(found) > most:
        note += f" The first {most} are drawn."
    return Routes(title, sorted(found, key=lambda one: one.steps is None), note)


def _synthesis(folder: Path, place: int, row: dict[str, Any], drawn: bool) -> Synthesis:
    if row["route"] is None:
        return Synthesis(row["smiles"], None, "")
    steps = [
        (f"{'.'.join(step['reactants'])}>>{step['product']}", step["template"])
        for step in row["route"]["reactions"]
    ]
    picture = folder / f"route-{place + 1}.svg"
    content = picture.read_bytes() if drawn and picture.exists() else b""
    return Synthesis(row["smiles"], steps, b64encode(content).decode())
