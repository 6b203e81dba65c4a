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


def routes(folder: Path, title: str = "Routes") -> Routes:
    """The routes in a folder, those that were found first.

    Raises:
      RunError: if they cannot be read.
    """
    try:
        rows = json.loads((folder / FILE).read_text("utf-8"))
        found = [_synthesis(folder, i, row) for i, row in enumerate(rows)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"{folder / FILE} cannot be read ({error}). Write it again with ipsrl molecules route."
        ) from None
    made = sum(one.steps is not None for one in found)
    note = f"{made} of {len(found)} molecules have a route within the limits."
    if len(found) > DRAWN:
        note += f" The first {DRAWN} are drawn."
    return Routes(title, sorted(found, key=lambda one: one.steps is None), note)


def _synthesis(folder: Path, place: int, row: dict[str, Any]) -> Synthesis:
    if row["route"] is None:
        return Synthesis(row["smiles"], None, "")
    steps = [
        (f"{'.'.join(step['reactants'])}>>{step['product']}", step["template"])
        for step in row["route"]["reactions"]
    ]
    picture = folder / f"route-{place + 1}.svg"
    drawn = place < DRAWN and picture.exists()
    return Synthesis(
        row["smiles"], steps, b64encode(picture.read_bytes()).decode() if drawn else ""
    )
