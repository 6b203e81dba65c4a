"""Rewards of molecules: components, transformed to [0, 1] and aggregated to one number.

    R(m) = (prod_i s_i(m)^{w_i})^{1 / sum w}      geometric mean (the paper, appendix B.2)
    R(m) =  prod_i s_i(m)^{w_i}                    product

A component takes canonical SMILES and returns a number for each, or a `Failure`: a value that could
not be computed is never a number, because any number would be a reward.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

from ipsrl.errors import ConfigError, InvalidInput, words
from ipsrl.functions import call, load_function, name_of, number, one_each
from ipsrl.molecules.config import ComponentConfig, TransformConfig
from ipsrl.molecules.molecule import canonical, similarities
from ipsrl.molecules.scoring.inputs import digest_of, files
from ipsrl.workers.group import run

LONGEST = 2**24  # bytes that a program answers to one batch; it must not fill the memory


@dataclass(frozen=True)
class Failure:
    """No value, and why."""

    reason: str


class Timeout(Failure):
    """No value within the limit of time."""


class Component(Protocol):
    """One property of molecules, raw; a user's own is a function or a program (config).

    Its attribute `identity`, if it has one, is a text of what its values depend on: kind, settings,
    versions, digests of files.
    """

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        """A finite number or a `Failure` for each canonical SMILES, in order; never raises."""
        ...


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
    """How many of the patterns the molecule contains; an alert is 0 where any matches, else 1.

    Raises:
      ConfigError: for a pattern that is no SMARTS.
    """

    def __init__(self, patterns: Sequence[str], *, alert: bool) -> None:
        with rdBase.BlockLogs():
            self.patterns = [Chem.MolFromSmarts(text) for text in patterns]
        self.alert = alert
        for text, pattern in zip(patterns, self.patterns, strict=True):
            if pattern is None:
                raise ConfigError(f"{text!r} is no SMARTS. Correct the pattern.")

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        return [guarded(lambda s=s: self._count(Chem.MolFromSmiles(s))) for s in smiles]

    def _count(self, molecule: Chem.Mol) -> float:
        matched = sum(molecule.HasSubstructMatch(pattern) for pattern in self.patterns)
        return float(matched == 0 if self.alert else matched)


class Similarity:
    """Largest Tanimoto similarity to any of the references.

    Raises:
      ConfigError: for a reference that is no molecule.
    """

    def __init__(self, references: Sequence[str]) -> None:
        self.references = list(references)
        for text in references:
            if canonical(text) is None:
                raise ConfigError(f"{text!r} is no molecule. Correct the SMILES.")

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        return similarities(smiles, self.references).max(1).tolist() if smiles else []


class Function:
    """A Python function of a list of SMILES that returns a list of numbers.

    If it raises, it is asked again for each molecule alone, so that one cannot cost the others.
    """

    def __init__(self, spec: str, identity: str) -> None:
        self.function = load_function(spec)
        self.identity = identity

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        try:
            values = call(self.function, list(smiles))
            values = one_each(values, name_of(self.function), "values", len(smiles), "molecules")
        except Exception as error:
            if len(smiles) == 1:
                return [Failure(words(error))]
            return [value for text in smiles for value in self([text])]
        return [guarded(lambda v=v: v) for v in values]


@dataclass(frozen=True)
class Program:
    """An external program over JSON lines: {"smiles": ...} in, {"value": ...} out, in order.

    {"error": ...} is a failure with that reason.  If the program breaks down, it is asked for each
    molecule without an answer again, alone.  What has none after `timeout` seconds has failed; and
    all has if there are too many lines, or too few at a regular end, for then nobody knows which
    molecule a line is about.

    Raises:
      ConfigError: if the program is not found.
    """

    command: Sequence[str]
    timeout: float
    identity: str

    def __post_init__(self) -> None:
        if shutil.which(self.command[0]) is None:
            raise ConfigError(
                f"the program {self.command[0]!r} is not found, or not executable, so no molecule "
                "would have a value. Put its folder on the PATH, or write its path."
            )

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        lines = "".join(json.dumps({"smiles": text}) + "\n" for text in smiles)
        try:
            ended = run(
                self.command, timeout=self.timeout, longest=LONGEST + 1, stdin=lines.encode()
            )
        except OSError as error:
            return [Failure(f"the program cannot be started: {error}")] * len(smiles)
        if len(ended.output) > LONGEST:
            return [Failure(f"the program wrote more than {LONGEST} bytes")] * len(smiles)
        end = None
        if ended.code is None:
            end = Timeout(f"no answer in {self.timeout:g} s")
        elif ended.code:
            last = ended.errors.decode(errors="replace").splitlines()[-1:]
            end = Failure(": ".join([f"the program ended with code {ended.code}", *last])[:200])
        answers = ended.output.splitlines()
        if len(answers) > len(smiles) or (not end and len(answers) < len(smiles)):
            told = f"{len(answers)} lines in answer to {len(smiles)} molecules"
            return [Failure(f"the program wrote {told}; it must write one for each")] * len(smiles)
        values = [guarded(lambda line=line: _answer(line)) for line in answers]
        left = smiles[len(values) :]
        if ended.code and len(smiles) > 1:  # one of these may have broken it, the others have not
            return values + [value for text in left for value in self([text])]
        return values + [end] * len(left) if end else values


@dataclass(frozen=True)
class Scores:
    """What scoring found, one entry per molecule.

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


