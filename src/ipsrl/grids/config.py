"""Configuration of a run on a grid; separate, so that --help need not load JAX or NumPy."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ipsrl.config import StrictConfig, check_has_effect

if TYPE_CHECKING:
    from ipsrl.grids.grid import Grid
    from ipsrl.grids.hypergrid import HyperGrid

TABLE_LIMIT = 2**20
"""Most states that are evaluated all at once; above, the policy sees visited states only."""

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Coefficient = Annotated[float, Field(ge=0, le=1e6)]  # far from the end of float32


_ONLY_WITH = {
    "estimator": ("ips-grpo",),
    "transform": ("ips-grpo",),
    "eps": ("ips-grpo",),
    "alpha": ("ips-grpo",),
    "scale": ("grpo", "ips-grpo", "flowrl"),
    "advantage_clip": ("grpo", "ips-grpo", "flowrl"),
    "clip": ("grpo", "ips-grpo", "flowrl"),
    "beta": ("flowrl",),
    "lr_log_z": ("flowrl", "tb"),
}


class Learning(StrictConfig):
    """How a policy learns on a grid, whichever grid it is."""

    method: Literal["grpo", "ips-grpo", "flowrl", "tb"] = "ips-grpo"
    """Learning algorithm; tb is trajectory balance with a uniform backward policy."""
    estimator: Literal["group", "leave-one-out", "replay", "likelihood", "exact"] = "group"
    """How ips-grpo estimates p(outcome)."""
    transform: Literal["id", "sqrt", "log"] = "id"
    """h of the signal A = h(r / p); log gives the gradient of trajectory balance."""
    eps: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Lower clip of p; no effect at or below 1 / group_size."""
    alpha: Coefficient = 1.0
    """Exponent of 1/p; outcomes settle in proportion to r^(1/alpha)."""
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
    scale: Literal["group", "batch", "none"] = "group"
    """Standard deviation that divides the advantage."""
    advantage_clip: Coefficient = 0.0
    """Bound of the absolute advantage; 0 for none."""
    beta: Coefficient = 15.0
    """Inverse temperature of flowrl."""
    replay_batches: Annotated[int, Field(ge=1, le=4096)] = 64
    """Batches that the replay estimator remembers."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many seeds are trained together."""
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
        check_has_effect(self, _ONLY_WITH)
        return self

    @abstractmethod
    def grid(self) -> Grid:
        """The environment."""

    @property
    def tabulated(self) -> bool:
        """Whether all states are evaluated at once."""
        return self.grid().states <= TABLE_LIMIT

    def uses(self, estimator: str) -> bool:
        """Whether this run scales rewards with that estimator."""
        return self.method == "ips-grpo" and self.estimator == estimator


class Config(Learning):
    """Training of policies on the hyper-grid; section 5.1 of the paper."""

    dims: Annotated[int, Field(ge=1, le=20)] = 2
    """Dimensions of the grid, D."""
    side: Annotated[int, Field(ge=2, le=1000)] = 8
    """Cells per dimension, H."""
    r0: Coefficient = 0.1
    """Reward of every cell."""
    r1: Coefficient = 0.5
    """Added in the corners."""
    r2: Coefficient = 2.0
    """Added in the modes."""

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if self.r0 + self.r1 + self.r2 == 0:
            raise ValueError("r0, r1 and r2 are all 0, so there is no reward. Give one a value")
        if self.r0 == 0 and (self.method == "tb" or self.transform == "log"):
            raise ValueError("r0 = 0 has no logarithm, which tb and transform log need. Use r0 > 0")
        if self.side**self.dims >= 2**31:
            raise ValueError(
                f"side^dims = {self.side}^{self.dims} states do not fit 32-bit ids. "
                "Use fewer than 2^31"
            )
        if not self.tabulated and (
            self.policy == "tabular" or self.uses("replay") or self.uses("exact")
        ):
            raise ValueError(
                f"{self.side}^{self.dims} states are more than {TABLE_LIMIT}, too many for the "
                "table that policy tabular and the estimators replay and exact need. Use "
                "policy mlp with estimator likelihood or group"
            )
        return self

    def grid(self) -> HyperGrid:
        from ipsrl.grids.hypergrid import HyperGrid  # needs NumPy

        return HyperGrid(self.dims, self.side, self.r0, self.r1, self.r2)
