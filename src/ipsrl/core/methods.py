"""Methods: from the evidence of a group to its advantages.

    group -> rewards, shaped -> advantages, clipped

A method is a frozen dataclass with its options, and a row in `METHODS`, the only list: grids,
language models, molecules and verl take names and options from it.  There are two kinds.  A
`RewardMethod` changes rewards only, and leaves their comparison to the usual advantage, which a
host such as TRL may compute itself.  Any other `Method` computes advantages whole.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import Array, as_arrays, as_mask, check_clip, holds
from ipsrl.core.group import Group, option
from ipsrl.core.scaling import check_exponent, ips_rewards
from ipsrl.errors import InvalidInput

TRANSFORMS = ("id", "sqrt", "log")


@dataclass(frozen=True)
class Method(ABC):
    """Base of all methods: `advantages` says how, and a call clips what it gives.

    Attributes:
      needs: fields of `Group` that it reads besides rewards and mask.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    advantage_clip: float = option(0.0, "Bound of the absolute advantage; 0 for none.")

    def __post_init__(self) -> None:
        if not 0 <= self.advantage_clip < math.inf:
            raise InvalidInput(
                f"advantage_clip is {self.advantage_clip}. Use a positive bound, or 0 for none."
            )

    @abstractmethod
    def advantages(self, group: Group) -> GroupAdvantage:
        """Advantages [..., G] and the flags of groups without a signal [...]."""

    def __call__(self, group: Group) -> GroupAdvantage:
        """Advantages [..., G], at most `advantage_clip` in size, and the same flags.

        Raises:
          InvalidInput: for a group without what the method needs, or with what it cannot use.
        """
        advantages, no_signal = self.advantages(group)
        if self.advantage_clip > 0:
            xp, advantages = as_arrays(advantages)
            advantages = xp.clip(advantages, min=-self.advantage_clip, max=self.advantage_clip)
        return GroupAdvantage(advantages, no_signal)


@dataclass(frozen=True)
class RewardMethod(Method):
    """A method that only changes rewards: A = (r~ - b) / (std + std_eps), see `group_advantage`.

    A reward of 0 stays 0, so that a host may multiply several rewards by one weight.
    """

    scale: Literal["group", "batch", "none"] = option(
        "group", "Standard deviation that divides the advantage."
    )
    baseline: Literal["mean", "leave-one-out", "none"] = "mean"
    std_eps: float = 1e-4

    @abstractmethod
    def rewards(self, group: Group) -> Array:
        """Shaped rewards [..., G]."""

    def weights(self, group: Group) -> Array:
        """What a host multiplies its rewards by [..., G]: r~ / r, and 1 where r is 0."""
        xp, rewards, shaped = as_arrays(group.needed("rewards", self), self.rewards(group))
        earns, ones = rewards != 0, xp.ones_like(shaped)
        return xp.where(earns, shaped / xp.where(earns, rewards, ones), ones)

    def advantages(self, group: Group) -> GroupAdvantage:
        return group_advantage(
            self.rewards(group),
            baseline=self.baseline,
            scale=self.scale,
            std_eps=self.std_eps,
            mask=group.mask,
            weights=group.weights,
        )


@dataclass(frozen=True)
class GRPO(RewardMethod):
    """Rewards as they are.  Where outcomes are known, they are counted and nothing more.

    Source: GRPO (2402.03300).
    """

    def rewards(self, group: Group) -> Array:
        return group.needed("rewards", self)


@dataclass(frozen=True)
class IPS(RewardMethod):
    """Rewards of right samples divided by the probability of their outcome.

        r~ = h(r / max(p^(o), eps)^alpha)

    `Group.p` is p^; without it, it is counted within the group.  h = log gives the gradient of
    trajectory balance, and needs rewards above 0.  Source: the paper, Eq. 9.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids", "p")

    eps: float = option(0.0, "Lower clip of p^; no effect at or below 1/G on a share of G.")
    alpha: float = option(1.0, "Exponent of 1/p^; outcomes settle in proportion to r^(1/alpha).")
    transform: Literal["id", "sqrt", "log"] = option("id", "h of the reward h(r / p^).")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clip(self.eps)
        check_exponent(self.alpha)
        if self.alpha > 100:
            raise InvalidInput(f"alpha is {self.alpha}, and p^-alpha too large. Use at most 100.")
        if self.transform not in TRANSFORMS:
            raise InvalidInput(f"transform is {self.transform!r}. Use {', '.join(TRANSFORMS)}.")

    def rewards(self, group: Group) -> Array:
        rewards = ips_rewards(
            group.needed("rewards", self),
            group.scaled_ids(self),
            p=group.p,
            eps=self.eps,
            alpha=self.alpha,
            mask=group.mask,
        )
        xp, rewards = as_arrays(rewards)
        if self.transform == "sqrt":
            return xp.sqrt(rewards)
        if self.transform == "log":
            if not holds(rewards > 0):
                raise InvalidInput(
                    "a reward is 0, which has no logarithm. Use transform 'id', or add a constant "
                    "to all rewards."
                )
            return xp.log(rewards)
        return rewards


@dataclass(frozen=True)
class MaxRL(Method):
    """Maximum likelihood of the right answers: rare success counts for more.

        A = (r - mean r) / (mean r + 1e-6);  0 where all rewards are 0

    Source: MaxRL (2602.02710 v3).
    """

    def advantages(self, group: Group) -> GroupAdvantage:
        rewards = group.needed("rewards", self)
        centred, no_signal = group_advantage(rewards, scale="none", mask=group.mask)
        xp, rewards, mask, centred = as_arrays(rewards, as_mask(group.mask), centred)
        if mask is not None:
            rewards = xp.where(mask, rewards, xp.zeros_like(rewards))
        if not holds(rewards >= 0):
            raise InvalidInput(
                "rewards have negative values, whose mean MaxRL would divide by. Shift the rewards "
                "so that the worst is 0."
            )
        return GroupAdvantage(centred / (rewards - centred + 1e-6), no_signal)


METHODS: dict[str, type[Method]] = {
    "ips-grpo": IPS,
    "grpo": GRPO,
    "maxrl": MaxRL,
}
"""All methods, by the names that configurations and commands use."""
