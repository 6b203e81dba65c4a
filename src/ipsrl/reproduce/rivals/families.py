"""Tasks that the library's own commands train: hyper-grids, HypoSpace's tiny model, molecules.

Contestants become keys of a configuration; whom it refuses, the task cannot feed.  Runs stay in
`runs/` beside the records, so that a stopped one continues where it was.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq

import ipsrl.grids.config as grids
import ipsrl.hypospace.config as hypospace
import ipsrl.molecules.config as molecules
from ipsrl.config import StrictConfig, shipped_configs
from ipsrl.core.methods import GRPO, METHODS
from ipsrl.errors import ConfigError
from ipsrl.reproduce.rivals.contestants import CONTESTANTS, OUTSIDE, Contestant
from ipsrl.reproduce.rivals.record import SEEDS, Record, chosen_rate
from ipsrl.runs import Run
from ipsrl.shaping import option_key
from ipsrl.sweep.results import train_once

Measured = tuple[dict[str, float], list[tuple[int, float]]]
"""Measures of one seed at the end, and its curve."""
UNTRAINED = 1e-9  # a learning rate that moves no weight by more than rounding
OF_SUCCESS = ("split", "ucpo", "pass-at-k", "f-grpo")
"""Methods that learn from the difference between right and wrong."""


@dataclass(frozen=True)
class Family(ABC):
    """One configuration of a family, which every contestant changes.

    Attributes:
      name: of the task.
      out: folder of the study.
      base: keys that all have in common.
    """

    name: str
    out: Path
    base: dict[str, Any]

    kind: ClassVar[type[Any]]
    coverage: ClassVar[str]
    reward: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    rates: ClassVar[tuple[float, ...]]
    tuning: ClassVar[tuple[int, ...]]

    @abstractmethod
    def config(self, contestant: Contestant, rate: float, seeds: Sequence[int]) -> StrictConfig:
        """The configuration of one run; refuses methods that the family cannot feed."""

    @abstractmethod
    def measured(self, run: Run) -> list[Measured]:
        """Measures of a finished run, for each of its seeds."""

    @property
    @abstractmethod
    def budget(self) -> int: ...

    @property
    @abstractmethod
    def trainer(self) -> Callable[..., Any]:
        """`train` of the family."""

    @abstractmethod
    def ideal(self) -> dict[str, float] | None:
        """Measures of the ideal sampler, if it is known."""

    def settings(self) -> dict[str, Any]:
        return {**self.base, "rates": self.rates, "tuning": self.tuning}

    def contestants(self) -> dict[str, Any]:
        return {name: one for name, one in self._everyone().items() if not self._refusal(one)}

    def left_out(self) -> dict[str, str]:
        refused = {name: self._refusal(one) for name, one in self._everyone().items()}
        outside = {name: why for name, why in OUTSIDE.items() if name not in self.losses}
        return {**{name: why for name, why in refused.items() if why}, **outside}

    def references(self) -> dict[str, list[dict[str, float]]]:
        start = [one for one, _ in self._train("start", Contestant("grpo"), UNTRAINED, SEEDS)]
        ideal = self.ideal()
        return {"start": start} | ({"ideal": [ideal]} if ideal else {})

    def run(self, contestant: Contestant, seeds: tuple[int, ...]) -> Iterator[Record]:
        """Choose the rate with the tuning seeds, then train with the others, one by one."""
        label = next(name for name, one in self._everyone().items() if one == contestant)
        tried = [
            [one for one, _ in self._train(label, contestant, rate, self.tuning)]
            for rate in self.rates
        ]
        means = {
            key: [float(np.mean([one[key] for one in each])) for each in tried]
            for key in ("coverage", "reward")
        }
        rate = self.rates[chosen_rate(means["coverage"], means["reward"])]
        for together in self.together(seeds):
            begun = self.folder(label, rate, together).exists()
            started = time.perf_counter()
            found = self._train(label, contestant, rate, together)
            seconds = None if begun else (time.perf_counter() - started) / len(together)
            for seed, (measures, curve) in zip(together, found, strict=True):
                if seed in seeds:
                    yield Record(self.name, seed, rate, self.budget, seconds, measures, curve)

    def together(self, seeds: Sequence[int]) -> list[tuple[int, ...]]:
        """Seeds of each run: one, unless the family trains several side by side."""
        return [(seed,) for seed in seeds]

    def folder(self, label: str, rate: float, seeds: Sequence[int]) -> Path:
        cell = f"{self.name}/{label}/{rate:g}-{seeds[0]}".replace(" ", "-")
        return self.out / "runs" / cell

    def _train(
        self, label: str, contestant: Contestant, rate: float, seeds: Sequence[int]
    ) -> list[Measured]:
        """Measures and curve of each seed."""
        found = []
        for together in self.together(seeds):
            folder = self.folder(label, rate, together)
            train_once(self.config(contestant, rate, together), folder, self.trainer)
            found += self.measured(Run.open(folder))
        return found

    def _everyone(self) -> dict[str, Contestant]:
        return {**CONTESTANTS, **{name: Contestant(name) for name in self.losses}}

    def _refusal(self, contestant: Contestant) -> str | None:
        """The reason why the configuration is refused, in a line; None if it is not."""
        try:
            self.config(contestant, self.rates[0], (0,))
        except ConfigError as error:
            why = str(error).strip().splitlines()[-1].strip()
            return "the family cannot feed it" if "no such choice" in why else why
        return None


def _keys(contestant: Contestant) -> dict[str, Any]:
    """Keys that choose the method, its estimator and their options."""
    keys: dict[str, Any] = {"method": contestant.method}
    made: Any = METHODS.get(contestant.method, GRPO)
    own = {one.name: option_key(contestant.method, one) for one in fields(made)}
    keys |= {own[name]: value for name, value in contestant.options}
    if contestant.estimator:
        keys["estimator"] = contestant.estimator
    if contestant.estimator == "replay":
        keys["replay_batches"] = contestant.history
    return keys


class Grid(Family):
    """A hyper-grid: overlap with the target, sum of min(p, p*), and reward over the highest."""

    kind = grids.Config
    coverage = "overlap"
    reward = "mean reward / highest"
    losses = ("flowrl", "tb")
    rates = (3e-4, 1e-3, 3e-3, 1e-2)
    tuning = (100, 101)

    @property
    def budget(self) -> int:
        return self.base["batch"] * self.base["iterations"]

    @property
    def trainer(self) -> Callable[..., Any]:
        from ipsrl.grids import train

        return train

    def config(self, contestant: Contestant, rate: float, seeds: Sequence[int]) -> StrictConfig:
        keys = {**self.base, **_keys(contestant), "lr": rate}
        keys |= {"seed": seeds[0], "seeds": len(seeds)}
        if contestant.kl:
            keys["kl"] = contestant.kl
        if contestant.method == "gapo":
            raise ConfigError("gapo compares with equal shares, and these rewards are unequal")
        if contestant.method in OF_SUCCESS:
            raise ConfigError("it tells right from wrong, and here every state earns something")
        if rate == UNTRAINED:
            keys["iterations"] = 1
        return self.kind(**keys)

    def measured(self, run: Run) -> list[Measured]:
        arrays, rows, first = run.arrays(), run.metrics(), run.config(self.kind).seed
        target = arrays["target"].astype(float)
        return [
            (
                {
                    "coverage": float(np.minimum(p, target).sum()),
                    "reward": float((p * target).sum() / target.max()),
                    "modes": float(modes),
                },
                [
                    (row["trajectories"], 1 - row["total_l1"] / 2)
                    for row in rows
                    if row["seed"] == first + i and row["total_l1"] is not None
                ],
            )
            for i, (p, modes) in enumerate(
                zip(arrays["terminal"].astype(float), run.result()["modes_found"], strict=True)
            )
        ]

    def together(self, seeds: Sequence[int]) -> list[tuple[int, ...]]:
        # All that are reported, though some may have records: they are one run.
        return [SEEDS if set(seeds) <= set(SEEDS) else tuple(seeds)]

    def ideal(self) -> dict[str, float] | None:
        p = Run.open(self.folder("start", UNTRAINED, SEEDS)).arrays()["target"].astype(float)
        return {"coverage": 1.0, "reward": float((p * p).sum() / p.max())}


class HypoSpace(Family):
    """HypoSpace's tiny model: recovery and validity on the test half, of 64 answers to each set."""

    kind = hypospace.Config
    coverage = "test recovery"
    reward = "test validity"
    losses = ("flowrl", "exemplar-replay")
    rates = (1e-4, 3e-4, 1e-3)
    tuning = (100,)

    @property
    def budget(self) -> int:
        config: Any = self.config(Contestant("grpo"), self.rates[0], (0,))
        return config.trl["max_steps"] * config.trl["per_device_train_batch_size"]

    @property
    def trainer(self) -> Callable[..., Any]:
        from ipsrl.hypospace.training import train

        return train

    def config(self, contestant: Contestant, rate: float, seeds: Sequence[int]) -> StrictConfig:
        if contestant.method == "gapo":
            raise ConfigError(
                "gapo takes one number of right answers, but here every set has its own"
            )
        trl = {**self.base.get("trl", {}), "learning_rate": rate}
        if contestant.kl:
            trl["beta"] = contestant.kl
        if rate == UNTRAINED:
            trl["max_steps"] = 1
        return self.kind(**{**self.base, **_keys(contestant), "trl": trl, "seed": seeds[0]})

    def measured(self, run: Run) -> list[Measured]:
        test = run.result()["test"]
        measures = {"coverage": test["recovery_rate"][0], "reward": test["valid_rate"][0]}
        return [(measures, [(self.budget, measures["coverage"])])]

    def ideal(self) -> dict[str, float] | None:
        run = Run.open(self.folder("start", UNTRAINED, SEEDS))
        return {"coverage": run.result()["test"]["uniform"][-1], "reward": 1.0}


