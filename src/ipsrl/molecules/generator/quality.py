"""How good a prior is: validity, uniqueness, novelty and internal diversity of what it draws."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ipsrl.molecules.generator.device import device_of
from ipsrl.molecules.generator.pretraining import read_smiles
from ipsrl.molecules.generator.prior import Prior
from ipsrl.molecules.molecule import internal_diversity

_BATCH = 64
_PAIRS = 1000  # molecules whose pairs are compared


@dataclass(frozen=True)
class Quality:
    """Figures of a sample.

    Attributes:
      samples: SMILES drawn.
      validity: share that are molecules, with the fragment where there is one.
      uniqueness: distinct molecules among the valid ones.
      novelty: distinct molecules that are not known already, among the distinct ones.
      internal_diversity: mean Tanimoto distance between distinct molecules (at most 1,000 of them).
      seconds: that drawing took.
      threads: of PyTorch, on which it ran.
      left_out: lines of the file of known molecules that were, by reason.

    Source: Polykovskiy et al. 2020 (10.3389/fphar.2020.565644).
    """

    samples: int
    validity: float
    uniqueness: float
    novelty: float | None
    internal_diversity: float
    seconds: float
    threads: int
    left_out: dict[str, int]


def sample(
    prior: str | Path,
    count: int,
    *,
    seed: int = 0,
    known: Path | None = None,
    decorate: str = "",
    device: str = "cpu",
) -> tuple[list[str], Quality]:
    """Draw SMILES from a prior.

    Args:
      prior: name or folder, as in `Prior.load`.
      count: SMILES that are drawn.
      seed: of the draws.
      known: file of SMILES that are not new.
      decorate: fragment that they are written around, as in `Config`; none if empty.
      device: as in `device_of`.
    Returns:
      the SMILES, "" for one that does not end, and their figures.
    """
    model = Prior.load(prior).to(device_of(device))
    model = model.decorating(decorate) if decorate else model
    molecules, left_out = read_smiles(known) if known else ({}, {})
    seen = set(molecules.values())
    generator = model.generator(seed)
    began = time.perf_counter()
    drawn: list[str] = []
    while len(drawn) < count:
        batch = model.sample(min(_BATCH, count - len(drawn)), generator)
        drawn += [text or "" for text in model.decode(batch.ids_NT)]
    seconds = time.perf_counter() - began
    valid = [text for smiles in drawn if (text := model.molecule(smiles))]
    distinct = list(dict.fromkeys(valid))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[:_PAIRS]
    return drawn, Quality(
        samples=count,
        validity=len(valid) / count,
        uniqueness=len(distinct) / max(len(valid), 1),
        novelty=len(set(distinct) - seen) / max(len(distinct), 1) if known else None,
        internal_diversity=internal_diversity([distinct[i] for i in chosen]),
        seconds=seconds,
        threads=torch.get_num_threads(),
        left_out=left_out,
    )
