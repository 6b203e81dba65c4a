"""A receptor is the protein around the reference ligand, and nothing else; files will do."""

import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import gemmi
import numpy as np
import pytest
from helpers import SHARED
from openbabel import openbabel
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ipsrl.cli import main
from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules import Config, DockingConfig
from ipsrl.molecules.docking.receptor import Receptor, centroid, prepare

BOX_7UVU = [-29.497, 72.553, 15.125]


def shared(name: str) -> Path:
    path = SHARED / "data/chem" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    return path


@pytest.fixture(scope="module")
def peptide() -> gemmi.Chain:
    """Gly-His-Trp-Lys-Ser-Glu-Tyr, without hydrogens, its centre in the origin."""
    molecule = Chem.AddHs(Chem.MolFromSequence("GHWKSEY"))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=0, useRandomCoords=True) == 0
    chain = gemmi.read_pdb_string(Chem.MolToPDBBlock(Chem.RemoveHs(molecule)))[0][0]
    moved(chain, -np.mean([a.pos.tolist() for r in chain for a in r], axis=0))
    return chain


def moved(chain: gemmi.Chain, by) -> gemmi.Chain:
    for residue in chain:
        for atom in residue:
            atom.pos += gemmi.Position(*by)
    return chain


def other(name: str, atoms: dict[str, tuple[float, float, float]], number=900) -> gemmi.Residue:
    """A residue that is not a polymer."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId(str(number)), "H"
    for label, place in atoms.items():
        atom = gemmi.Atom()
        atom.name, atom.pos = label, gemmi.Position(*place)
        atom.element = gemmi.Element(re.sub(r"\d", "", label))
        residue.add_atom(atom)
    return residue


ETHANOL = {"C1": (0.0, 0.0, 9.0), "C2": (1.5, 0.0, 9.0), "O1": (1.5, 1.5, 9.0)}


@pytest.fixture
def structure(peptide) -> gemmi.Structure:
    """Chain A holds the peptide, the ligand, water and zinc; B, a copy, is 100 A away."""
    structure = gemmi.Structure()
    structure.spacegroup_hm = "P 1"
    model = structure.add_model(gemmi.Model(1))
    near, far = peptide.clone(), moved(peptide.clone(), (100.0, 0.0, 0.0))
    near.name, far.name = "A", "B"
    near.add_residue(other("EOH", ETHANOL))
    near.add_residue(other("ACE", {"C1": (0.0, 5.0, 9.0), "O1": (0.0, 6.2, 9.0)}, 901))
    near.add_residue(other("ZN", {"ZN": (0.0, 0.0, 7.0)}, 902))
    near.add_residue(other("HOH", {"O": (3.0, 3.0, 9.0)}, 903))
    model.add_chain(near)
    model.add_chain(far)
    return structure


def written(structure: gemmi.Structure, path: Path) -> str:
    path.write_text(structure.make_pdb_string())
    return str(path)


def atoms(pdbqt: str) -> list[tuple[str, ...]]:
    lines = [line for line in pdbqt.splitlines() if line.startswith("ATOM")]
    return [(s[21], s[17:20], s[12:16].strip(), s.split()[-1]) for s in lines]


# --- rules ----------------------------------------------------------------------------------------


def test_the_protein_near_the_ligand_is_kept_and_nothing_else(structure, peptide, tmp_path):
    made = prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")
    assert made.chains == ["A"]
    assert made.left_out == []
    assert "EOH" in made.ligand  # three atoms; the other has two, and zinc is an ion
    found = atoms((tmp_path / "out/receptor.pdbqt").read_text())
    assert {chain for chain, *_ in found} == {"A"}
    assert {name for _, name, *_ in found} == {"GLY", "HIS", "TRP", "LYS", "SER", "GLU", "TYR"}
    heavy = [name for *_, name, kind in found if kind != "HD"]
    assert len(heavy) == sum(len(residue) for residue in peptide)


def test_what_else_is_in_the_box_is_named(structure, tmp_path):
    """The other ligand and the zinc; neither water, nor what is far away, nor the reference."""
    structure[0]["B"].add_residue(other("FPP", {"C1": (100.0, 0.0, 9.0)}, 950))
    structure[0]["B"].add_residue(other("NAD", {"C1": (5.0, 5.0, 9.0), "O1": (5.0, 6.2, 9.0)}, 951))
    source = written(structure, tmp_path / "in.pdb")
    made = prepare(source, tmp_path / "out")
    assert made.others == ["ACE A:901", "ZN A:902", "NAD B:951"]
    again = prepare(source, tmp_path / "named", residue="ACE")
    assert again.others == ["EOH A:900", "ZN A:902", "NAD B:951"]


def test_a_second_copy_of_the_ligand_is_named(structure, tmp_path):
    """It has the same name and number, in another chain; the ligand may have its own file."""
    near = {name: (x, y, z - 3) for name, (x, y, z) in ETHANOL.items()}
    structure[0]["B"].add_residue(other("EOH", near))
    ligand = gemmi.Structure()
    ligand.add_model(gemmi.Model(1)).add_chain("X").add_residue(other("EOH", ETHANOL))
    source, file = written(structure, tmp_path / "p.pdb"), Path(written(ligand, tmp_path / "l.pdb"))
    for one in (None, file):
        made = prepare(source, tmp_path / "out", ligand=one)
        assert made.others == ["ACE A:901", "ZN A:902", "EOH B:900"]


def test_hydrogens_are_those_of_the_residues(structure, tmp_path):
    """Polar ones: one on each N of the chain, 7, also the first; His 1, Trp 1, Lys 3, Ser 1,
    Tyr 1: 14."""
    prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")
    found = atoms((tmp_path / "out/receptor.pdbqt").read_text())
    assert sum(kind == "HD" for *_, kind in found) == 14


def test_the_box_is_around_the_heavy_atoms_of_the_ligand(structure, tmp_path):
    """Ethanol's: (0 + 1.5 + 1.5) / 3 = 1, (0 + 0 + 1.5) / 3 = .5, 9."""
    structure[0]["A"][-4].add_atom(other("X", {"H1": (9.0, 9.0, 9.0)})[0])
    made = prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")
    assert made.center == [1.0, 0.5, 9.0]