class Molecules(Family):
    """A search for molecules: scaffolds of the hits, and hits, of equally many oracle calls."""

    kind = molecules.Config
    coverage = "scaffolds of hits"
    reward = "hits"
    losses = ("reinvent", "flowrl", "exemplar-replay")
    tuning = (100,)

    @property
    def rates(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(factor * self.base["lr"] for factor in (0.3, 1.0, 3.0))

    @property
    def budget(self) -> int:
        config: Any = self.config(Contestant("grpo"), self.rates[0], (0,))
        return config.budget

    @property
    def trainer(self) -> Callable[..., Any]:
        from ipsrl.molecules import train

        return train

    def config(self, contestant: Contestant, rate: float, seeds: Sequence[int]) -> StrictConfig:
        if contestant.method == "gapo":
            raise ConfigError("gapo needs the number of right outcomes, which nobody knows here")
        keys = _keys(contestant)
        if keys["method"] not in self.losses:
            by = {"likelihood": "smiles", "kernel": "similarity"}
            keys["outcome"] = by.get(contestant.estimator or "", "scaffold")
        if keys["method"] in (*OF_SUCCESS, "exemplar-replay"):  # a hit; all else earns some, too
            keys["success_above"] = self.kind(**self.base).threshold
        return self.kind(**{**self.base, **keys, "lr": rate, "seed": seeds[0]})

    def measured(self, run: Run) -> list[Measured]:
        result = run.result()
        calls = pq.read_table(run.directory / "calls.parquet", columns=["reward", "scaffold"])
        above = run.config(self.kind).threshold
        hits = [
            scaffold if reward is not None and reward > above else None
            for reward, scaffold in zip(*calls.to_pydict().values(), strict=True)
        ]
        curve = [
            (n, float(len({one for one in hits[:n] if one is not None})))
            for n in np.linspace(0, len(hits), 21).astype(int).tolist()
        ]
        measures = {"coverage": float(result["scaffolds"]), "reward": float(result["hits"])}
        return [(measures, curve)]

    def ideal(self) -> dict[str, float] | None:
        return None


def families(out: Path, changes: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    """All tasks of the families, in the order that they are run.

    Args:
      out: folder of the study.
      changes: to the keys that all contestants have in common, by the first word of a task.
    """

    def base(of: str, keys: dict[str, Any]) -> dict[str, Any]:
        return {**keys, **changes.get(of, {})}

    grids = [
        Grid(
            f"grid {shape} R0 {r0:g}",
            out,
            base(
                "grid",
                {
                    "dims": dims, "side": side, "r0": r0, "group_size": size, "batch": 256,
                    "iterations": 400,
                },
            ),
        )
        for r0 in (0.1, 0.001)
        for shape, dims, side, size in (
            ("8x8", 2, 8, 64), ("20x20", 2, 20, 64), ("8^3", 3, 8, 64), ("64x64", 2, 64, 32),
        )
    ]  # fmt: skip
    spaces = [
        HypoSpace(f"hypospace {domain}", out, base("hypospace", {"domain": domain}))
        for domain in ("boolean", "causal", "voxel")
    ]
    files = {path.stem: path for path in shipped_configs("molecules/keys")}
    searches = []
    for objective in ("qed-band", "four-drugs"):
        keys = molecules.Config.load(files[objective]).model_dump(exclude_unset=True)
        searches.append(Molecules(f"molecules {objective}", out, base("molecules", keys)))
    return [*grids, *spaces, *searches]
