"""The identity of a molecule: its canonical SMILES, its scaffolds, its fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

LONGEST = 2**12
"""Characters of a SMILES; the time that RDKit takes grows with their square: 0.2 s for these."""

NAMES = "3"
"""Version of what names a molecule and its scaffolds: a run of another one does not go on."""

_NONMETALS = {1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 32, 33, 34, 35, 52, 53}
"""Elements of which an unpaired electron makes a radical; RDKit counts some on ions of metals."""
_METALS = {12, 13, 50, 51, 82, 83}
"""Metals of which an odd number of them does where they have a bond; SnCl2 has a lone pair."""


def canonical(smiles: str | None) -> str | None:
    """The canonical SMILES, or None for what is not a molecule: see `fault`.

    RDKit's canonical form of its own canonical form may differ from it, for example in stereo marks
    that say nothing.  So it is read and written again until it comes back to a form that was there
    before, and the least of those that it comes back to, in alphabetical order, is the name.

    A few SMILES that RDKit reads have canonical forms that it cannot read; they are not molecules.
    """
    return None if not smiles or fault(smiles) else _settled(smiles)


def why_not(smiles: str) -> str:
    """The reason why it has no canonical SMILES; "" if it has one."""
    return "" if canonical(smiles) else fault(smiles) or "RDKit cannot read its canonical form"


def fault(smiles: str) -> str:
    """The reason why an oracle cannot be asked for the molecule; "" if it can.

    It must be one that RDKit reads, of at most `LONGEST` characters, and with at least one atom.
    A radical, a place where something is attached (`*`), a number of an atom in a reaction, and a
    hydrogen or proton alone are notations of something else: an oracle would answer for another
    molecule than the one that is written.
    """
    if (molecule := _read(smiles)) is None:
        return "RDKit cannot read it"
    for atom in molecule.GetAtoms():
        number = atom.GetAtomicNum()
        if number == 0:
            return "it has an attachment point, *"
        if atom.HasProp("molAtomMapNumber"):  # which may be 0
            return "its atoms have the numbers of a reaction"
        if number == 1 and all(other.GetAtomicNum() == 1 for other in atom.GetNeighbors()):
            return "a hydrogen or proton stands alone"
        electrons = atom.GetNumRadicalElectrons()
        lacks_bond = number in _METALS and electrons % 2 and atom.GetDegree()
        if (number in _NONMETALS and electrons) or lacks_bond:
            return "it is a radical"
    return ""


def _settled(smiles: str) -> str | None:
    """The least of the forms that writing and reading it comes back to."""
    forms: list[str] = []
    while smiles not in forms:
        forms.append(smiles)
        if (molecule := _read(smiles)) is None:
            return None
        smiles = Chem.MolToSmiles(molecule)
    return min(forms[forms.index(smiles) :])


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
def scaffold(smiles: str, *, stereo: bool = False) -> str:
    """Bemis-Murcko scaffold: rings and what links them; "" for a molecule without rings.

    What a ring or a link carries by a double bond belongs to it.  Without `stereo` the isomers of a
    molecule have one scaffold.

    Source: Bemis and Murcko 1996 (10.1021/jm9602928).
    """
    molecule = Chem.MolFromSmiles(smiles)
    if not stereo:
        Chem.RemoveStereochemistry(molecule)
    written = Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(molecule))
    return _settled(written) or written


@lru_cache(maxsize=2**16)
def generic_scaffold(smiles: str) -> str:
    """The graph of its rings and links alone: all atoms carbon, all bonds single.

    That is what is left when atoms with fewer than two neighbours are taken away until there are
    none; "" for a molecule without rings.
    """
    molecule, graph = Chem.RWMol(Chem.MolFromSmiles(smiles)), Chem.RWMol()
    while ends := [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetDegree() < 2]:
        for i in reversed(ends):
            molecule.RemoveAtom(i)
    for _ in molecule.GetAtoms():
        graph.AddAtom(Chem.Atom("C"))
    for bond in molecule.GetBonds():
        graph.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    graph.UpdatePropertyCache(strict=False)  # some atoms have more neighbours than carbon can have
    return Chem.MolToSmiles(graph)


class Fingerprint(NamedTuple):
    """A Morgan fingerprint, by default of 2,048 bits and radius 2.

    Attributes:
      radius: bonds that an environment reaches.
      counts: how often each comes, without folding, instead of whether it does.
      features: atoms by what they do instead of by what they are.
    """

    radius: int = 2
    counts: bool = False
    features: bool = False


ECFP4 = Fingerprint()


def similarities(
    smiles: Sequence[str], others: Sequence[str], fingerprint: Fingerprint = ECFP4
) -> np.ndarray:
    """Tanimoto similarity of fingerprints [N, M].

    T(a, b) = |a and b| / |a or b|, of counts sum min(a, b) / sum max(a, b), and 1 of a molecule
    with itself.
    """
    rows, columns = (_fingerprints(texts, fingerprint) for texts in (smiles, others))
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


def circles(smiles: Sequence[str], distance: float) -> int:
    """#Circles: how many molecules there are of which any two differ by more than `distance`.

    The most that could be is hard to find.  Each molecule in the given order is taken that differs
    so from all that were taken before, by 1 - T.

    Source: Xie et al. 2023 (2112.12542).

    Args:
      smiles: molecules [N].
      distance: in [0, 1).
    """
    taken: list[Any] = []
    for row in _fingerprints(smiles, ECFP4):
        if 1 - max(DataStructs.BulkTanimotoSimilarity(row, taken), default=0.0) > distance:
            taken.append(row)
    return len(taken)


def fingerprint_rows(smiles: Sequence[str], fingerprint: Fingerprint, bits: int) -> np.ndarray:
    """Fingerprints as numbers [N, `bits`], float32, folded also where they count."""
    generator = _generator(fingerprint.radius, fingerprint.features, bits)
    counted, plain = generator.GetCountFingerprintAsNumPy, generator.GetFingerprintAsNumPy
    made = counted if fingerprint.counts else plain
    return np.array([made(Chem.MolFromSmiles(text)) for text in smiles], dtype=np.float32)


def _fingerprints(smiles: Sequence[str], kind: Fingerprint) -> list:
    generator = _generator(kind.radius, kind.features)
    made = generator.GetSparseCountFingerprint if kind.counts else generator.GetFingerprint
    return [made(Chem.MolFromSmiles(text)) for text in smiles]


@lru_cache
def _generator(radius: int, features: bool, bits: int = 2048) -> Any:
    invariants = rdFingerprintGenerator.GetMorganFeatureAtomInvGen() if features else None
    return rdFingerprintGenerator.GetMorganGenerator(
        radius=radius, fpSize=bits, atomInvariantsGenerator=invariants
    )
