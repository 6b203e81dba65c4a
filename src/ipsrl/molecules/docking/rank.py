"""Does a docking budget rank molecules? Its cost, and the correlation of ranks.

Ligands of a file are docked at every setting, and far better than at any: what settings are
compared with is the best of `REFERENCE` searches.  Spearman's correlation with it says whether a
setting ranks as a long search does, and that with itself from other seeds how much of its ranks is
chance.  Neither says that a long search ranks molecules by affinity.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ipsrl.errors import InvalidInput
from ipsrl.molecules.component import Failure
from ipsrl.molecules.config import DockingConfig
from ipsrl.molecules.docking.engines import Vina
from ipsrl.molecules.docking.ligand import Ligand, prepare
from ipsrl.molecules.docking.receptor import Receptor

CHEAP, USUAL = 25_000, 100_000  # evaluations of a search
REFERENCE = 16  # searches of `USUAL` evaluations
SHARES = (0.25, 0.5)  # of ligands that two stages dock in full
BEST = 0.2  # share of ligands that are asked for again
FEWEST = 10  # ligands of which a correlation is told
_FAR = 1000  # seed of the reference, which no setting uses


@dataclass(frozen=True)
class Docked:
    """One ligand at one budget and seed.

    Attributes:
      evals: of each search.
      searches: of which the best counts.
      seed: of the docking.
      score: kcal/mol.
      seconds: of processor time.
    """

    evals: int
    searches: int
    seed: int
    score: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """The cost and the quality of a setting.

    Attributes:
      setting: in the words of a configuration.
      seconds: of processor time for each ligand, mean.
      rank: Spearman's correlation with the reference; `low` and `high` hold it in 95 of 100
        samples of the ligands.
      low: lower end.
      high: upper end.
      again: Spearman's correlation with the same setting from other seeds; None of the reference.
      found: share of the reference's best fifth that are in the best fifth here.
      below: of two stages, the `full_below` that docks their share in full; else None.
    """

    setting: str
    seconds: float
    rank: float
    low: float
    high: float
    again: float | None
    found: float
    below: float | None = None


def dock(
    config: DockingConfig, smiles: Sequence[str], *, count: int, minutes: float, seed: int = 0
) -> Iterator[tuple[str, list[Docked]]]:
    """Dock ligands at every budget and seed that `rows` needs, each when it is asked for.

    Args:
      config: receptor and box; its budget and seeds do not count.
      smiles: of which `count` are drawn.
      count: ligands at most.
      minutes: of processor time, after which no further ligand is begun.
      seed: of the draw.
    Returns:
      the SMILES of each ligand and its dockings; none where it has no score in one of them.
    Raises:
      InvalidInput: if the engine is not Vina, or there would be fewer than `FEWEST` ligands.
      ConfigError: if the receptor cannot be used.
    """
    if config.engine != "vina":
        raise InvalidInput(f"engine = {config.engine!r}: the budgets of vina alone are compared.")
    drawn = random.Random(seed).sample(list(smiles), min(count, len(smiles)))
    _check_enough(len(drawn), "would be docked", "Give more of them")
    receptor = Receptor.load(config)
    budgets = [
        *((CHEAP, 1, one) for one in range(1, 7)), *((USUAL, 1, one) for one in range(1, 7)),
        (USUAL, 3, 1), (USUAL, 3, 2), (USUAL, REFERENCE, _FAR),
    ]  # fmt: skip
    keys = ("max_evals", "exhaustiveness", "seed")
    alone = {"seeds": 1, "first_evals": None, "full_below": None}
    engines = [
        Vina(config.model_copy(update={**alone, **dict(zip(keys, one, strict=True))}), receptor)
        for one in budgets
    ]

    def docked() -> Iterator[tuple[str, list[Docked]]]:
        for engine in engines:
            engine(["ROOT\n"])  # makes the maps, whose time is no ligand's
        began = time.process_time()
        for text in drawn:
            if time.process_time() - began > 60 * minutes:
                return
            yield text, _dockings(prepare(text, config.pH), engines, budgets)

    return docked()


def _check_enough(ligands: int, what: str, advice: str) -> None:
    if ligands < FEWEST:
        raise InvalidInput(
            f"{ligands} ligands {what}, and a correlation of fewer than {FEWEST} says nothing. "
            f"{advice}."
        )


def _dockings(
    ligand: Ligand | Failure, engines: Sequence[Vina], budgets: Sequence[tuple[int, int, int]]
) -> list[Docked]:
    """The dockings of one ligand by all engines; none if one of them has no score."""
    found = []
    for engine, budget in zip(engines, budgets, strict=True):
        start = time.process_time()
        pose = ligand if isinstance(ligand, Failure) else engine([ligand.pdbqt])[0]
        if isinstance(pose, Failure):
            return []
        found.append(Docked(*budget, pose.score, time.process_time() - start))
    return found


def rows(dockings: Sequence[Sequence[Docked]]) -> list[Row]:
    """The table of what `dock` found.

    Args:
      dockings: of each ligand.
    Raises:
      InvalidInput: for fewer than `FEWEST` ligands.
    """
    _check_enough(len(dockings), "were docked", "Give more minutes, or more ligands")

    def best(evals: int, searches: int, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and seconds of the ligands, as the best of these seeds."""
        those = [
            [d for d in one if (d.evals, d.searches) == (evals, searches) and d.seed in seeds]
            for one in dockings
        ]
        return (
            np.array([min(d.score for d in one) for one in those]),
            np.array([sum(d.seconds for d in one) for one in those]),
        )

    reference, dear = best(USUAL, REFERENCE, [_FAR])

    def row(setting: str, ways: Callable[[int], tuple], below: float | None = None) -> Row:
        (scores, seconds), (others, _) = ways(0), ways(1)
        return Row(
            setting, float(seconds.mean()), *_with_interval(scores, reference),
            spearman(scores, others), _found(scores, reference), below,
        )  # fmt: skip

    def staged(share: float) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        def way(turn: int) -> tuple[np.ndarray, np.ndarray]:
            seeds = range(1 + 3 * turn, 4 + 3 * turn)
            (cheap, first), (full, second) = best(CHEAP, 1, seeds), best(USUAL, 1, seeds)
            chosen = cheap <= np.quantile(cheap, share)
            return np.where(chosen, np.minimum(full, cheap), cheap), first + chosen * second

        return way

    made = [
        row(
            f"max_evals = {evals}" + (f", seeds = {n}" if n > 1 else ""),
            lambda turn, evals=evals, n=n: best(evals, 1, range(1 + 3 * turn, 1 + 3 * turn + n)),
        )
        for evals in (CHEAP, USUAL) for n in (1, 3)
    ]  # fmt: skip
    made.append(
        row(f"max_evals = {USUAL}, exhaustiveness = 3", lambda turn: best(USUAL, 3, [1 + turn]))
    )
    for share in SHARES:
        below = float(np.quantile(best(CHEAP, 1, range(1, 4))[0], share))
        name = f"max_evals = {USUAL}, seeds = 3, first_evals = {CHEAP} (best {share:.0%})"
        made.append(row(name, staged(share), below))
    name = f"reference: exhaustiveness = {REFERENCE}"
    made.append(Row(name, float(dear.mean()), 1.0, 1.0, 1.0, None, 1.0))
    return made


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks, with the mean rank for ties; NaN where all of a side are equal."""
    a, b = (
        (np.searchsorted(s := np.sort(x), x, "left") + np.searchsorted(s, x, "right")) / 2
        for x in (a, b)
    )
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else float("nan")


def text(table: Sequence[Row], ligands: int) -> str:
    """The table, and of how many ligands it is."""
    lines = [
        f"{ligands} ligands; ranks are compared with the best of {REFERENCE} searches, and with "
        "the same setting from other seeds\n",
        f"{'setting':64} {'s/ligand':>8}  {'rank correlation':22} {'again':>5}  "
        f"{'best fifth found':>16}",
    ]
    for row in table:
        again = "" if row.again is None else f"{row.again:5.2f}"
        correlation = f"{row.rank:5.2f} [{row.low:.2f}, {row.high:.2f}]"
        below = "" if row.below is None else f"  full_below = {row.below:.1f}"
        lines.append(
            f"{row.setting:64} {row.seconds:8.2f}  {correlation:22} {again:>5}  {row.found:16.0%}"
            f"{below}"
        )
    return "\n".join(lines)


def _with_interval(scores: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Spearman's correlation, and where 95 of 100 samples of the ligands have it."""
    rng = np.random.default_rng(0)
    samples = rng.integers(len(scores), size=(1000, len(scores)))
    found = [spearman(scores[of], reference[of]) for of in samples]
    low, high = np.nanquantile(found, [0.025, 0.975]).tolist()
    return spearman(scores, reference), low, high


def _found(scores: np.ndarray, reference: np.ndarray) -> float:
    count = max(1, round(BEST * len(scores)))
    ours, theirs = (set(np.argsort(x, kind="stable")[:count].tolist()) for x in (scores, reference))
    return len(ours & theirs) / count
