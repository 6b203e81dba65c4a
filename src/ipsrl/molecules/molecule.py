"""What identifies a molecule: its canonical SMILES, its scaffolds, its fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

LONGEST = 2**12
"""Characters of a SMILES; the time that RDKit takes grows with their square: 0.2 s for these."""

_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)


def canonical(smiles: str | None) -> str | None:
    """The canonical SMILES, or None for what is not a molecule: see `is_readable`.

    RDKit reads a few SMILES whose canonical form it cannot read; they are not molecules either.
    """
    if not smiles or (molecule := _read(smiles)) is None:
        return None
    written = Chem.MolToSmiles(molecule)
    return written if is_readable(written) else None


def is_readable(smiles: str) -> bool:
    """Whether RDKit reads a molecule with at least one atom in it; not tried above `LONGEST`."""
    return _read(smiles) is not None


def _read(smiles: str) -> Chem.Mol | None:
    if len(smiles) > LONGEST:
        return None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return molecule if molecule is not None and molecule.GetNumAtoms() > 0 else None


def neutral(molecule: Chem.Mol) -> Chem.Mol:
    """Without the charges that protons make, atoms in the same order.

    An ammonium is an amine, a carboxylate an acid; a nitro group, and a nitrogen with four carbons,
    stay as they are.
    """
    with rdBase.BlockLogs():
        return rdMolStandardize.Uncharger().uncharge(molecule)


def random_smiles(smiles: str, seed: int) -> str:
    """Another way to write the molecule, drawn by the seed."""
    return Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)[0]


@lru_cache(maxsize=2**16)  # of a molecule in the memory it is asked in every update
def scaffold(smiles: str) -> str:
    """Bemis-Murcko scaffold: rings and what links them; "" for a molecule without rings.

    Source: Bemis and Murcko 1996 (10.1021/jm9602928).
    """
    return Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(smiles)))


@lru_cache(maxsize=2**16)
def generic_scaffold(smiles: str) -> str:
    """Its graph alone: all atoms carbon, all bonds single."""
    molecule = Chem.MolFromSmiles(scaffold(smiles))
    with rdBase.BlockLogs():
        try:
            return Chem.MolToSmiles(MurckoScaffold.MakeScaffoldGeneric(molecule))
        except Chem.MolSanitizeException:  # an atom with more neighbours than carbon can have
            return Chem.MolToSmiles(molecule)


def similarities(smiles: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits) [N, M].

    T(a, b) = |a and b| / |a or b|, and 1 of a molecule with itself.
    """
    rows, columns = _fingerprints(smiles), _fingerprints(others)
    found = [DataStructs.BulkTanimotoSimilarity(row, columns) for row in rows]
    return np.array(found, dtype=float).reshape(len(smiles), len(others))


def internal_diversity(smiles: Sequence[str]) -> float:
    """Mean of 1 - T over all pairs of different positions; 0 for fewer than two molecules.

    Source: Benhenda 2017 (1708.08227).
    """
    n = len(smiles)
    if n < 2:
        return 0.0
    return float((n * n - similarities(smiles, smiles).sum()) / (n * (n - 1)))


def _fingerprints(smiles: Sequence[str]) -> list:
    return [_MORGAN.GetFingerprint(Chem.MolFromSmiles(text)) for text in smiles]