def transform(values: np.ndarray, config: TransformConfig) -> np.ndarray:
    """Raw values [N] to [0, 1]; NaN stays NaN.

        sigmoid         1 / (1 + 10^{-k (x - (high + low) / 2) 10 / (high - low)})
        reverse-sigmoid 1 - sigmoid
        double-sigmoid  1 / (1 + 10^{-k (x - low)}) - 1 / (1 + 10^{-k (x - high)})
        step            1 where low <= x <= high, else 0
        identity        x, cut to [0, 1]

    Source: REINVENT (Blaschke et al. 2020); the paper, appendix B.2.
    """
    x, k = np.clip(values, -1e300, 1e300), config.k
    if config.kind == "identity":
        return np.clip(x, 0.0, 1.0)
    low = -np.inf if config.low is None else config.low
    high = np.inf if config.high is None else config.high
    if config.kind == "step":
        return np.where(np.isnan(x), np.nan, (x >= low) & (x <= high))
    if config.kind == "double-sigmoid":
        return _logistic(k * (x - low)) - _logistic(k * (x - high))
    sign = -1 if config.kind == "reverse-sigmoid" else 1
    return _logistic(sign * k * 10 / (high - low) * (x - (high + low) / 2))


def build(config: ComponentConfig) -> Component:
    """The component that a configuration names."""
    match config.kind:
        case "smarts" | "alert":
            return Smarts(config.smarts, alert=config.kind == "alert")
        case "similarity":
            return Similarity(config.smiles)
        case "function":
            return Function(config.function, _identity(config))
        case "program":
            return Program(config.command, config.timeout, _identity(config))
        case "docking":
            from ipsrl.molecules.docking.docking import Docking

            assert config.docking is not None  # for the type checker: the configuration is complete
            return Docking(config.docking)
        case "synthesis":
            from ipsrl.molecules.synthesis.planner import Synthesis

            assert config.synthesis is not None
            return Synthesis(config.synthesis)
        case _:
            return Property(PROPERTIES[config.kind])


def _identity(config: ComponentConfig) -> str:
    """What is known of that on which the values of a function or program depend."""
    found = files(config)
    # By its name: where a file lies says nothing of what it holds.
    named = [config.function] if config.function else config.command
    source = [PurePath(word).name if word in found else word for word in named]
    digest = digest_of(found.values())
    return f"{config.kind} {json.dumps(source)} {config.version} sha256 {digest}"


def _logistic(exponent: np.ndarray) -> np.ndarray:
    return 1 / (1 + 10.0 ** np.clip(-exponent, -300, 300))  # 10^308 is the largest number


def _answer(line: bytes) -> float | Failure:
    match json.loads(line):
        case {"value": value}:
            return value
        case {"error": reason}:
            return Failure(f"{reason}"[:200])
    return Failure(f"answered {line[:80]!r}")


def guarded(compute: Callable[[], Any]) -> float | Failure:
    """A finite number, or why there is none."""
    try:
        value = compute()
        if isinstance(value, Failure):
            return value
        finite = number(value)
        if isinstance(value, bool | np.bool_) or not np.isfinite(finite):
            return Failure(f"the value is {value!r:.80}, not a finite number")
    except Exception as error:
        return Failure(words(error))
    return finite
