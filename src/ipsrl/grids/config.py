"""Configuration of a run on a grid; separate, so that --help need not load JAX or NumPy."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ipsrl.config import check_has_effect
from ipsrl.core.methods import GRPO, METHODS
from ipsrl.shaping import shaped

if TYPE_CHECKING:
    from ipsrl.grids.grid import Grid
    from ipsrl.grids.hypergrid import HyperGrid

TABLE_LIMIT = 2**20
"""Most states that are evaluated all at once; above, the policy sees visited states only."""

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10)]
Coefficient = Annotated[float, Field(ge=0, le=1e6)]  # far from the end of float32


_ONLY_WITH = {
    "clip": (*METHODS, "flowrl"),
    "beta": ("flowrl",),
    "lr_log_z": ("flowrl", "tb"),
}


class Learning(
    shaped(
        losses={"flowrl": GRPO, "tb": None},  # tb: trajectory balance, uniform backward policy
        knows=("ids", "p", "log_pf", "log_pb", "history_log_pf"),
    )
):
    """How a policy learns on a grid, whichever grid it is."""

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
        """Whether the method reads p^ of that estimator."""
        return self.needs("p") and self.estimator == estimator


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
        if self.r0 == 0 and (self.method == "tb" or getattr(self, "transform", None) == "log"):
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
