"""Configuration of a run on a grid; separate, so that --help need not load JAX or NumPy."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from pydantic import Field, model_validator

from ipsrl.config import check_has_effect, is_default
from ipsrl.core.methods import GRPO, IPS, METHODS
from ipsrl.paths import Function
from ipsrl.shaping import shaped

if TYPE_CHECKING:
    from ipsrl.grids.environment import Environment

TABLE_LIMIT = 2**20
"""Most states whose distribution is computed exactly."""

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Coefficient = Annotated[float, Field(ge=0, le=1e6)]  # far from the end of float32


_CRITICS = ("ppo", "ips-ppo")
_ONLY_WITH = {
    "clip": (*METHODS, "flowrl", *_CRITICS),
    "beta": ("flowrl",),
    "lr_log_z": ("flowrl", "tb"),
    "gae_lambda": _CRITICS,
    "lr_critic": _CRITICS,
    "explore": ("ips-grpo", "grpo", "tb"),  # MaxRL has no weights
}
_ONLY_IF_EXPLORING = {
    "explore_share": ("epsilon", "tempered", "replay"),
    "epsilon": ("epsilon",),
    "temperature": ("tempered",),
    "memory": ("replay",),
}


class Learning(
    shaped(
        # tb: trajectory balance; ppo: entropy-regularised; ips-ppo: a critic of r / p
        losses={"flowrl": GRPO, "tb": None, "ppo": None, "ips-ppo": IPS},
        knows=(
            "ids",
            "p",
            "log_pf",
            "log_pb",
            "log_ref",
            "lengths",
            "visits",
            "history_log_pf",
        ),
    )
):
    """Settings of how a policy learns, in any environment."""

    heading: ClassVar[str] = "learning"

    policy: Literal["mlp", "tabular"] = "mlp"
    """Network on one-hot coordinates, or one free logit per state and action."""
    hidden: Count = 64
    """Width of the two hidden layers."""
    group_size: Count = 256
    """Trajectories compared with each other, G."""
    batch: Count = 256
    """Trajectories per iteration; a multiple of group_size."""
    iterations: Count = 1500
    """Iterations of sampling and learning."""
    lr: Rate = 1e-3
    """Learning rate of Adam."""
    lr_end: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Learning rate at the end, reached by exponential decay; 0 for no decay."""
    lr_log_z: Rate = 0.1
    """Learning rate of log Z (flowrl, tb)."""
    epochs: Annotated[int, Field(ge=1, le=32)] = 1
    """Updates per batch."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """PPO's clip of the probability ratio."""
    entropy: Coefficient = 0.0
    """Coefficient of the entropy bonus, the mean over visited states."""
    kl: Coefficient = 0.0
    """Coefficient of the KL to the initial policy (k3)."""
    beta: Coefficient = 15.0
    """Inverse temperature of flowrl."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Weight of later errors of the critic in an advantage (ppo, ips-ppo)."""
    lr_critic: Rate = 3e-4
    """Learning rate of the critic (ppo, ips-ppo)."""
    backward: Literal["uniform", "learned"] = "uniform"
    """Backward policy: equal chances for all parents, or a network of its own."""
    explore: Literal["none", "epsilon", "tempered", "replay"] = "none"
    """Explorer that draws a part of each group; weights correct for it (tb needs none)."""
    explore_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of a group that `explore` draws."""
    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Probability of a random legal action in each step (explore epsilon)."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Actions have the policy's probabilities to the power 1/temperature (explore tempered)."""
    memory: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Number of best outcomes from which trajectories are drawn back (explore replay)."""
    reward_temperature: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Rewards are R^(1/T) with T falling from this to 1 in the first half of the iterations."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of seeds that are trained together."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1001)] = 0
    """The first seed."""
    eval_every: Count = 10
    """Iterations between evaluations."""
    checkpoint_every: Count = 500
    """Iterations between checkpoints; a multiple of eval_every."""

    @model_validator(mode="after")
    def _consistent(self) -> Learning:
        if self.batch % self.group_size:
            raise ValueError(
                f"batch = {self.batch} is not a multiple of group_size = {self.group_size}, so a "
                "group would be cut. Choose a multiple"
            )
        if self.checkpoint_every % self.eval_every:
            raise ValueError(
                f"checkpoint_every = {self.checkpoint_every} is not a multiple of "
                f"eval_every = {self.eval_every}. Choose a multiple"
            )
        relative = self.method in (*METHODS, "flowrl") and not getattr(self, "dpg_z", None)
        if self.group_size == 1 and (relative or self.uses("group")):
            raise ValueError(
                f"group_size = 1 leaves {self.method} nothing to compare a trajectory with, so it "
                "would learn nothing. Use 2 or more"
            )
        check_has_effect(self, _ONLY_WITH)
        for key, explorers in _ONLY_IF_EXPLORING.items():
            if self.explore not in explorers and not is_default(self, key):
                raise ValueError(
                    f"{key} has no effect with explore {self.explore}, only with "
                    f"{', '.join(explorers)}. Leave it out"
                )
        if self.explore != "none" and not 0 < self.explored < self.group_size:
            raise ValueError(
                f"explore_share = {self.explore_share} of group_size = {self.group_size} is "
                f"{self.explored} trajectories. Choose values that leave some trajectories to each"
            )
        if self.explore != "none" and self.estimator in ("leave-one-out", "replay"):
            raise ValueError(
                f"the estimator {self.estimator} counts what the policy drew, and explore = "
                f"{self.explore} draws otherwise. Use the estimator likelihood, group or exact"
            )
        if self.backward == "learned" and not (
            self.uses("likelihood") or self.method in ("tb", "ppo")
        ):
            raise ValueError(
                "backward = learned has no effect: only the estimator likelihood and the methods "
                "tb and ppo read a backward policy. Leave it out"
            )
        return self

    @abstractmethod
    def environment(self) -> Environment:
        """The environment to learn in."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of the environment in progress messages."""

    def inputs(self) -> dict[str, str]:
        """Digests of the files on which the environment depends, by their names here."""
        return {}

    @property
    def explored(self) -> int:
        """Number of trajectories of a group that the policy does not draw."""
        return round(self.explore_share * self.group_size) if self.explore != "none" else 0

    @property
    def criticised(self) -> bool:
        """True if the method has a critic."""
        return self.method in _CRITICS

    @property
    def needs_table(self) -> bool:
        """True if all states must be evaluated in every iteration."""
        estimated = self.uses("replay") or self.uses("exact")
        return self.policy == "tabular" or estimated or self.looks_at("visits")

    @property
    def needs_log(self) -> bool:
        """True if rewards must have a logarithm."""
        return self.method in ("tb", "ppo") or getattr(self, "transform", None) == "log"

    def uses(self, estimator: str) -> bool:
        """True if the method reads p^ of that estimator."""
        return self.looks_at("p") and self.estimator == estimator


