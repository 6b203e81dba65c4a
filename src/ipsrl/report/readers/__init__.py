"""Readers make a view of a run directory; each family has one module.

A new family is a module with `read(run, label, among) -> View`, and a line in `_READERS`.
"""

from __future__ import annotations

from pathlib import Path

from pyarrow import ArrowException
from safetensors import SafetensorError

from ipsrl.errors import IpsrlError, NoRun, words
from ipsrl.report.readers import grids, hypospace, llm, molecules
from ipsrl.report.readers.base import plain_view
from ipsrl.report.view import View
from ipsrl.runs import Run

_READERS = {
    "grids": grids.read,
    "llm": llm.read,
    "hypospace": hypospace.read,
    "molecules": molecules.read,
}


def read(directory: Path, label: str, among: int = 1) -> View:
    """The view of a run, whatever its family, running or not.

    Args:
      directory: of the run.
      label: of it on the page.
      among: how many runs share the page: of each, there is room for the less.
    Raises:
      NoRun: if there is no run in the directory, or a file of it cannot be read.
    """
    run = Run.open(directory)
    try:
        reader = _READERS.get(run.family, plain_view)
        return reader(run, label, among)
    except IpsrlError:
        raise
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
        RecursionError, ArrowException, SafetensorError,
    ) as error:  # fmt: skip
        raise NoRun(
            f"{directory} cannot be read ({words(error)}), though a run wrote it. Restore its "
            "files from a copy, or leave it out."
        ) from error
