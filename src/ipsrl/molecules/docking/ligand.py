"""A ligand for docking: from a SMILES to the PDBQT of one conformer.

    SMILES -> neutral -> charges at a pH -> 3D (ETKDGv2, seed 0) -> UFF -> PDBQT

Charges: the pH model of Open Babel, a list of groups with fixed pKa (O'Boyle et al. 2011,
10.1186/1758-2946-3-33).  It knows nothing of neighbours, so both nitrogens of a piperazine are
charged.  Each proton that it adds or takes is put on RDKit's molecule, so stereo cannot be lost on
the way; a charge without a proton is not taken over: its rules misfire on enol ethers and on
tetrazoles, which stay neutral.

Conformer: ETKDGv2 (Riniker and Landrum 2015, 10.1021/acs.jcim.5b00654).  Assigned stereo is kept;
an unassigned centre becomes what the embedding with seed 0 finds, the same each time.

PDBQT: Meeko.  Single bonds outside rings turn, but for amides.  Rings, also large ones, keep the
shape that the embedding gave them, because of the engines only Vina 1.2 could open them.
"""

from __future__ import annotations

from dataclasses import dataclass

import meeko
from openbabel import openbabel
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ipsrl.molecules.component import Failure
from ipsrl.molecules.molecule import neutral

ELEMENTS = {"H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"}
"""Elements of ligands that Vina has parameters for."""
LARGEST = 128  # heavy atoms: as many as a SMILES of the prior has tokens, and more than fit the box
TRIES = 100  # of the embedding; stereo that cannot be fails after seconds, on any machine the same


@dataclass(frozen=True)
class Ligand:
    """A prepared ligand.

    Attributes:
      molecule: with charges, hydrogens and one conformer; heavy atoms in the order of the SMILES.
      pdbqt: what a docking program reads.
    """

    molecule: Chem.Mol
    pdbqt: str


def prepare(smiles: str, pH: float = 7.4) -> Ligand | Failure:
    """Prepare one ligand.

    A SMILES of several fragments fails: docking only the largest would give a molecule, with any
    counter-ion written beside it, the same score again, which a search would soon find out.

    Args:
      smiles: canonical.
      pH: of the charges.
    Returns:
      the ligand, or why it cannot be docked; never raises.
    """
    with rdBase.BlockLogs():
        try:
            molecule = _embedded(_charged(_checked(smiles), pH))
            return Ligand(molecule, _pdbqt(molecule))
        except Exception as error:
            return Failure(f"no ligand: {error}"[:200])


def placed(molecule: Chem.Mol, pH: float = 7.4) -> str:
    """PDBQT of heavy atoms that have their positions already, those of a crystal."""
    return _pdbqt(Chem.AddHs(_charged(molecule, pH), addCoords=True))


def _checked(smiles: str) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError("the SMILES is not valid")
    for atom in molecule.GetAtoms():
        atom.SetIsotope(0)  # deuterium is hydrogen
    molecule = Chem.RemoveAllHs(molecule)
    symbols = {atom.GetSymbol() for atom in molecule.GetAtoms()}
    if others := sorted(symbols - ELEMENTS):
        raise ValueError(f"Vina has no parameters for {', '.join(others)}")
    if not symbols - {"H"}:
        raise ValueError("there is no heavy atom")
    if (fragments := len(Chem.GetMolFrags(molecule))) > 1:
        raise ValueError(f"{fragments} fragments; only one molecule can be docked")
    if (atoms := molecule.GetNumAtoms()) > LARGEST:
        raise ValueError(f"{atoms} heavy atoms are more than {LARGEST}")
    return molecule


def _charged(molecule: Chem.Mol, pH: float) -> Chem.Mol:
    """The molecule with the protons that Open Babel gives it."""
    molecule, other = neutral(molecule), openbabel.OBMol()
    smiles = Chem.MolToSmiles(molecule)
    order = molecule.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
    reader = openbabel.OBConversion()
    reader.SetInFormat("smi")
    openbabel.obErrorLog.StopLogging()  # to standard error; what it cannot read, we report
    if not reader.ReadString(other, smiles):
        raise ValueError("Open Babel cannot read it")
    other.AddHydrogens(False, True, pH)
    models = [atom for atom in openbabel.OBMolAtomIter(other) if atom.GetAtomicNum() > 1]
    atoms = [molecule.GetAtomWithIdx(i) for i in order]
    if [atom.GetAtomicNum() for atom in atoms] != [model.GetAtomicNum() for model in models]:
        raise ValueError("Open Babel reads another molecule")
    for atom, model in zip(atoms, models, strict=True):
        hydrogens = sum(n.GetAtomicNum() == 1 for n in openbabel.OBAtomAtomIter(model))
        protons = hydrogens - atom.GetTotalNumHs()
        if protons and model.GetFormalCharge() - atom.GetFormalCharge() == protons:
            atom.SetFormalCharge(model.GetFormalCharge())
            atom.SetNumExplicitHs(hydrogens)
            atom.SetNoImplicit(True)
    Chem.SanitizeMol(molecule)
    return molecule


def _embedded(molecule: Chem.Mol) -> Chem.Mol:
    molecule = Chem.AddHs(molecule)
    parameters = rdDistGeom.ETKDGv2()
    parameters.randomSeed = 0
    parameters.maxIterations = TRIES
    if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
        parameters.useRandomCoords = True  # which finds large rings
        if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
            raise ValueError("no conformer is found")
    if not rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        raise ValueError("UFF has no parameters for one of its atoms")
    rdForceFieldHelpers.UFFOptimizeMolecule(molecule)
    return molecule


def _pdbqt(molecule: Chem.Mol) -> str:
    (setup,) = meeko.MoleculePreparation(rigid_macrocycles=True).prepare(molecule)
    text, is_fine, trouble = meeko.PDBQTWriterLegacy.write_string(setup)
    if not is_fine:
        raise ValueError(trouble.strip())
    return text
