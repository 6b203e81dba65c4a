"""Rewards of molecules: components, transformed to [0, 1] and aggregated to one number.

R(m) = (prod_i s_i(m)^{w_i})^{1 / sum w}      geometric mean (the paper, appendix B.2)
R(m) =  prod_i s_i(m)^{w_i}                    product
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from ipsrl.errors import InvalidInput
from ipsrl.molecules.component import Component, Failure
from ipsrl.molecules.config import ComponentConfig
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.transform import transform


@dataclass(frozen=True)
class Scores:
    """The results of scoring, one entry per molecule.

    Attributes:
      raw: for each component, its values; NaN where it failed or was not needed.
      rewards: R in [0, 1]; NaN where a component failed.
      failures: the first of each molecule, with the name of its component; None if all is well.
    """

    raw: dict[str, np.ndarray]
    rewards: np.ndarray
    failures: list[Failure | None]


class Scoring:
    """The components of a configuration, and their aggregate; a context that ends its workers.

    A component with workers is slow, so it comes after those without, and, unless its `always` is
    set, is not asked for a molecule whose reward is decided: because another scored 0, and so the
    reward is 0 whatever it would say, or because another failed.

    Args:
      components: what is computed.
      aggregation: "geometric-mean" or "product".
      executor: where the workers are: "processes" or "ray".
      cache: file that keeps the values of components with an `identity`; "" for none.
    Raises:
      ConfigError: for a component that cannot be built.
      InvalidInput: for another aggregation or executor.
    """

    def __init__(
        self,
        components: Sequence[ComponentConfig],
        aggregation: str,
        *,
        executor: str = "processes",
        cache: str = "",
    ) -> None:
        for name, value, known in (
            ("aggregation", aggregation, ("geometric-mean", "product")),
            ("executor", executor, ("processes", "ray")),
        ):
            if value not in known:
                raise InvalidInput(f"there is no {name} {value!r}. Write {' or '.join(known)}.")
        self.configs = list(components)
        self.aggregation = aggregation
        self._workers = ExitStack()
        with self._workers:  # if the second cannot be built, the first must not stay behind
            self.components = [self._component(config, executor, cache) for config in components]
            self._workers = self._workers.pop_all()

    def __enter__(self) -> Scoring:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def _component(self, config: ComponentConfig, executor: str, cache: str) -> Component:
        if not config.workers:
            component = build(config)
        elif executor == "ray":
            from ipsrl.molecules.execution.cluster import Ray

            # Components are asked one after another, so their workers can share processors.
            sharing = sum(other.workers > 0 for other in self.configs)
            processors = 10_000 // sharing / 10_000  # Ray knows four digits
            component = self._workers.enter_context(Ray(config, processors))
        else:
            from ipsrl.molecules.execution.processes import Processes

            component = self._workers.enter_context(Processes(config))
        if cache and config.is_kept:
            from ipsrl.molecules.execution.cache import Cached

            return Cached(component, cache)
        return component

    @property
    def names(self) -> list[str]:
        """Columns of the raw values."""
        return [config.column for config in self.configs]

    def __call__(self, smiles: Sequence[str]) -> Scores:
        """Score canonical SMILES [N]."""
        raw: dict[str, np.ndarray] = {}
        failures: list[Failure | None] = [None] * len(smiles)
        log_reward, weights = np.zeros(len(smiles)), 0.0
        parts = zip(self.configs, self.components, strict=True)
        for config, component in sorted(parts, key=lambda part: part[0].workers > 0):
            asked = list(range(len(smiles)))
            if config.workers and not config.always:
                asked = np.flatnonzero(log_reward > -np.inf).tolist()  # nor those of NaN
            values = component([smiles[i] for i in asked])
            raw[config.column] = np.full(len(smiles), np.nan)
            for i, value in zip(asked, values, strict=True):
                if not isinstance(value, Failure):
                    raw[config.column][i] = value
                elif not failures[i]:
                    failures[i] = type(value)(f"{config.column}: {value.reason}")
            with np.errstate(divide="ignore"):  # log 0: the reward is 0
                score = transform(raw[config.column][asked], config.transform)
                log_reward[asked] += config.weight * np.log(score)
            weights += config.weight
        if self.aggregation == "geometric-mean":
            log_reward = log_reward / weights
        return Scores(raw, np.exp(log_reward), failures)