def test_the_ligand_can_be_named(structure, tmp_path):
    source = written(structure, tmp_path / "in.pdb")
    assert "ACE" in prepare(source, tmp_path / "out", residue="ACE").ligand
    with pytest.raises(InvalidInput, match="no reference ligand XYZ.*ligands found: ACE, EOH"):
        prepare(source, tmp_path / "out", residue="XYZ")


def test_the_ligand_can_be_a_file_of_its_own(structure, tmp_path):
    ligand = gemmi.Structure()
    ligand.add_model(gemmi.Model(1)).add_chain("X").add_residue(other("EOH", ETHANOL))
    chain = structure[0]["A"]
    for i in reversed(range(len(chain))):
        if chain[i].name in ("EOH", "ACE"):
            del chain[i]
    source, file = written(structure, tmp_path / "p.pdb"), Path(written(ligand, tmp_path / "l.pdb"))
    assert prepare(source, tmp_path / "out", ligand=file).center == [1.0, 0.5, 9.0]
    with pytest.raises(InvalidInput, match="ligands found: none.*--ligand FILE"):
        prepare(source, tmp_path / "out")


def test_mmcif_and_pdb_make_the_same_receptor(structure, tmp_path):
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "in.cif"))
    prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "pdb")
    prepare(str(tmp_path / "in.cif"), tmp_path / "cif")
    assert (tmp_path / "cif/receptor.pdbqt").read_text() == (
        (tmp_path / "pdb/receptor.pdbqt").read_text()
    )


def test_of_alternative_conformations_the_first_is_taken(structure, tmp_path):
    prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "one")
    serine = structure[0]["A"][4]
    twins = [atom.clone() for atom in serine]
    for atom, twin in zip(serine, twins, strict=True):
        atom.altloc, twin.altloc = "A", "B"
        twin.pos += gemmi.Position(0.3, 0.0, 0.0)
    for twin in twins:
        serine.add_atom(twin)
    prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "two")
    assert (tmp_path / "one/receptor.pdbqt").read_text() == (
        (tmp_path / "two/receptor.pdbqt").read_text()
    )


def test_a_broken_residue_in_the_box_is_an_error(structure, tmp_path):
    tyrosine = structure[0]["A"][6]
    tyrosine.remove_atom("CZ", "\0")
    with pytest.raises(RunError, match="cannot be prepared: TYR A:7.*PDBFixer"):
        prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")
    assert not (tmp_path / "out/receptor.pdbqt").exists()


