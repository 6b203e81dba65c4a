"""A route as a picture: the target on the left, what is bought on the right."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from html import escape

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from ipsrl.molecules.synthesis.route import Reaction, Route

WIDTH, HEIGHT = 260, 160  # of a molecule
GAP_X, GAP_Y, MARGIN = 190, 40, 24
LINE = 20  # letters in a line of an arrow's label
INK, BOUGHT, PAPER = "#444444", "#2a7f3f", "#ffffff"
FONT = "Helvetica, Arial, DejaVu Sans, sans-serif"


def route_svg(route: Route) -> str:
    """The route as SVG: molecules, arrows with the name of the step, green for what is bought.

    A molecule that two steps need is drawn twice.
    """
    made = {reaction.product: reaction for reaction in route.reactions}
    drawn: list[str] = []
    rows = columns = 0

    def place(smiles: str, column: int) -> float:
        """Draw the molecule and what it is made of; returns the height of its middle."""
        nonlocal rows, columns
        columns = max(columns, column + 1)
        reaction = made.get(smiles)
        if reaction is None:
            middle = MARGIN + rows * (HEIGHT + GAP_Y) + HEIGHT / 2
            rows += 1
        else:
            middles = [place(reactant, column + 1) for reactant in _distinct(reaction)]
            middle = (middles[0] + middles[-1]) / 2
            drawn.append(_arrow(reaction, column, middle, middles))
        drawn.append(_molecule(smiles, column, middle, bought=reaction is None))
        return middle

    place(route.target, 0)
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_X
    height = 2 * MARGIN + rows * (HEIGHT + GAP_Y)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="{FONT}">\n'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _distinct(reaction: Reaction) -> Sequence[str]:
    return list(dict.fromkeys(reaction.reactants))


def _left(column: int) -> int:
    return MARGIN + column * (WIDTH + GAP_X)


def _molecule(smiles: str, column: int, middle: float, *, bought: bool) -> str:
    left, top = _left(column), middle - HEIGHT / 2
    colour = BOUGHT if bought else INK
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.05
    options.fixedBondLength = 30  # at most: small molecules are not blown up
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, Chem.MolFromSmiles(smiles))
    drawer.FinishDrawing()
    picture = re.sub(r".*?<svg[^>]*>|</svg>\s*$", "", drawer.GetDrawingText(), flags=re.DOTALL)
    label = "in stock" if bought else ""
    return (
        f'<g transform="translate({left} {top:g})"><title>{escape(smiles)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{PAPER}" stroke="{colour}" '
        f'stroke-width="{2 if bought else 1}"/>\n{picture}\n'
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 16}" text-anchor="middle" font-size="12" '
        f'fill="{colour}">{label}</text></g>'
    )


def _arrow(reaction: Reaction, column: int, middle: float, middles: Sequence[float]) -> str:
    """An arrow from the reactants on the right to the product, with the step's name on it."""
    tip, end = _left(column) + WIDTH + 6, _left(column + 1) - 6
    joint = end - 16
    lines = textwrap.wrap(reaction.template, LINE)
    text = "".join(
        f'<text x="{(tip + joint) / 2 + 4}" y="{middle - 8 - 14 * (len(lines) - 1 - i):g}" '
        f'text-anchor="middle" font-size="12" fill="{INK}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    number = Counter(reaction.reactants)
    counts = "".join(
        f'<text x="{joint + 2}" y="{y - 6:g}" font-size="12" fill="{INK}">{number[r]} x</text>'
        for r, y in zip(_distinct(reaction), middles, strict=True)
        if number[r] > 1
    )
    branches = "".join(f"M{end} {y:g}H{joint}V{middle:g}" for y in middles)
    return (
        f'<path d="{branches}M{joint} {middle:g}H{tip + 8}" fill="none" stroke="{INK}"/>'
        f'<path d="M{tip} {middle:g}l10 -5v10z" fill="{INK}"/>{text}{counts}'
    )
