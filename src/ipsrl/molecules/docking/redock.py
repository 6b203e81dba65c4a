"""Redocking: does the set-up find the pose that the crystal shows?

The reference ligand is prepared from its SMILES, so the conformer knows nothing of the crystal, and
docked with several seeds and budgets.  Distance: RMSD of the heavy atoms where they lie, without
alignment, the least over the symmetries of the molecule.

The pose of the crystal, minimised where it lies, has a score too.  Where no docking reaches it, the
search is too short, or the rings of the conformer have another shape than in the crystal; where one
beats it far from it, the scoring function is wrong.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import meeko
from openbabel import openbabel
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdMolAlign

from ipsrl.errors import InvalidInput
from ipsrl.molecules.component import Failure
from ipsrl.molecules.config import DockingConfig
from ipsrl.molecules.docking.engines import Pose, Vina
from ipsrl.molecules.docking.ligand import placed, prepare
from ipsrl.molecules.docking.receptor import Receptor, centroid
from ipsrl.molecules.docking.structure import LIGANDS

NEAR = 2.0  # Angstrom: the usual limit for "the same pose"


@dataclass(frozen=True)
class Redock:
    """One docking of the reference ligand.

    Attributes:
      max_evals: budget.
      seed: of the search.
      score: kcal/mol; None where it failed.
      rmsd: to the crystal, Angstrom; None where it failed.
      reason: of the failure.
    """

    max_evals: int
    seed: int
    score: float | None
    rmsd: float | None
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """All dockings of a reference ligand.

    Attributes:
      smiles: of the ligand.
      center: of the box, the centroid of the reference.
      crystal: score of the pose of the crystal, minimised, kcal/mol.
      runs: one for each budget and seed.
    """

    smiles: str
    center: list[float]
    crystal: float
    runs: list[Redock]

    def text(self) -> str:
        """A table, a line for each budget."""
        lines = [
            f"{self.smiles}\nbox around {self.center}\n"
            f"pose of the crystal, minimised: {self.crystal:.2f} kcal/mol\n",
            "max_evals  scores (kcal/mol)          RMSD (A) of each seed      within 2 A",
        ]
        for budget in sorted({run.max_evals for run in self.runs}):
            runs = [run for run in self.runs if run.max_evals == budget]
            scores = [run.score for run in runs if run.score is not None]
            rmsds = [run.rmsd for run in runs if run.rmsd is not None]
            spread = "none"
            if scores:
                mean = statistics.mean(scores)
                spread = f"{mean:6.2f} ({min(scores):.2f} to {max(scores):.2f})"
            each = " ".join(f"{rmsd:.1f}" for rmsd in rmsds)
            near = sum(rmsd <= NEAR for rmsd in rmsds)
            lines.append(f"{budget:9}  {spread:26} {each:26} {near} of {len(runs)}")
        lines += [f"seed {run.seed}: {run.reason}" for run in self.runs if run.reason]
        return "\n".join(lines)


def redock(
    receptor: Path, ligand: Path, *, seeds: int, budgets: Sequence[int], smiles: str = ""
) -> Report:
    """Redock a reference ligand with Vina.

    Args:
      receptor: PDBQT.
      ligand: file of the ligand as the crystal shows it: PDB, or with its bonds SDF or MOL2.
      seeds: how many, from 1 on.
      budgets: values of max_evals.
      smiles: of the ligand; if not given, its bonds are those of the file, or where that is PDB
        guessed from the distances.
    Raises:
      InvalidInput: if the ligand cannot be read or prepared, or is not what `smiles` says.
      ConfigError: if the receptor cannot be used.
    """
    crystal = _crystal(ligand, smiles)
    center = centroid(crystal.GetConformer().GetPositions().tolist())
    smiles = Chem.MolToSmiles(crystal)
    configs = [
        # Each seed has maps of its own, which all budgets share.
        DockingConfig(receptor=str(receptor), center=center, seed=seed, max_evals=budget)
        for seed in range(1, seeds + 1)
        for budget in budgets
    ]
    first = configs[0]
    rigid, prepared = Receptor.load(first), prepare(smiles, first.pH)
    if isinstance(prepared, Failure):
        raise InvalidInput(f"{ligand} ({smiles}): {prepared.reason}.")
    bound, runs = Vina(first, rigid).minimised(placed(crystal, first.pH)), []
    for config in configs:
        (pose,) = Vina(config, rigid)([prepared.pdbqt])
        runs.append(_compared(config.max_evals, config.seed, pose, crystal))
    return Report(smiles, center, bound, runs)


def rmsd(pose: Pose, crystal: Chem.Mol) -> float:
    """Between heavy atoms, in place, the least over the symmetries of the graph; in Angstrom."""
    with rdBase.BlockLogs():
        docked = meeko.RDKitMolCreate.from_pdbqt_mol(meeko.PDBQTMolecule(pose.pdbqt))[0]
    return rdMolAlign.CalcRMS(_graph(docked), _graph(crystal))


def _graph(molecule: Chem.Mol) -> Chem.Mol:
    """Heavy atoms and bonds alone: two oxygens of an acid are the same, charged or not."""
    graph = Chem.RWMol()
    heavy = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() > 1]
    for i in heavy:
        graph.AddAtom(Chem.Atom(molecule.GetAtomWithIdx(i).GetAtomicNum()))
    for bond in molecule.GetBonds():
        ends = [bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]
        if set(ends) <= set(heavy):
            graph.AddBond(heavy.index(ends[0]), heavy.index(ends[1]), Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(heavy))
    conformer.SetPositions(molecule.GetConformer().GetPositions()[heavy])
    graph.AddConformer(conformer)
    return graph


def _compared(budget: int, seed: int, pose: Pose | Failure, crystal: Chem.Mol) -> Redock:
    if isinstance(pose, Failure):
        return Redock(budget, seed, None, None, pose.reason)
    return Redock(budget, seed, pose.score, rmsd(pose, crystal))


def _crystal(path: Path, smiles: str) -> Chem.Mol:
    """The heavy atoms of the reference, with bond orders."""
    molecule, second, reader = openbabel.OBMol(), openbabel.OBMol(), openbabel.OBConversion()
    reader.SetInAndOutFormats(LIGANDS.get(path.suffix.lower(), "pdb"), "mol")
    try:
        if not reader.ReadString(molecule, path.read_text("utf-8-sig")):
            raise ValueError("Open Babel finds no molecule")
        if reader.Read(second):
            raise ValueError("it holds more than one molecule")
        with rdBase.BlockLogs():
            found = Chem.MolFromMolBlock(reader.WriteString(molecule))
            if found is None:
                raise ValueError("its bonds, as Open Babel guesses them, are impossible")
            found = Chem.RemoveAllHs(found)
            if not smiles:
                return found
            template = Chem.MolFromSmiles(smiles)
            if template is None:
                raise ValueError(f"{smiles!r} is not a molecule")
            if template.GetNumHeavyAtoms() != found.GetNumAtoms():
                raise ValueError(
                    f"it has {found.GetNumAtoms()} heavy atoms, and {smiles!r} has "
                    f"{template.GetNumHeavyAtoms()}"
                )
            return AllChem.AssignBondOrdersFromTemplate(template, found)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} is not the reference ligand that it should be ({error}). Give a PDB, SDF or "
            "MOL2 file of one ligand, and its SMILES with --smiles"
        ) from None
