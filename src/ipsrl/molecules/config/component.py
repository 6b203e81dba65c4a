"""Configuration of the parts of a reward."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import FailFast, Field, model_validator

from ipsrl.config import StrictConfig, is_default
from ipsrl.errors import MissingExtra
from ipsrl.molecules.config.docking import DockingConfig
from ipsrl.paths import Command, File, Function, Shipped

Texts = Annotated[list[str], FailFast()]


class TransformConfig(StrictConfig):
    """How a raw value becomes a score in [0, 1]; see `ipsrl.molecules.scoring.transform`."""

    kind: Literal["identity", "sigmoid", "reverse-sigmoid", "double-sigmoid", "step"] = "identity"
    """Shape of the transform."""
    low: float | None = None
    """Lower end, in units of the raw value; a step without it has none."""
    high: float | None = None
    """Upper end, in units of the raw value; a step without it has none."""
    k: Annotated[float, Field(gt=0)] = 0.25
    """Steepness; of a double sigmoid at its lower end, per unit of the raw value."""
    k_high: Annotated[float | None, Field(gt=0)] = None
    """Steepness of a double sigmoid at its upper end; k if not given."""
    divisor: Annotated[float, Field(gt=0)] = 1.0
    """Divisor of both steepnesses of a double sigmoid.  REINVENT4 calls k, k_high and divisor
    coef_si, coef_se and coef_div."""

    @model_validator(mode="after")
    def _has_ends(self) -> TransformConfig:
        ends = (self.low, self.high)
        if self.kind.endswith("sigmoid") and None in ends:
            raise ValueError(f"a {self.kind} needs low and high. Give both")
        if self.kind == "step" and ends == (None, None):
            raise ValueError("a step needs low, high or both. Give one")
        if self.kind == "identity" and ends != (None, None):
            raise ValueError("low and high have no effect with identity. Name a kind, such as step")
        if self.kind != "double-sigmoid" and not (self.k_high is None and self.divisor == 1):
            raise ValueError(
                f"k_high and divisor have no effect with {self.kind}, only with double-sigmoid. "
                "Leave them out"
            )
        if None not in ends and not self.low < self.high:  # pyright: ignore
            raise ValueError(f"low = {self.low} is not below high = {self.high}")
        return self


class SynthesisConfig(StrictConfig):
    """How a route to a molecule is looked for; the value is 1 where there is one, else 0."""

    model: Literal["templates", "megan"] = "templates"
    """What proposes the last step of a synthesis; megan needs `ipsrl workers install megan`."""
    stock: Annotated[str, Field(min_length=1), Shipped("molecules/stocks", ".smi")] = "common"
    """What can be bought: a stock that comes with ipsrl, or a file of SMILES, .smi or .smi.gz."""
    search: Literal["retro-star", "breadth-first"] = "retro-star"
    """How the molecule that is taken apart next is chosen."""
    seconds: Annotated[float, Field(gt=0)] = 180.0
    """Limit of a search, the paper's; what it cuts off depends on the machine and its load."""
    expansions: Annotated[int, Field(ge=1)] = 500
    """Limit of a search, molecules that are taken apart: the same on every machine."""
    rule: Literal["any", "all-amide"] = "any"
    """Routes that count: any, or those of amide couplings alone."""


class QsarConfig(StrictConfig):
    """A model of scikit-learn, and the Morgan fingerprint that it predicts from."""

    model: Annotated[File, Field(min_length=1)]
    """File that skops.io.dump wrote, .skops, or skl2onnx, .onnx; never a pickle.  A classifier of
    two classes gives the probability of the second."""
    trusted: Texts = []  # noqa: RUF012 (frozen)
    """Types in a .skops file that may be made beside those that skops knows for harmless, such as
    "sklearn.tree._tree.Tree" of a forest."""
    bits: Annotated[int, Field(ge=8, le=2**20)] = 2048
    """Length of the fingerprint."""
    radius: Annotated[int, Field(ge=0, le=10)] = 2
    """Bonds that an environment reaches: 2 is ECFP4."""
    counts: bool = False
    """Whether it counts how often an environment comes, instead of whether it does."""
    features: bool = False
    """Whether it takes atoms by what they do: FCFP instead of ECFP."""

    @model_validator(mode="after")
    def _no_pickle(self) -> QsarConfig:
        if not self.model.endswith((".skops", ".onnx")):
            raise ValueError(
                f"model = {self.model!r} is neither a .skops nor an .onnx file. A pickle runs code "
                "when it is loaded: write the model with skops.io.dump, or with skl2onnx, where it "
                "was trained"
            )
        if self.trusted and self.model.endswith(".onnx"):
            raise ValueError("trusted has no effect on an .onnx file. Leave it out")
        return self


class Kind(NamedTuple):
    """What the configuration knows of a kind of component; a new kind is a row of `KINDS`, and one
    in `scoring.build`."""

    needs: str = ""  # the key of its data
    transform: str = ""  # one that makes sense, where its values are not in [0, 1]
    kept: Literal["never", "with a version", "always"] = "never"  # by a cache
    libraries: tuple[str, ...] = ()  # beside RDKit, on whose versions its values depend


