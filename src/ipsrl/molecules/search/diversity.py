"""The diversity filter: a kind of molecule pays less, and then nothing, once many were found.

    scaffold           identical Murcko scaffold
    generic-scaffold   identical graph of rings and links
    similarity         the known scaffold most alike, by atom pairs (Dice), or a new one

Of the n-th molecule of a kind, in buckets of M, the reward is multiplied by

    step      1 up to n = M, then 0
    linear    max(0, 1 - n / M)
    tanh      1 - tanh(3 (n - 1) / M)
    sigmoid   1 - 1 / (1 + exp(-(2 n / M - 1) / .15))

Sources: Blaschke et al. 2020 (10.1186/s13321-020-00473-0) for the kinds, with minimum score and
similarity; REINVENT4 4.8 for the soft penalties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from ipsrl.molecules.config import Config
from ipsrl.molecules.molecule import generic_scaffold

_PAIRS = rdFingerprintGenerator.GetAtomPairGenerator()


class DiversityFilter:
    """Counts of molecules by kind, and what they make of a reward.

    n counts the molecules of *earlier* batches and the one at hand, so one batch may overshoot.  A
    molecule that is drawn again counts again: an agent that repeats itself is not paid for it for
    ever.  A reward below `filter_above` is neither counted nor changed.

    Args:
      config: filter, bucket, penalty, filter_above, filter_similarity.
      counts: of an earlier run, in the order in which they came.
    """

    def __init__(self, config: Config, counts: Mapping[str, int] | None = None) -> None:
        self.config = config
        self.bucket = 0 if config.filter == "none" else config.bucket
        self.counts = Counter(counts)
        self.added: Counter[str] = Counter()  # since somebody wrote down and cleared it
        self._known: dict[str, Any] = {}  # fingerprints of scaffolds
        if config.filter == "similarity":
            self._known = {name: _pairs(name) for name in self.counts if name}

    def keys(self, scaffolds: Mapping[str, str]) -> dict[str, str]:
        """The kind of each molecule.

        Args:
          scaffolds: Murcko scaffolds by canonical SMILES, in order.
        Returns:
          kinds by canonical SMILES.
        """
        if self.config.filter == "generic-scaffold":
            return {smiles: generic_scaffold(smiles) for smiles in scaffolds}
        if self.config.filter == "similarity":
            return {smiles: self._nearest(name) for smiles, name in scaffolds.items()}
        return dict(scaffolds)

    def _nearest(self, scaffold: str) -> str:
        """A known scaffold that is similar enough, or this one, which is known from now on."""
        if not scaffold or scaffold in self._known:
            return scaffold
        pairs = _pairs(scaffold)
        if self._known:
            alike = DataStructs.BulkDiceSimilarity(pairs, list(self._known.values()))
            nearest = int(np.argmax(alike))
            if alike[nearest] >= self.config.filter_similarity:
                return list(self._known)[nearest]
        self._known[scaffold] = pairs
        self.counts[scaffold] += 0  # it is known, also where it is never counted
        self.added[scaffold] += 0
        return scaffold

    def full(self, key: str) -> bool:
        """True if the bucket of a kind is full."""
        return 0 < self.bucket <= self.counts[key]

    def penalise(self, rewards: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        """Rewards [N] times what molecules of these kinds are still paid."""
        if not self.bucket:
            return rewards
        n = np.array([self.counts[key] + 1 for key in keys], dtype=float)
        factor = _factor(self.config.penalty, n, self.bucket)
        return rewards * np.where(rewards < self.config.filter_above, 1.0, factor)

    def add(self, keys: Iterable[str], rewards: Iterable[float]) -> None:
        """Count the molecules of a batch, by kind and raw reward, after it was penalised."""
        above = self.config.filter_above
        new = Counter(key for key, one in zip(keys, rewards, strict=True) if not one < above)
        self.counts.update(new)
        self.added.update(new)


def _factor(penalty: str, n: np.ndarray, bucket: int) -> np.ndarray:
    """The factor for the reward of the n-th molecule of a kind."""
    match penalty:
        case "linear":
            return np.maximum(0.0, 1 - n / bucket)
        case "tanh":
            return 1 - np.tanh(3 * (n - 1) / bucket)
        case "sigmoid":
            middle = (2 * n / bucket - 1) / 0.15
            return 1 / (1 + np.exp(np.minimum(middle, 700)))  # e^709 is the largest number
    return np.where(n <= bucket, 1.0, 0.0)


def _pairs(scaffold: str) -> Any:
    return _PAIRS.GetSparseCountFingerprint(Chem.MolFromSmiles(scaffold))
