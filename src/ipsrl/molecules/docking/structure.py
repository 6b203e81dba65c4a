"""Structures as files have them: proteins of PDB and mmCIF, ligands also of SDF and MOL2.

Of a structure the first model and the first of alternative conformations are read, without waters.
Programs write ligands whose atoms share names, Open Babel for one; these atoms get names of their
own, or they would be taken for alternative positions of one atom.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from openbabel import openbabel

from ipsrl.errors import InvalidInput

LIGANDS = {".sdf": "sdf", ".mol": "mol", ".mol2": "mol2"}
"""Formats of ligands beside PDB and mmCIF, by the end of the file's name."""


def read_structure(path: Path) -> Any:
    """A structure of gemmi.

    Raises:
      InvalidInput: if the file cannot be read, or has no atoms.
    """
    import gemmi

    if path.suffix.lower() in LIGANDS:
        return _read_ligand(path)
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInput(
            f"{path} is neither a PDB nor a mmCIF file ({error}). A ligand may also be "
            f"a file whose name ends in {', '.join(LIGANDS)}."
        ) from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise InvalidInput(f"{path} has no atoms. Give a PDB or mmCIF file with coordinates.")
    del structure[1:]
    structure.setup_entities()
    for residue in _others(structure):
        _name_apart(residue)
    structure.remove_alternative_conformations()
    structure.remove_waters()
    structure.remove_empty_chains()
    return structure


def reference(structure: Any, name: str) -> Any:
    """The residue that is the reference ligand: of this name, or the largest.

    Raises:
      InvalidInput: if there is none.
    """
    others = [residue for residue in _others(structure) if len(residue) > 1]
    named = [residue for residue in others if residue.name == name] if name else others
    if not named:
        found = ", ".join(sorted({residue.name for residue in others})) or "none"
        raise InvalidInput(
            f"there is no reference ligand {name or 'in the structure'}, so the place of the box "
            f"is unknown; ligands found: {found}. Name one with --residue, or give --ligand FILE"
        )
    return max(named, key=len)


def alone(structure: Any, residue: Any) -> Any:
    """A structure of one residue."""
    import gemmi

    made = gemmi.Structure()
    made.cell, made.spacegroup_hm = structure.cell, structure.spacegroup_hm
    made.add_model(gemmi.Model(1)).add_chain("A").add_residue(residue)
    return made


def _others(structure: Any) -> list[Any]:
    """Residues that are not of a polymer."""
    import gemmi

    return [
        residue for chain in structure[0] for residue in chain
        if residue.entity_type != gemmi.EntityType.Polymer
    ]  # fmt: skip


def _name_apart(residue: Any) -> None:
    """If atoms of one conformation share names, rename all of them: C1, C2, N1 ..."""
    if max(Counter((atom.name, atom.altloc) for atom in residue).values(), default=1) == 1:
        return
    counts: Counter[tuple[str, str]] = Counter()
    for atom in sorted(residue, key=lambda atom: atom.altloc):  # what all conformations have first
        element, common = atom.element.name, "\0"
        counts[element, atom.altloc] += 1
        number = counts[element, atom.altloc]
        if atom.altloc != common:
            number += counts[element, common]
        atom.name = f"{element.upper()}{number}"


def _read_ligand(path: Path) -> Any:
    """One molecule of a file with bonds, as a residue LIG."""
    import gemmi

    openbabel.obErrorLog.StopLogging()  # to standard error; what it cannot read, we report
    molecule, second, reader = openbabel.OBMol(), openbabel.OBMol(), openbabel.OBConversion()
    reader.SetInFormat(LIGANDS[path.suffix.lower()])
    if not path.is_file() or not reader.ReadFile(molecule, str(path)) or not molecule.NumAtoms():
        raise InvalidInput(f"{path} holds no molecule that Open Babel can read. Correct the file.")
    if reader.Read(second):
        raise InvalidInput(
            f"{path} holds more than one molecule, and the box is around one. Give a file of the "
            "reference ligand alone."
        )
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = "LIG", gemmi.SeqId("1"), "H"
    residue.entity_type = gemmi.EntityType.NonPolymer
    for model in openbabel.OBMolAtomIter(molecule):
        atom = gemmi.Atom()
        atom.element = gemmi.Element(model.GetAtomicNum())
        atom.name = atom.element.name
        atom.pos = gemmi.Position(model.GetX(), model.GetY(), model.GetZ())
        residue.add_atom(atom)
    if all(atom.pos.z == 0 for atom in residue):
        raise InvalidInput(
            f"{path} is a drawing: all its atoms lie at z = 0. Give the ligand where it lies in "
            "the protein."
        )
    _name_apart(residue)
    return alone(gemmi.Structure(), residue)