@pytest.mark.parametrize("is_near", [True, False])
def test_of_a_modified_residue_rcsb_is_not_asked(is_near, structure, tmp_path, monkeypatch):
    """The lysine becomes a selenomethionine, for which Meeko has no template."""
    residue = structure[0]["A"][3]
    residue.name = "MSE"
    residue.remove_atom("NZ", "\0")
    residue["CD"][0].name = "SE"
    residue["SE"][0].element = gemmi.Element("Se")
    for atom in residue:
        atom.pos += gemmi.Position(0.0, 0.0, 9.0 if is_near else 60.0)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_: pytest.fail("RCSB was asked"))
    source = written(structure, tmp_path / "in.pdb")
    if not is_near:
        assert prepare(source, tmp_path / "out").left_out == ["MSE A:4"]
        return
    with pytest.raises(RunError, match=r"prepared: MSE A:4\. .*MET for MSE and SD for SE"):
        prepare(source, tmp_path / "out")


def test_a_histidine_with_a_hydrogen_but_none_at_its_nitrogens_is_an_error(structure, tmp_path):
    histidine = structure[0]["A"][1]
    ring = [histidine[name][0].pos for name in ("CG", "CD2", "NE2", "ND1", "CE1")]
    outwards = ring[4] - sum(ring, gemmi.Position(0, 0, 0)) / 5
    atom = gemmi.Atom()
    atom.name, atom.element = "HE1", gemmi.Element("H")
    atom.pos = ring[4] + outwards * (1.08 / outwards.length())
    histidine.add_atom(atom)
    with pytest.raises(RunError, match="HIE HID. Mend the structure"):
        prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")


def test_a_broken_residue_outside_the_box_is_left_out_and_named(structure, tmp_path):
    for atom in structure[0]["A"][6]:
        atom.pos += gemmi.Position(60.0, 0.0, 0.0)
    structure[0]["A"][6].remove_atom("CZ", "\0")
    made = prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")
    assert made.left_out == ["TYR A:7"]


def test_chains_of_mmcif_keep_their_long_names(structure, tmp_path):
    """Their first letters are alike, and both reach into the box; of each the last residue, which
    is broken, does not."""
    near, other = structure[0]["A"], structure[0]["B"]
    near.name, other.name = "AA", "AAB"
    moved(other, (-100.0, 0.0, 18.0))
    for chain in (near, other):
        moved([chain[6]], (60.0, 0.0, 0.0))
        chain[6].remove_atom("CZ", "\0")
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "in.cif"))
    made = prepare(str(tmp_path / "in.cif"), tmp_path / "out")
    assert made.chains == ["AA", "AAB"]
    assert made.left_out == ["TYR AA:7", "TYR AAB:7"]
    assert made.others == ["ACE AA:901", "ZN AA:902"]
    assert len({chain for chain, *_ in atoms((tmp_path / "out/receptor.pdbqt").read_text())}) == 2


def test_a_ligand_far_from_any_protein_is_refused(structure, tmp_path):
    moved_away = structure[0]["A"]
    for name in ("900", "901"):
        for atom in moved_away[name][0]:
            atom.pos += gemmi.Position(0.0, 500.0, 0.0)
    with pytest.raises(InvalidInput, match="no chain of a protein reaches into the box"):
        prepare(written(structure, tmp_path / "in.pdb"), tmp_path / "out")


# --- what is written ------------------------------------------------------------------------------


def test_what_is_written_is_a_configuration_of_a_search(structure, tmp_path):
    out = tmp_path / "out"
    prepare(written(structure, tmp_path / "in.pdb"), out)
    (component,) = Config.load(out / "receptor.toml").components
    assert component.docking == DockingConfig(
        receptor=str(out.resolve() / "receptor.pdbqt"), center=[1.0, 0.5, 9.0]
    )
    assert Receptor.load(component.docking).pdbqt == (out / "receptor.pdbqt").read_text()
    (ligand,) = gemmi.read_structure(str(out / "ligand.pdb"))[0][0]
    assert (ligand.name, len(ligand)) == ("EOH", 3)


def test_the_command_says_what_it_did(structure, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "vina", None)  # as on Python 3.13, where programs dock
    out = tmp_path / "out"
    assert (
        main(["molecules", "receptor", written(structure, tmp_path / "i.pdb"), "-o", str(out)]) == 0
    )
    said = capfd.readouterr()
    assert "box around [1.0, 0.5, 9.0]" in said.out
    assert "no template and are left out: none" in said.out
    assert "in the box, but no protein, and left out: ACE A:901, ZN A:902" in said.out
    assert f"--receptor {out}/receptor.pdbqt" in said.out
    assert said.err == ""


