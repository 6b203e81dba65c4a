"""Every atom of a ligand is read, whatever the format and the names of its atoms."""

import re

import gemmi
import numpy as np
import pytest
from openbabel import openbabel
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from ipsrl.errors import InvalidInput
from ipsrl.molecules.docking.structure import read_structure, reference

SMILES = [
    "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "CC(=O)Oc1ccccc1C(=O)O",
    "Clc1cc(Cl)c(Br)c(I)c1",
    "O=C1NC(=O)C2(CCCC2)S1",
    "C[N+](C)(C)CCOP(=O)([O-])OCC(F)(F)F",
]


def embedded(smiles: str) -> Chem.Mol:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=0) == 0
    return molecule


def as_file(molecule: Chem.Mol, path) -> None:
    """What `obabel x.sdf -O l.pdb` writes, where atoms of an element share its symbol as a name."""
    other, writer = openbabel.OBMol(), openbabel.OBConversion()
    writer.SetInAndOutFormats("mol", path.suffix[1:])
    assert writer.ReadString(other, Chem.MolToMolBlock(molecule))
    assert writer.WriteFile(other, str(path))
    writer.CloseOutFile()


@pytest.mark.parametrize("end", ["pdb", "sdf", "mol", "mol2", "cif"])
@pytest.mark.parametrize("smiles", SMILES)
def test_all_atoms_are_where_they_are(smiles, end, tmp_path):
    molecule, path = embedded(smiles), tmp_path / f"l.{end}"
    if end == "cif":
        structure = gemmi.read_pdb_string(Chem.MolToPDBBlock(molecule))
        structure.setup_entities()
        structure.make_mmcif_document().write_file(str(path))
    else:
        as_file(molecule, path)
    found = reference(read_structure(path), "")
    expected = molecule.GetConformer().GetPositions()
    elements = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    assert sorted(atom.element.name for atom in found) == sorted(elements)
    places = np.array(sorted(atom.pos.tolist() for atom in found))
    # A PDB file has three decimals, and two of them can come in another order.
    np.testing.assert_allclose(places.mean(0), expected.mean(0), atol=1e-3)
    np.testing.assert_allclose(places[:, 0], np.sort(expected[:, 0]), atol=6e-4)
    names = [atom.name for atom in found]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Z]{1,2}\d+", name) for name in names)


def residue(atoms: list[tuple[str, str, float]]) -> str:
    """A PDB file of carbons: name, conformation and place on the x axis."""
    made, found = gemmi.Structure(), gemmi.Residue()
    found.name, found.seqid, found.het_flag = "LIG", gemmi.SeqId("1"), "H"
    for name, conformation, x in atoms:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.altloc = name, gemmi.Element("C"), conformation
        atom.pos = gemmi.Position(x, 0, 1)
        found.add_atom(atom)
    made.add_model(gemmi.Model(1)).add_chain("A").add_residue(found)
    return made.make_pdb_string()


@pytest.mark.parametrize(
    ("atoms", "places"),
    [
        ([("C", "\0", 1), ("C", "\0", 2), ("C", "\0", 3)], [1, 2, 3]),
        ([("C1", "A", 1), ("C1", "B", 9), ("C2", "\0", 2)], [1, 2]),  # two conformations
        ([("C", "A", 1), ("C", "A", 2), ("C", "B", 8), ("C", "B", 9)], [1, 2]),  # that share names
        ([("C", "\0", 1), ("C", "\0", 2), ("C", "A", 3), ("C", "B", 9)], [1, 2, 3]),
        ([("C", "\0", 1), ("C", "\0", 2), ("C1", "\0", 3)], [1, 2, 3]),  # a name that would come
    ],
)
def test_atoms_of_one_conformation_are_kept_and_of_several_the_first(atoms, places, tmp_path):
    (tmp_path / "l.pdb").write_text(residue(atoms))
    found = reference(read_structure(tmp_path / "l.pdb"), "")
    assert sorted(atom.pos.x for atom in found) == places


def test_names_that_differ_are_kept(tmp_path):
    (tmp_path / "l.pdb").write_text(residue([("CA", "\0", 1), ("CB", "\0", 2)]))
    assert [atom.name for atom in reference(read_structure(tmp_path / "l.pdb"), "")] == ["CA", "CB"]


@pytest.mark.parametrize("end", ["sdf", "mol2", "SDF"])
@pytest.mark.parametrize("text", ["", "garbage\n", "\0\0", None])
def test_what_is_no_ligand_is_refused(text, end, tmp_path, capfd):
    path = tmp_path / f"l.{end}"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInput, match="holds no molecule"):
        read_structure(path)
    assert capfd.readouterr() == ("", "")


def test_two_molecules_and_a_drawing_are_refused(tmp_path):
    block = Chem.MolToMolBlock(embedded("CCO")) + "$$$$\n"
    (tmp_path / "two.sdf").write_text(block * 2)
    with pytest.raises(InvalidInput, match="more than one molecule"):
        read_structure(tmp_path / "two.sdf")
    flat = Chem.MolFromSmiles("CCO")
    rdDepictor.Compute2DCoords(flat)
    (tmp_path / "flat.sdf").write_text(Chem.MolToMolBlock(flat) + "$$$$\n")
    with pytest.raises(InvalidInput, match="is a drawing"):
        read_structure(tmp_path / "flat.sdf")
