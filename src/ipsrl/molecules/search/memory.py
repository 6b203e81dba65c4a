"""The memory: the best molecules so far, from which every update learns again.

Source: Blaschke et al. 2020 (REINVENT 2.0); its purge, and rounds on random SMILES: Guo and
Schwaller 2023 (2305.16160, Augmented Memory).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Entry(NamedTuple):
    """A molecule with its reward after the filter.

    Attributes:
      smiles: canonical.
      written: as the agent wrote it.
      kind: what the diversity filter counts it as, such as its Murcko scaffold.
      reward: R'.
    """

    smiles: str
    written: str
    kind: str
    reward: float


class Memory:
    """The `size` best entries with a reward above 0; a molecule, by canonical SMILES, once.

    Among equal rewards, the older is kept, so that the result does not depend on hashing.

    Args:
      size: entries that are kept.
      entries: of an earlier run, best first.
    """

    def __init__(self, size: int, entries: Iterable[Entry] = ()) -> None:
        self.size = size
        self.entries = list(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in a batch."""
        known = {entry.smiles for entry in self.entries}
        for entry in entries:
            if entry.reward > 0 and entry.smiles not in known:
                known.add(entry.smiles)
                self.entries.append(entry)
        self.entries.sort(key=lambda entry: -entry.reward)
        del self.entries[self.size :]

    def draw(self, count: int, rng: np.random.Generator) -> list[Entry]:
        """`count` different entries, or all there are."""
        chosen = rng.permutation(len(self.entries))[:count]
        return [self.entries[i] for i in chosen]

    def purge(self, kinds: Iterable[str]) -> None:
        """Forget the molecules of these kinds."""
        gone = set(kinds)
        self.entries = [entry for entry in self.entries if entry.kind not in gone]