# --- files and RCSB -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [("nothing.pdb", "neither a file nor a PDB code"), ("7UV", "neither"), ("UVU7", "neither")],
)
def test_what_is_no_structure_is_refused(source, message, tmp_path):
    with pytest.raises(InvalidInput, match=message):
        prepare(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "garbage\n", "\0\0\0"])
def test_a_file_without_atoms_is_refused(text, tmp_path):
    (tmp_path / "in.pdb").write_text(text)
    with pytest.raises(InvalidInput, match=r"in.pdb"):
        prepare(str(tmp_path / "in.pdb"), tmp_path / "out")


def test_a_code_is_downloaded_once(structure, tmp_path, monkeypatch):
    """The transport is replaced; what RCSB would send is an mmCIF file."""
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "sent.cif"))
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return (tmp_path / "sent.cif").open("rb")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    for _ in range(2):
        assert prepare("7uvu", tmp_path / "out").center == [1.0, 0.5, 9.0]
    assert asked == ["https://files.rcsb.org/download/7UVU.cif"]


def test_without_internet_the_error_says_which_files_to_give(tmp_path, monkeypatch):
    def unreachable(url, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(RunError, match=r"7UVU.cif.*molecules receptor FILE.cif.*--ligand"):
        prepare("7UVU", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.network
def test_7uvu_itself(tmp_path):
    made = prepare("7UVU", tmp_path / "out")
    assert "OY9" in made.ligand


# --- the real data --------------------------------------------------------------------------------


def test_the_centroid_of_the_reference_is_the_box_of_the_data():
    ligand = gemmi.read_structure(str(shared("7uvu-reference.pdb")))
    assert centroid(atom.pos.tolist() for atom in ligand[0][0][0]) == BOX_7UVU


@pytest.mark.parametrize("end", ["pdb", "sdf", "mol2"])
def test_imatinib_is_whole_in_every_format(end, tmp_path):
    """Open Babel's PDB file calls its 69 atoms C, N, O and H: the box was 6.3 A off."""
    molecule, writer = openbabel.OBMol(), openbabel.OBConversion()
    writer.SetInAndOutFormats("sdf", end)
    assert writer.ReadFile(molecule, str(shared("1iep_ligand.sdf")))
    assert writer.WriteFile(molecule, str(tmp_path / f"l.{end}"))
    writer.CloseOutFile()
    source, file = str(shared("1iep_receptorH.pdb.gz")), tmp_path / f"l.{end}"
    made = prepare(source, tmp_path / "out", ligand=file)
    assert made.center == [15.614, 53.38, 15.455]
    assert (tmp_path / "out/ligand.pdb").read_text().count("HETATM") == 69


@pytest.fixture(scope="module")
def protein(tmp_path_factory) -> Path:
    """The heavy atoms of the prepared receptor of the data, as a PDB file again."""
    elements = {"A": "C", "OA": "O", "NA": "N", "SA": "S"}
    lines = []
    for line in shared("7uvu-2-monomers-pdbfixer.pdbqt").read_text().splitlines():
        kind = line.split()[-1]
        if line.startswith("ATOM") and kind != "HD":
            lines.append(f"{line[:54]}  1.00  0.00          {elements.get(kind, kind):>2}")
        elif line.startswith("TER"):
            lines.append("TER")
    path = tmp_path_factory.mktemp("7uvu") / "protein.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def test_7uvu_from_files(protein, tmp_path):
    """Beside the receptor of the data, which PDBFixer and Open Babel made of the same atoms: the
    same heavy atoms of the chains in reach.  Histidine is neutral here; the first nitrogen of a
    chain has one hydrogen, not three."""
    made = prepare(str(protein), tmp_path, ligand=shared("7uvu-reference.pdb"))
    assert made.center == BOX_7UVU
    assert made.left_out == []
    ours = atoms((tmp_path / "receptor.pdbqt").read_text())
    theirs = atoms(shared("7uvu-2-monomers-pdbfixer.pdbqt").read_text())
    kept = [atom for atom in theirs if atom[0] in made.chains]
    assert {a[:3] for a in ours if a[3] != "HD"} == {a[:3] for a in kept if a[3] != "HD"}
    hydrogens = [sum(a[3] == "HD" and a[1] != "HIS" for a in part) for part in (ours, kept)]
    assert hydrogens[1] - hydrogens[0] == 2 * len(made.chains)