KINDS = {
    "qed": Kind(), "hbd": Kind(), "hba": Kind(),
    "logp": Kind(transform='{kind = "step", low = 1.0, high = 4.0}'),
    "tpsa": Kind(transform='{kind = "step", high = 140.0}'),
    "weight": Kind(transform='{kind = "step", low = 200.0, high = 500.0}'),
    "rotatable_bonds": Kind(), "rings": Kind(), "aromatic_rings": Kind(),
    "sa": Kind(transform='{kind = "reverse-sigmoid", low = 1.0, high = 6.0}'),
    "smarts": Kind("smarts"), "alert": Kind("smarts"), "similarity": Kind("smiles"),
    "function": Kind("function", kept="with a version"),
    "program": Kind("command", kept="with a version"),
    "docking": Kind("docking", '{kind = "reverse-sigmoid", low = -16.0, high = 0.0, k = 0.15}',
                    "always", ("vina", "meeko", "openbabel-wheel")),
    "synthesis": Kind("synthesis", kept="always", libraries=("syntheseus",)),
    "qsar": Kind("qsar", kept="always", libraries=("scikit-learn", "skops", "onnxruntime")),
}  # fmt: skip


class ComponentConfig(StrictConfig):
    """One part of the reward."""

    kind: Literal[*KINDS]  # pyright: ignore[reportInvalidTypeForm]
    """A property of RDKit, a pattern, a similarity, a docking score, a search for a synthesis, a
    model of scikit-learn, or a component of your own."""
    name: str = ""
    """Column of its raw values; the kind if not given.  Letters, digits, "_", "-" and "."."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Exponent in the aggregate."""
    transform: TransformConfig = TransformConfig()
    """How the raw value becomes a score."""
    smarts: Texts = []  # noqa: RUF012 (frozen)
    """Patterns: smarts counts those that match, alert is 0 where any does and else 1."""
    smiles: Texts = []  # noqa: RUF012 (frozen)
    """Reference molecules: the largest Tanimoto similarity to any of them."""
    radius: Annotated[int, Field(ge=0, le=10)] = 2
    """Bonds that an environment of a similarity's Morgan fingerprint reaches: 2 is ECFP4."""
    counts: bool = False
    """Whether a similarity counts how often an environment comes, instead of whether it does."""
    features: bool = False
    """Whether a similarity takes atoms by what they do (donor, acceptor, aromatic, halogen, acid,
    base) instead of by what they are: FCFP instead of ECFP."""
    function: Function = ""
    """module:function or file.py:function, a list of SMILES to a list of numbers."""
    command: Command = []  # noqa: RUF012 (frozen)
    """Program and arguments, called once a batch with lines {"smiles": ...} on standard input; it
    answers {"value": ...} or {"error": ...} for each, in order."""
    version: str = ""
    """Version of a function or program: with it, values are kept in the cache, as long as the file
    that is named stays as it is; name another version whenever other values come out for another
    reason."""
    workers: Annotated[int, Field(ge=0, le=4096)] = 0
    """Processes that compute it, each one molecule at a time; 0 for none but the run's own."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that a worker may take for a molecule, or, without workers, a program for a batch."""
    retries: Annotated[int, Field(ge=0, le=100)] = 1
    """Times that a molecule is tried again after its worker died; not after its time ran out."""
    always: bool = False
    """With workers: compute it also where the other components have decided the reward."""
    docking: DockingConfig | None = None
    """Receptor, box and engine."""
    synthesis: SynthesisConfig | None = None
    """How a synthesis is looked for."""
    qsar: QsarConfig | None = None
    """Model and fingerprint."""

    @property
    def column(self) -> str:
        return self.name or self.kind

    @property
    def is_kept(self) -> bool:
        """Whether a cache keeps its values."""
        return KINDS[self.kind].kept == "always" or bool(self.version)

    @model_validator(mode="after")
    def _complete(self) -> ComponentConfig:
        if not re.fullmatch(r"(\w[\w.-]*)?", self.name):
            raise ValueError(
                f"name = {self.name!r}: it heads a column of calls.csv, and spreadsheets run what "
                'begins with "=", "+", "-" or "@". Use letters, digits, "_", "-" and ".", of which '
                "the last two cannot come first"
            )
        needed = KINDS[self.kind].needs
        for key in dict.fromkeys(kind.needs for kind in KINDS.values() if kind.needs):
            if bool(getattr(self, key)) != (key == needed):
                example = ", if only as synthesis = {}" if key == "synthesis" else ""
                change = f"Give it{example}" if key == needed else f"Leave {key} out"
                raise ValueError(f"a component {self.kind!r} needs {needed or 'no data'}. {change}")
        self._check_chemistry()
        for key in ("radius", "counts", "features"):
            if self.kind != "similarity" and not is_default(self, key):
                raise ValueError(
                    f"{key} has no effect on {self.kind!r}, only on a similarity. Leave it out"
                )
        if self.version and KINDS[self.kind].kept != "with a version":
            raise ValueError(f"version has no effect on {self.kind!r}. Leave it out")
        if not self.workers and (self.always or not is_default(self, "retries")):
            raise ValueError("always and retries have no effect without workers. Leave them out")
        if not self.workers and needed != "command" and not is_default(self, "timeout"):
            raise ValueError(f"timeout has no effect on {self.kind!r} without workers. Give some")
        return self

    def _check_chemistry(self) -> None:
        """See that patterns are SMARTS, and references molecules."""
        if not self.smarts and not self.smiles:
            return
        try:
            from rdkit import Chem, rdBase  # which --help does not need

            from ipsrl.molecules.molecule import why_not
        except ModuleNotFoundError as error:
            raise MissingExtra("molecules", error.name or "rdkit") from None
        for text in self.smarts:
            with rdBase.BlockLogs():
                if Chem.MolFromSmarts(text) is None:
                    raise ValueError(f"smarts: {text!r} is not a SMARTS. Correct the pattern")
        for text in self.smiles:
            if why := why_not(text):
                raise ValueError(f"smiles: {text!r} is not a molecule: {why}. Correct the SMILES")
