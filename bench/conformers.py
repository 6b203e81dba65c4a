"""What does the conformer cost that is docked?  `python bench/conformers.py OUT.json`.

The reference ligand of 7UVU (shared data) is docked from the conformer of the crystal and from
those of several seeds of the embedding, of which `ipsrl.molecules.docking.ligand` takes seed 0;
rings keep the shape that they have there.  Three seeds of the search for each budget.
"""

import json
import os
import sys
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ipsrl.molecules import DockingConfig
from ipsrl.molecules.docking.engines import Vina
from ipsrl.molecules.docking.ligand import _charged, _pdbqt, placed
from ipsrl.molecules.docking.receptor import Receptor, centroid
from ipsrl.molecules.docking.redock import NEAR, _crystal, rmsd

SHARED = Path(os.environ.get("IPSRL_SHARED", "../shared")) / "data" / "chem"
BUDGETS, SEARCHES, EMBEDDINGS = (100_000, 1_000_000), (1, 2, 3), range(6)


def embedded(smiles: str, seed: int) -> str:
    """As `ligand.prepare`, with another seed."""
    molecule = Chem.AddHs(_charged(Chem.MolFromSmiles(smiles), 7.4))
    parameters = rdDistGeom.ETKDGv2()
    parameters.randomSeed = seed
    assert rdDistGeom.EmbedMolecule(molecule, parameters) == 0
    rdForceFieldHelpers.UFFOptimizeMolecule(molecule)
    return _pdbqt(molecule)


def main() -> None:
    crystal = _crystal(SHARED / "7uvu-reference.pdb", "")
    smiles = Chem.MolToSmiles(crystal)
    ligands = {"crystal": placed(crystal)}
    ligands |= {f"seed {seed}": embedded(smiles, seed) for seed in EMBEDDINGS}
    center = centroid(crystal.GetConformer().GetPositions().tolist())
    rows = []
    for name, pdbqt in ligands.items():
        row = {"docked from": name}
        for budget in BUDGETS:
            poses = []
            for search in SEARCHES:
                config = DockingConfig(
                    receptor=str(SHARED / "7uvu-2-monomers-pdbfixer.pdbqt"),
                    center=center, seed=search, max_evals=budget,
                )  # fmt: skip
                (pose,) = Vina(config, Receptor.load(config))([pdbqt])
                poses.append((pose.score, round(rmsd(pose, crystal), 1)))
            row[str(budget)] = poses
        near = sum(distance < NEAR for budget in BUDGETS for _, distance in row[str(budget)])
        best = "  ".join("{:.2f} ({:.1f})".format(*min(row[str(budget)])) for budget in BUDGETS)
        print(f"{name:8}  {best}  within {NEAR:g} A: {near}", flush=True)
        rows.append(row)
    lines = ",\n".join(f" {json.dumps(row)}" for row in rows)
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
