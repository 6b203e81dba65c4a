"""Configurations of the molecules; separate, so that --help is instant."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import tyro
from pydantic import FailFast, Field, model_validator

from ipsrl.config import StrictConfig, check_has_effect, is_default
from ipsrl.core.methods import GRPO, METHODS, ExemplarReplay, RewardMethod
from ipsrl.errors import ConfigError
from ipsrl.paths import Command, File, Function, Shipped
from ipsrl.shaping import shaped

Texts = Annotated[list[str], FailFast()]
Device = Literal["auto", "cpu", "cuda"]

COLUMNS = ("call", "step", "smiles", "scaffold", "status", "reason", "reward", "penalised")
"""Columns of the table of oracle calls, beside one for each component."""


class PretrainConfig(StrictConfig):
    """Teach a chemical language model a corpus by maximum likelihood; section 5.3's generator.

    The size is the shipped prior's; the paper's is --hidden 256 --layers 12.  A prior becomes one
    of few molecules (transfer learning) with, say, --from zinc --lr 1e-4 --warm-up 10 --held-out 20
    --epochs 10.
    """

    prior: Annotated[str, Shipped("molecules/priors"), tyro.conf.arg(name="from")] = ""
    """Where the weights start: a shipped prior, or a folder; new ones if not given."""
    smiles: Annotated[File, Field(min_length=1)]
    """File of one SMILES a line (further columns are ignored), or such a file gzipped."""
    hidden: Annotated[int, Field(ge=8, le=4096)] = 128
    """Width of the Mamba."""
    layers: Annotated[int, Field(ge=1, le=128)] = 8
    """Blocks of the Mamba."""
    epochs: Annotated[int, Field(ge=1)] = 3
    """Passes over the corpus, each with a fresh random SMILES of every molecule."""
    randomise: bool = True
    """False keeps the SMILES of the file."""
    batch: Annotated[int, Field(ge=1)] = 64
    """SMILES per update."""
    micro_batch: Annotated[int, Field(ge=1)] = 16
    """SMILES per backward pass: memory depends on it, and the result only by rounding."""
    lr: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Peak of the learning rate (Adam), which falls to 0 along a cosine."""
    warm_up: Annotated[int, Field(ge=1)] = 500
    """Updates until the peak."""
    held_out: Annotated[int, Field(ge=1)] = 1000
    """Molecules to validate on, never trained on."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    """Updates between two checkpoints."""
    device: Device = "auto"
    """Where the model is trained: on a GPU, cuda, where PyTorch finds one, or on the processor."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the weights, the split, the order and the random SMILES."""

    @model_validator(mode="after")
    def _fits(self) -> PretrainConfig:
        for key in ("hidden", "layers"):
            if self.prior and not is_default(self, key):
                raise ValueError(f"{key} is that of the prior to start from. Leave it out")
        if self.micro_batch > self.batch:
            raise ValueError(
                f"micro_batch = {self.micro_batch} is more than batch = {self.batch}. "
                "Use at most the batch"
            )
        return self


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
    """Of a double sigmoid: what divides both steepnesses.  REINVENT4 calls k, k_high and divisor
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


Coordinates = Annotated[list[float], Field(min_length=3, max_length=3)]
Side = Annotated[float, Field(gt=0, le=70)]

_SEARCHES = {"vina": 1, "quickvina2-gpu": 8000, "uni-dock": 128, "command": 1}
_TOLD = {
    "receptor", "ligands", "index", "out", "folder", "seed", "exhaustiveness",
    *(f"{what}_{axis}" for what in ("center", "size") for axis in "xyz"),
}  # fmt: skip
"""Placeholders of a docking command."""


class DockingConfig(StrictConfig):
    """How a molecule is docked; the score is in kcal/mol, the lower the better."""

    receptor: Annotated[File, Field(min_length=1)]
    """PDBQT file; `ipsrl molecules receptor` makes one."""
    center: Coordinates
    """Center of the box, Angstrom."""
    size: Annotated[list[Side], Field(min_length=3, max_length=3)] = [20.0, 20.0, 20.0]  # noqa: RUF012
    """Sides of the box, Angstrom."""
    engine: Literal["vina", "quickvina2-gpu", "uni-dock", "command"] = "vina"
    """vina runs in the process; the others are programs, of which quickvina2-gpu and uni-dock must
    be on the PATH.  Scores of different engines cannot be compared."""
    exhaustiveness: Annotated[int | None, Field(ge=1)] = None
    """Independent searches, of which the best pose counts; if not given 1 for vina, 8000 for
    quickvina2-gpu (its --thread), 128 for uni-dock.  One search of vina does not rank ligands:
    imatinib in 1iep scores from -5.4 to -12.4 by the seed.  `ipsrl molecules rank` measures what
    several cost and bring."""
    max_evals: Annotated[int, Field(ge=1)] = 100_000
    """Evaluations in each search of vina: its budget."""
    seed: Annotated[int, Field(ge=1, le=2**31 - 16)] = 1
    """Seed of the search; to Vina 0 would mean a random one."""
    seeds: Annotated[int, Field(ge=1, le=8)] = 1
    """Dockings of each ligand, with the seeds `seed`, `seed` + 1 ...; the best score counts.  Maps
    of vina take 180 MB for each."""
    first_evals: Annotated[int | None, Field(ge=1)] = None
    """Two stages of vina: all ligands are docked with so many evaluations in place of max_evals,
    and with max_evals only those that score well there."""
    full_below: Annotated[float | None, Field(ge=-20, le=0)] = None
    """Two stages of vina: ligands that score at most this in the first, in kcal/mol, get the
    second, and the better of their scores."""
    pH: Annotated[float, Field(ge=0, le=14)] = 7.4
    """pH at which the ligand gets its charges."""
    command: Command = []  # noqa: RUF012 (frozen)
    """Program and arguments of the engine `command`, with the placeholders {receptor}, {ligands}
    (folder) or {index} (file of paths), {out} (folder), {center_x} ... {size_z}, {seed},
    {exhaustiveness}, {folder} (of the program); for NAME.pdbqt it writes NAME_out.pdbqt."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that a program may take for a batch."""

    @property
    def searches(self) -> int:
        return self.exhaustiveness or _SEARCHES[self.engine]

    @property
    def box(self) -> dict[str, float]:
        """center_x ... size_z."""
        sides = [("center", self.center), ("size", self.size)]
        return {
            f"{what}_{axis}": v for what, xyz in sides for axis, v in zip("xyz", xyz, strict=True)
        }

    @model_validator(mode="after")
    def _consistent(self) -> DockingConfig:
        if bool(self.command) != (self.engine == "command"):
            change = "Leave command out" if self.command else "Give the command"
            raise ValueError(f"engine {self.engine!r} and command do not fit. {change}")
        alone = dict.fromkeys(("max_evals", "first_evals", "full_below"), ("vina",))
        for key, engines in {**alone, "timeout": tuple(_SEARCHES)[1:]}.items():
            if self.engine not in engines and not is_default(self, key):
                raise ValueError(
                    f"{key} has no effect with engine {self.engine}, only with "
                    f"{', '.join(engines)}. Leave it out"
                )
        if (self.first_evals is None) != (self.full_below is None):
            raise ValueError(
                "first_evals and full_below are the two stages of one search. Give both, or neither"
            )
        if self.first_evals and self.first_evals >= self.max_evals:
            raise ValueError(
                f"first_evals = {self.first_evals}: the first stage would not be cheaper than the "
                "second. Give fewer, or leave first_evals and full_below out"
            )
        if self.engine == "quickvina2-gpu" and self.searches < 1000:
            raise ValueError(
                f"exhaustiveness = {self.searches}: quickvina2-gpu refuses fewer than 1000 "
                "threads. Write 8000, as in the paper"
            )
        told = set(re.findall(r"{(\w*)}", " ".join(self.command)))
        if unknown := sorted(told - _TOLD):
            raise ValueError(
                f"command: there is no placeholder {{{unknown[0]}}}; there are "
                + ", ".join(f"{{{name}}}" for name in sorted(_TOLD))
            )
        needed = {"receptor", "out", *self.box} | (set() if "index" in told else {"ligands"})
        if self.command and (missing := sorted(needed - told)):
            raise ValueError(
                f"command: the program would not know {missing[0]}. Add {{{missing[0]}}}"
            )
        return self


