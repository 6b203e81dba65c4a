"""Configuration of a search."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import tyro
from pydantic import Field, model_validator

from ipsrl.config import StrictConfig, check_has_effect, is_default
from ipsrl.core.methods import GRPO, METHODS, ExemplarReplay, RewardMethod
from ipsrl.errors import ConfigError, InvalidInput, MissingExtra
from ipsrl.molecules.config.component import KINDS, ComponentConfig
from ipsrl.molecules.config.pretraining import Device
from ipsrl.paths import File, Function, Shipped
from ipsrl.shaping import shaped

COLUMNS = ("call", "step", "smiles", "scaffold", "status", "reason", "reward", "penalised")
"""Columns of the table of oracle calls, beside one for each component."""


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
    """Parts of the reward: tables [[components]] of the TOML file; QED if there are none."""
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
    decorate: str = ""
    """Fragment that every molecule is to contain, and where, at each *, the agent writes the rest:
    a SMILES such as "c1ccc(*)cc1C(=O)N*"; whole molecules if not given."""
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
    """Scaffolds of a batch that the memory forgets: those that the filter pays no more, or, as
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
            size = ("bucket",) if self.filter == "none" else ()
            for key in (*size, "penalty", "filter_above", "filter_similarity"):
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
        if getattr(self, "transform", None) == "log":
            raise ValueError(
                "transform = log: an invalid SMILES has reward 0, which has no logarithm, so there "
                "would be no update. Use id or sqrt"
            )
        if self.decorate:
            self._check_fragment()
        parts = [part for each in (self.stages or [self]) for part in each.components]
        if self.cache and not any(component.is_kept for component in parts):
            raise ValueError(
                "cache has no effect: no values of these components are kept. Leave it out, or "
                "give your component a version"
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
        names = [component.column for component in self.components]
        if taken := [name for name in names if names.count(name) > 1 or name in COLUMNS]:
            raise ValueError(f"the column {taken[0]!r} is taken. Give each component its own name")
        return self

    def of_stage(self, number: int) -> Config:
        """The configuration of one stage, as a search of its own."""
        stage = self.stages[number]
        values: dict[str, Any] = self.model_dump() | stage.model_dump() | {"stages": []}
        if not any(component.is_kept for component in stage.components):
            values["cache"] = ""
        return Config(**values)

    def _check_fragment(self) -> None:
        try:
            from ipsrl.molecules.fragment import Fragment  # which needs RDKit, and --help does not
        except ModuleNotFoundError as error:
            raise MissingExtra("molecules", error.name or "rdkit") from None

        try:
            Fragment(self.decorate)
        except InvalidInput as error:
            raise ValueError(f"decorate: {str(error).removesuffix('.')}") from None
        if self.augmentations or self.inception:
            raise ValueError(
                "decorate: random SMILES and known molecules are not written around the fragment. "
                "Set augmentations = 0, and leave inception out"
            )

    def _check_stages(self) -> None:
        for key in ("components", "budget", "until"):
            if key in self.model_fields_set and not is_default(self, key):
                raise ValueError(
                    f"with stages each has its own {key}. Leave it out beside them, and change it "
                    "in the tables [[stages]], for a trial as well"
                )
        for number in range(len(self.stages)):
            try:
                self.of_stage(number)
            except ConfigError as error:
                raise ValueError(f"stages.{number}: {error}") from None
