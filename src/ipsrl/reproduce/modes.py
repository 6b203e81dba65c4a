"""Where IPS should pay: does an outcome that names the modes keep them, and what does it cost?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ipsrl.molecules.config import Config
from ipsrl.reproduce.molecules import (
    Methods,
    Preset,
    cells,
    hits_figures,
    ips,
    modes,
    nearest_of,
    records,
    write_table,
)
from ipsrl.sweep.results import interval

ENOUGH = 10  # hits from which on a mode counts as found
DISTANCES = (0.7, 0.5)
CLUSTERS = 16  # a quarter of the batch: with more outcomes counts say little
SAMPLES, ALIKE = 2000, 0.2  # of the prior; and from which similarity on two are in one cluster


def nearest_of_eight(smiles: list[str]) -> list[int]:
    """Outcome: the reference of eight-drugs that is most similar, a mode of that objective."""
    return nearest_of(smiles, "eight-drugs")


def cluster(smiles: list[str]) -> list[int]:
    """Outcome: the cluster of the prior's samples whose center is most similar."""
    from ipsrl.molecules.molecule import similarities

    return similarities(smiles, centers()).argmax(1).tolist()


@cache
def centers() -> list[str]:
    """Centers of the largest clusters of what the shipped prior writes, by Butina's rule.

    The center is the molecule with most neighbours that are left, and takes these with it.

    Source: Butina 1999 (10.1021/ci9803381).
    """
    from ipsrl.molecules import Prior
    from ipsrl.molecules.molecule import canonical, similarities

    prior = Prior.load("zinc")
    drawn = prior.decode(prior.sample(SAMPLES, prior.generator(0)).ids_NT)
    smiles = [*dict.fromkeys(text for text in map(canonical, drawn) if text)]
    near = similarities(smiles, smiles) >= ALIKE
    found = []
    for _ in range(CLUSTERS):
        center = int(near.sum(1).argmax())
        found.append(smiles[center])
        taken = near[center].copy()
        near[taken] = False
        near[:, taken] = False
    return found


def methods(nearest: str) -> Methods:
    """What is compared, where this function names the nearest reference.

    Right, to exemplar replay, is a hit; one variant of IPS scales only what has half a reward.
    REINVENT has our filter, by identical scaffolds, or REINVENT4's by similar ones, as set there.
    """
    exemplars = {"method": "exemplar-replay", "success_above": 0.8}
    similar = {"filter": "similarity", "bucket": 25, "filter_above": 0.4}
    return {
        "reinvent scaffold": {"method": "reinvent"},
        "grpo": {"method": "grpo"},
        "ips nearest": ips(nearest),
        "ips nearest right": {**ips(nearest), "success_above": 0.5},
        "ips cluster": ips(f"{__name__}:cluster"),
        "exemplars nearest": {**exemplars, "outcome": nearest},
        "reinvent similarity": {"method": "reinvent", **similar},
    }


_FOUR = methods("ipsrl.reproduce.molecules:nearest_drug")
_EIGHT = methods(f"{__name__}:nearest_of_eight")
_CALLS = {"budget": 10_000}
PRESETS = {
    "quick": (
        Preset(
            1, ("four-drugs",), {name: _FOUR[name] for name in ("grpo", "ips nearest")},
            {"budget": 640},
        ),
    ),
    "cpu": (
        Preset(3, ("four-drugs",), _FOUR, _CALLS),
        Preset(3, ("eight-drugs",), _EIGHT, _CALLS),
    ),
}  # fmt: skip


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every cell with every seed, print the table, draw the figures to `out`.

    All cells of one objective and seed are run before the next, so that what there is can be
    compared.
    """
    presets = PRESETS[preset_name]
    configs = {cell: each for one in presets for cell, each in cells(one).items()}
    found = records(out, configs, found_modes)
    rows = [row(cell, each) for cell, each in found.items()]
    figures = {title: drawn for one in presets for title, drawn in hits_figures(one, found).items()}
    write_table(out, f"{name}, {preset_name} preset", rows, figures)


def found_modes(folder: Path, config: Config) -> dict[str, Any]:
    """What `modes` tells, and how many of the hits differ by at least each distance."""
    from ipsrl.molecules.molecule import circles

    calls = pq.read_table(folder / "calls.parquet", columns=["smiles", "reward"]).to_pylist()
    hits = [call["smiles"] for call in calls if (call["reward"] or 0.0) > config.threshold]
    return {
        **modes(folder, config),
        "circles": {str(distance): circles(hits, distance) for distance in DISTANCES},
    }


def row(cell: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What was found, over the seeds."""
    by_mode = np.array([one["hits_by_mode"] for one in records])
    return {
        "cell": cell,
        "hits": interval([one["hits"] for one in records]),
        f"modes with {ENOUGH} hits": interval((by_mode >= ENOUGH).sum(1).tolist()),
        "modes with hits": interval((by_mode > 0).sum(1).tolist()),
        "effective modes at the end": interval([one["effective_modes"][-1] for one in records]),
        **{
            f"circles {distance}": interval([one["circles"][str(distance)] for one in records])
            for distance in DISTANCES
        },
        "scaffolds": interval([one["scaffolds"] for one in records]),
        "calls": max(one["calls"] for one in records),
        "seeds": len(records),
    }