_REWARDS = {"corners": {"r0": 0.1, "r1": 0.5}, "deceptive": {"r0": 1e-5, "r1": 0.1}}
"""Defaults of `HyperGrid` and `DeceptiveGrid`."""


def _level(key: str) -> Any:
    told = ", ".join(f"{values[key]:g} with {name}" for name, values in _REWARDS.items())
    return tyro.conf.arg(metavar="FLOAT", help_behavior_hint=f"(default: {told})")


class Config(Learning):
    """Training of policies on the hyper-grid; section 5.1 of the paper."""

    heading: ClassVar[str] = "grid"

    dims: Annotated[int, Field(ge=1, le=20)] = 2
    """Dimensions of the grid, D."""
    side: Annotated[int, Field(ge=2, le=1000)] = 8
    """Cells per dimension, H."""
    reward: Literal["corners", "deceptive"] = "corners"
    """The paper's reward, or a deceptive one that pays around the centre, far from the modes."""
    r0: Annotated[float | None, Field(ge=0, le=1e6), _level("r0")] = None
    """Reward of every cell."""
    r1: Annotated[float | None, Field(ge=0, le=1e6), _level("r1")] = None
    """Added in the corners; with deceptive where a coordinate is within .2 of the centre."""
    r2: Coefficient = 2.0
    """Added in the modes."""

    @model_validator(mode="before")
    @classmethod
    def _usual_rewards(cls, values: dict[str, Any]) -> dict[str, Any]:
        reward = values.get("reward", "corners")
        usual = _REWARDS.get(reward, {}) if isinstance(reward, str) else {}
        missing = {key: value for key, value in usual.items() if values.get(key) is None}
        return {**values, **missing}

    @model_validator(mode="after")
    def _possible(self) -> Config:
        r0, r1, r2 = self.levels
        if r0 + r1 + r2 == 0:
            raise ValueError("r0, r1 and r2 are all 0, so there is no reward. Give one a value")
        if r0 == 0 and self.needs_log:
            raise ValueError(
                "r0 = 0 has no logarithm, which tb, ppo and transform log need. Use r0 > 0"
            )
        states = self.side**self.dims
        if states >= 2**31:
            raise ValueError(
                f"side^dims = {self.side}^{self.dims} states do not fit 32-bit ids. "
                "Use fewer than 2^31"
            )
        if self.needs_table and states > TABLE_LIMIT:
            raise ValueError(
                f"{self.side}^{self.dims} states are more than {TABLE_LIMIT}, too many for the "
                "table that policy tabular, the method ucb and the estimators replay and exact "
                "need. Use policy mlp with estimator likelihood or group"
            )
        return self

    @property
    def levels(self) -> tuple[float, float, float]:
        """R0, R1 and R2."""
        assert self.r0 is not None  # `_usual_rewards` gives them values
        assert self.r1 is not None
        return self.r0, self.r1, self.r2

    @property
    def title(self) -> str:
        return f"{self.side}^{self.dims}"

    def environment(self) -> Environment:
        from ipsrl.grids.hypergrid import DeceptiveGrid, HyperGrid  # needs JAX

        kind = {"corners": HyperGrid, "deceptive": DeceptiveGrid}[self.reward]
        return kind(self.dims, self.side, *self.levels)


class EnvConfig(Learning):
    """Training of policies in an environment of your own."""

    heading: ClassVar[str] = "environment"

    env: tyro.conf.Positional[Annotated[Function, Field(min_length=1)]]
    """Function that makes it, file.py:function or module:function; called without arguments."""

    @property
    def title(self) -> str:
        place, _, name = self.env.rpartition(":")
        return PurePath(place).stem if name == "make" else name

    @property
    def run_name(self) -> str:
        return self.title

    def inputs(self) -> dict[str, str]:
        from ipsrl.functions import source_file
        from ipsrl.runs import digests

        file = Path(source_file(self.env))
        return digests({self.env: [file]}) if file.is_file() else {}

    def environment(self) -> Environment:
        from ipsrl.functions import call, check_takes, load_function
        from ipsrl.grids.laws import checked

        make = load_function(self.env)
        check_takes(make, ())
        return checked(call(make), self.env, positive=self.needs_log)
