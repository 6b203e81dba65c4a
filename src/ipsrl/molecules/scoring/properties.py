"""Components that RDKit computes: properties, patterns, similarity."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rdkit import Chem
from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

from ipsrl.molecules.component import Failure, guarded
from ipsrl.molecules.molecule import ECFP4, Fingerprint, similarities


@dataclass(frozen=True)
class Property:
    """A property that RDKit computes of one molecule."""

    function: Callable[[Chem.Mol], float]

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        return [guarded(lambda s=s: self.function(Chem.MolFromSmiles(s))) for s in smiles]


PROPERTIES: dict[str, Callable[[Any], float]] = {
    "qed": QED.qed,
    "hbd": rdMolDescriptors.CalcNumHBD,
    "hba": rdMolDescriptors.CalcNumHBA,
    "logp": Crippen.MolLogP,  # pyright: ignore[reportAttributeAccessIssue]
    "tpsa": rdMolDescriptors.CalcTPSA,
    "weight": Descriptors.MolWt,  # pyright: ignore[reportAttributeAccessIssue]
    "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "rings": rdMolDescriptors.CalcNumRings,
    "aromatic_rings": rdMolDescriptors.CalcNumAromaticRings,
    "sa": lambda molecule: importlib.import_module(
        "rdkit.Contrib.SA_Score.sascorer"  # reads its table when it is imported
    ).calculateScore(molecule),
}
"""QED; donors and acceptors of hydrogen bonds; Crippen's logP; polar surface and weight in A^2 and
g/mol; SA score (Ertl and Schuffenhauer 2009, 1 easy to 10 hard)."""


class Smarts:
    """How many of the patterns the molecule contains; an alert is 0 where any matches, else 1."""

    def __init__(self, patterns: Sequence[str], *, alert: bool) -> None:
        self.patterns = [Chem.MolFromSmarts(text) for text in patterns]
        self.alert = alert

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        return [guarded(lambda s=s: self._count(Chem.MolFromSmiles(s))) for s in smiles]

    def _count(self, molecule: Chem.Mol) -> float:
        matched = sum(molecule.HasSubstructMatch(pattern) for pattern in self.patterns)
        return float(matched == 0 if self.alert else matched)


class Similarity:
    """Largest Tanimoto similarity to any of the references."""

    def __init__(self, references: Sequence[str], fingerprint: Fingerprint = ECFP4) -> None:
        self.references, self.fingerprint = list(references), fingerprint

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        return similarities(smiles, self.references, self.fingerprint).max(1).tolist()
