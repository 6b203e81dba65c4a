"""A part that every molecule is to contain, and where it may be substituted."""

from __future__ import annotations

import re

from rdkit import Chem, rdBase

from ipsrl.errors import InvalidInput

_NUMBERED = re.compile(r"\[\d*\*(:\d+)?\]")  # as REINVENT4 and RDKit write attachment points
_INSIDE = re.compile(r"\*(?!\)|$)")


class Fragment:
    """A fragment with attachment points, *, or numbered ones, [*:1].

    Attributes:
      written: its SMILES; each * ends a branch, or all of it.
      plain: the same as RDKit writes it, without brackets that say nothing.
      on_aromatic: for each *, whether it stands on an aromatic atom.

    Raises:
      InvalidInput: for what is not one molecule with attachment points, each with one bond, or
        where one stands before what it is attached to.
    """

    def __init__(self, smiles: str) -> None:
        self.written = _NUMBERED.sub("*", smiles)
        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(self.written)
        if molecule is None or "." in smiles:
            raise InvalidInput(f"{smiles!r} is not the SMILES of one fragment. Correct it.")
        points = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0]
        if len(points) == molecule.GetNumAtoms():
            raise InvalidInput(
                f"there is no fragment in {smiles!r}. Write what every molecule is to contain, as "
                "in c1ccc(*)cc1, or leave it out for whole molecules."
            )
        if not points:
            raise InvalidInput(
                f"{smiles!r} does not say where it may be substituted. Write * at each such place, "
                "as in c1ccc(*)cc1C(=O)N*."
            )
        if any(point.GetDegree() != 1 for point in points):
            raise InvalidInput(
                f"{smiles!r} has a * with several bonds. Give each attachment point one bond."
            )
        self.plain = _rewritten(molecule)
        if _INSIDE.search(self.written):
            raise InvalidInput(
                f"{smiles!r} has a * that does not end a branch, so it would be written before "
                f"what it is attached to. Write {self.plain}."
            )
        on = [point.GetNeighbors()[0] for point in points]
        self.on_aromatic = [atom.GetIsAromatic() for atom in on]
        exact = Chem.AdjustQueryParameters()  # * is any atom, and the others have no more bonds
        exact.adjustDegreeFlags = Chem.ADJUST_IGNOREDUMMIES
        self._query = Chem.AdjustQueryProperties(molecule, exact)

    def is_in(self, smiles: str) -> bool:
        """Whether a molecule has it, with an atom at each * and none at other places."""
        return Chem.MolFromSmiles(smiles).HasSubstructMatch(self._query)


def _rewritten(molecule: Chem.Mol) -> str:
    """The same with every * after what it is attached to: it starts at another atom."""
    start = next(atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() > 0)
    return Chem.MolToSmiles(molecule, rootedAtAtom=start)
