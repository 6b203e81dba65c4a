"""A compact drawing is RDKit's: the same bonds, letters and wedges."""

import re

import pytest
from report_runs import HOSTILE

from ipsrl.report.readers.drawing import HEIGHT, WIDTH, drawing


@pytest.mark.parametrize(
    ("smiles", "letters"),
    [("CC", ""), ("CCO", "OH"), ("c1ccncc1", "N"), ("[Na+].[Cl-]", "Na+Cl-"), ("CBr", "Br")],
)
def test_letters_are_those_of_the_atoms(smiles, letters):
    """Carbon has none, and a label may be in pieces, in any order."""
    _, _, labels = drawing(smiles)
    assert sorted("".join(text for *_, text in labels)) == sorted(letters)


def test_a_bond_is_a_line():
    """Ethane is one, ethene two, and so is ethyne three."""
    for smiles, bonds in (("CC", 1), ("C=C", 2), ("C#C", 3)):
        lines, shapes, _ = drawing(smiles)
        assert lines.count("M") == bonds
        assert shapes == ""


def test_a_wedge_is_a_shape():
    """One of two mirror images has a full wedge, the other one of strokes."""
    _, wedge, _ = drawing("C[C@@H](N)C(=O)O")
    strokes, none, _ = drawing("C[C@H](N)C(=O)O")
    assert (wedge.count("M"), wedge.count("L"), none) == (1, 2, "")
    assert strokes.count("M") > 10


def test_everything_lies_in_the_box_in_whole_units():
    lines, shapes, labels = drawing("COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1")
    assert not set(lines + shapes) - set("MLQCZ ,-0123456789")
    points = re.findall(r"(-?\d+),(-?\d+)", lines)
    assert all(0 <= int(x) <= WIDTH and 0 <= int(y) <= HEIGHT for x, y in points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y, *_ in labels)


@pytest.mark.parametrize("text", ["", "C(", HOSTILE])
def test_what_is_not_a_molecule_is_not_drawn(text, capfd):
    found = drawing(text)
    assert found is None or found == ("", "", [])
    assert capfd.readouterr().err == ""
