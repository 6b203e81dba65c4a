"""From a run directory to a view: one module for each family.

A new family is a module with `read(run, label) -> View`, and a line in `_READERS`.
"""

from __future__ import annotations

from pathlib import Path

from ipsrl.report.readers import grids, hypospace, llm, molecules
from ipsrl.report.readers.base import plain_view, settings
from ipsrl.report.view import View
from ipsrl.runs import Run

_READERS = {
    "grids": grids.read,
    "llm": llm.read,
    "hypospace": hypospace.read,
    "molecules": molecules.read,
}


def read(directory: Path, label: str) -> View:
    """The view of a run, whatever its family, running or not.

    Args:
      directory: of the run.
      label: of it on the page.
    Raises:
      RunError: if there is no run in the directory, or a file of it cannot be read.
    """
    run = Run.open(directory)
    family = run.family or _guessed(run)
    return _READERS.get(family, plain_view)(run, label)


def _guessed(run: Run) -> str:
    """Of a run whose version did not record the family, by its configuration."""
    config = settings(run)
    marks = {"components": "molecules", "domain": "hypospace", "dataset": "llm", "policy": "grids"}
    return next((family for key, family in marks.items() if key in config), "")
