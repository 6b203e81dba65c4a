"""Molecules as RDKit draws them, without what its SVG repeats, in the ink of the page."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable
from functools import lru_cache

from ipsrl.errors import MissingExtra

try:
    from rdkit import Chem, RDLogger
    from rdkit.Chem.Draw import rdMolDraw2D
except ImportError as error:
    raise MissingExtra("molecules", error.name or "rdkit") from None

WIDTH, HEIGHT = 360, 240
"""The box of a drawing, in whole units; gallery.js has the same."""

Drawing = tuple[str, str, list[tuple[int, int, int, str]]]
"""Lines, filled shapes (both as d of a path), and labels: x, y, size of the letters, text."""

_PATH = re.compile(r"<path(?: class='bond[^']*')? d='([^']*)' style='fill:(\S*?);")
_LABEL = re.compile(r"<text x='([^']*)' y='([^']*)'.*?font-size:(\d+)px.*?>(?:<tspan>)?([^<]*)<")
_BLANK = re.compile(r"(?<=[MLZ]) | (?=[MLZ])")
_TENTHS = re.compile(r"(\d+)\.(\d)")


@lru_cache(maxsize=100_000)  # a page that is written again draws only what is new
def drawing(smiles: str) -> Drawing | None:
    """Lines and labels of a molecule; None for what is not a valid SMILES."""
    with _Quiet():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    # Letters, not their outlines.
    canvas = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
    options = canvas.drawOptions()
    options.clearBackground = False
    options.useBWAtomPalette()
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule)
    canvas.FinishDrawing()
    svg = canvas.GetDrawingText()
    lines, shapes = [], []
    for path, fill in _PATH.findall(svg):
        (lines if fill == "none" else shapes).append(_BLANK.sub("", _TENTHS.sub(_whole, path)))
    labels = [
        (round(float(x)), round(float(y)), int(size), t) for x, y, size, t in _LABEL.findall(svg)
    ]
    return "".join(lines), "".join(shapes), labels


def _whole(number: re.Match[str]) -> str:
    """A number with one decimal, rounded."""
    whole, tenths = number.groups()
    return str(int(whole) + (tenths >= "5"))


def packed(molecules: Iterable[str]) -> str:
    """Drawings by SMILES, as base64 of zlib of JSON."""
    drawn = {smiles: found for smiles in molecules if (found := drawing(smiles))}
    text = json.dumps(drawn, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


class _Quiet:
    """RDKit says on standard error what it cannot read."""

    def __enter__(self) -> None:
        RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]

    def __exit__(self, *error: object) -> None:
        RDLogger.EnableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]