class SynthesisConfig(StrictConfig):
    """How a route to a molecule is looked for; the value is 1 where there is one, else 0."""

    model: Literal["templates", "megan"] = "templates"
    """What proposes the last step of a synthesis; megan needs `ipsrl workers install megan`."""
    stock: Annotated[str, Field(min_length=1), Shipped("molecules/stocks", ".smi")] = "common"
    """What can be bought: a stock that comes with ipsrl, or a file of SMILES, .smi or .smi.gz."""
    search: Literal["retro-star", "breadth-first"] = "retro-star"
    """Which molecule is taken apart next."""
    seconds: Annotated[float, Field(gt=0)] = 180.0
    """Limit of a search, the paper's; what it cuts off depends on the machine and its load."""
    expansions: Annotated[int, Field(ge=1)] = 500
    """Limit of a search, molecules that are taken apart: the same on every machine."""
    rule: Literal["any", "all-amide"] = "any"
    """Which routes count: any, or those of amide couplings alone."""


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


class StageConfig(StrictConfig):
    """One objective of several that a search has one after another."""

    components: Annotated[list[ComponentConfig], Field(min_length=1, max_length=100)]
    """Parts of the reward of this stage."""
    budget: Annotated[int, Field(ge=1)]
    """Oracle calls of this stage at most."""
    until: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Mean reward of the molecules of five batches above which the stage is over."""


OUTCOMES = ("smiles", "scaffold", "generic-scaffold", "similarity")
_COMPARED = (*METHODS, "exemplar-replay")
_REWARDS = tuple(name for name, method in METHODS.items() if issubclass(method, RewardMethod))
_ONLY_WITH = {
    "prior_in_advantage": _REWARDS,
    "outcome": (
        *(name for name, method in METHODS.items() if "ids" in method.needs),
        "exemplar-replay",
    ),
    "clip": _COMPARED,
    "kl": _COMPARED,
    "epochs": (*_COMPARED, "flowrl"),
    "beta": ("flowrl",),
}


class Config(
    shaped(
        losses={"reinvent": None, "flowrl": GRPO, "exemplar-replay": ExemplarReplay},
        knows=(
            "ids",
            "log_pf",
            "log_ref",
            "lengths",
            "visits",
            "similarity",
            "history_log_pf",
        ),
        without=("scale",),
        defaults={"replay_batches": 4, "exemplar_replay_size": 100},
    )
):
    """Molecules that score high and differ from one another, in few oracle calls; section 5.3."""

    heading: ClassVar[str] = "search"

    components: Annotated[
        list[ComponentConfig],
        Field(min_length=1, max_length=100, default=[ComponentConfig(kind="qed")]),
        tyro.conf.Suppress,
    ]
    """Parts of the reward: tables [[components]] of the TOML file."""
    stages: Annotated[list[StageConfig], Field(max_length=100, default=[]), tyro.conf.Suppress]
    """Objectives one after another, in place of components and budget: tables [[stages]] of the
    TOML file.  Each begins with the agent of the one before, and an empty memory and filter."""
    aggregation: Literal["geometric-mean", "product"] = "geometric-mean"
    """How scores become one reward."""
    executor: Literal["processes", "ray"] = "processes"
    """Where the workers of components run: on this machine, or on a Ray cluster."""
    cache: File = ""
    """File that keeps raw values of components from run to run; none if not given."""
    prior: Annotated[str, Field(min_length=1), Shipped("molecules/priors")] = "zinc"
    """Where the agent starts: a shipped prior, or a folder that `molecules pretrain` wrote."""
    outcome: Function = "scaffold"
    """When two molecules are the same outcome: smiles, scaffold, generic-scaffold, similarity
    (gradual: kernel, dra, setpo, dqo), or a function, file.py:function, of a list of SMILES."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """PPO's clip of the likelihood ratio, with epochs > 1."""
    kl: Annotated[float, Field(ge=0)] = 0.001
    """Weight of the KL divergence from the prior, per molecule."""
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    """Updates on each batch."""
    beta: Annotated[float, Field(gt=0)] = 15.0
    """FlowRL's inverse temperature."""
    sigma: Annotated[float, Field(gt=0)] = 128.0
    """REINVENT's nats per unit of reward; also with prior_in_advantage."""
    prior_in_advantage: bool = False
    """REINVENT's target inside the advantage of a method: (x - mean x) / std x of
    x = sigma r~ + log P_prior - log P, with r~ as the method scales rewards.  kl stays a term of
    the loss: set it to 0 for the prior in one place."""
    budget: Annotated[int, Field(ge=1)] = 5000
    """Oracle calls: distinct molecules that are scored."""
    batch: Annotated[int, Field(ge=2, le=65536)] = 64
    """SMILES drawn per step: the group."""
    micro_batch: Annotated[int, Field(ge=1)] = 16
    """SMILES per backward pass: memory depends on it, and the result only by rounding."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate (Adam)."""
    replay: Annotated[int, Field(ge=0)] = 10
    """Molecules of the memory in each update of the batch."""
    memory: Annotated[int, Field(ge=0)] = 100
    """Best molecules that are remembered; 0 for none."""
    inception: File = ""
    """File of known molecules, one SMILES a line, that are scored first, as calls of step 0, and
    with which the memory begins; none if not given."""
    purge: Literal["full", "zero", "none"] = "full"
    """Which scaffolds of a batch the memory forgets: those that the filter pays no more, or, as
    Saturn, each with a molecule whose reward after the filter is exactly 0, or none."""
    augmentations: Annotated[int, Field(ge=0, le=100)] = 2
    """Rounds on random SMILES of the batch and of the whole memory after each batch."""
    filter: Literal["scaffold", "generic-scaffold", "similarity", "none"] = "scaffold"
    """What the diversity filter counts: molecules with this scaffold, with this graph of rings and
    links, or with a similar scaffold; none pays all."""
    bucket: Annotated[int, Field(ge=0)] = 10
    """Molecules of one scaffold, or whatever the filter counts, that are rewarded; 0 for any
    number."""
    penalty: Literal["step", "linear", "tanh", "sigmoid"] = "step"
    """How the reward falls with their number n: to 0 beyond the bucket, or from the first on, as
    1 - n / bucket, 1 - tanh(3 (n - 1) / bucket), or a sigmoid with its middle at half the
    bucket."""
    filter_above: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Rewards below this are neither counted by the filter nor changed; 0.4 in REINVENT4."""
    filter_similarity: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Similarity (Dice, atom pairs) from which on two scaffolds are counted as one."""
    scaffold_stereo: bool = False
    """Whether scaffolds keep stereo marks: isomers of one molecule are then several scaffolds."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """A molecule whose reward is above is a hit: yield, OB100."""
    until: Annotated[float | None, Field(gt=0, lt=1)] = None
    """The search is over once the mean reward of the molecules of five batches is above this; by
    its budget alone if not given."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the sampling."""
    device: Device = "auto"
    """Where prior and agent run: on a GPU, cuda, where PyTorch finds one, or on the processor."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 10
    """Steps between two checkpoints."""

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        check_has_effect(self, _ONLY_WITH)
        inside = self.method == "reinvent" or self.prior_in_advantage
        if not inside and not is_default(self, "sigma"):
            raise ValueError(
                f"sigma has no effect with method {self.method}, only with reinvent, or with "
                "prior_in_advantage. Leave it out"
            )
        if self.filter == "none" or not self.bucket:
            for key in ("penalty", "filter_above", "filter_similarity"):
                if not is_default(self, key):
                    raise ValueError(f"{key} has no effect without a filter. Leave it out")
        if self.filter != "similarity" and not is_default(self, "filter_similarity"):
            raise ValueError(
                f"filter_similarity has no effect with filter {self.filter}, only with similarity. "
                "Leave it out"
            )
        for key in ("purge", "inception"):
            if not self.memory and not is_default(self, key):
                raise ValueError(f"{key} has no effect with memory = 0. Leave it out")
        if self.outcome not in OUTCOMES and ":" not in self.outcome:
            raise ValueError(
                f"{self.outcome!r} is not an outcome. Name one of {', '.join(OUTCOMES)}, or a "
                "function of your own, file.py:function"
            )
        kernel, gradual = self.estimator == "kernel", self.outcome == "similarity"
        if (kernel and not gradual) or (gradual and not kernel and not self.looks_at("similarity")):
            raise ValueError(
                "outcome similarity and estimator kernel belong together: only a kernel, and the "
                "methods dra, setpo and dqo, count by degrees. Set both, or neither"
            )
        if self.estimator == "likelihood" and self.outcome != "smiles":
            raise ValueError(
                "the likelihood of a sequence is the probability of a SMILES, not of a "
                f"{self.outcome}. Set outcome = smiles, or another estimator"
            )
        if not self.memory and (self.replay or self.augmentations):
            raise ValueError(
                "memory = 0 leaves nothing to replay. Set replay = 0 and augmentations = 0 too"
            )
        if self.stages:
            self._check_stages()
            return self
        for component in self.components:
            example = KINDS[component.kind].transform
            if example and component.transform.kind == "identity":
                raise ValueError(
                    f"the values of {component.kind!r} are not in [0, 1], to which they would be "
                    f"cut. Give a transform, such as transform = {example}"
                )
        if self.cache and not any(component.is_kept for component in self.components):
            raise ValueError(
                "cache has no effect: no values of these components are kept. Leave it out, or "
                "give your component a version"
            )
        names = [component.column for component in self.components]
        if taken := [name for name in names if names.count(name) > 1 or name in COLUMNS]:
            raise ValueError(f"the column {taken[0]!r} is taken. Give each component its own name")
        return self

    def of_stage(self, number: int) -> Config:
        """The configuration of one stage, as a search of its own."""
        values: dict[str, Any] = self.model_dump() | self.stages[number].model_dump()
        return Config(**{**values, "stages": []})

    def _check_stages(self) -> None:
        for key in ("components", "budget", "until"):
            if key in self.model_fields_set and not is_default(self, key):
                raise ValueError(f"with stages each has its own {key}. Leave it out beside them")
        for number in range(len(self.stages)):
            try:
                self.of_stage(number)
            except ConfigError as error:
                raise ValueError(f"stages.{number}: {error}") from None
