"""The two kinds of methods: those that change rewards, and those that compute advantages."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeGuard

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import Array, as_arrays, check_same_shape, holds
from ipsrl.core.group import Group, option
from ipsrl.core.probability import as_log_probs
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class Method(ABC):
    """Base of all methods: subclasses define `advantages`, and a call clips the result.

    Attributes:
      needs: fields of `Group` that it reads besides rewards and mask, and refuses a group without;
        `p` alone is counted where it is not given.
      reads: fields that it reads where they are given, such as `success`.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()

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
          InvalidInput: for a group without a field that the method needs, or with an invalid one.
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
        """Factors for the rewards of a host [..., G]: r~ / r, and 1 where r is 0."""
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


def changes_rewards(method: Method) -> TypeGuard[RewardMethod]:
    """True if its rewards differ from those that it is given; GRPO's do not."""
    return isinstance(method, RewardMethod) and bool(method.needs)


def told(xp: Any, advantages: Array) -> GroupAdvantage:
    """The advantages, and flags: True for groups whose advantages are all 0."""
    return GroupAdvantage(advantages, ~xp.any(advantages != 0, axis=-1))


def members(xp: Any, mask: Array, dtype: Any) -> tuple[Array, Array]:
    """1 for samples that exist and else 0 [..., G], and their number, at least 1 [..., 1]."""
    present = xp.astype(mask, dtype)
    return present, xp.clip(xp.sum(present, axis=-1, keepdims=True), min=1.0)


def log_probs(group: Group, field: str, by: Method) -> Array:
    """Log-probabilities of the group [..., G], 0 outside the mask.

    Raises:
      InvalidInput: for a group without them, or with values that are not log-probabilities.
    """
    xp, rewards, mask = group.earned(by)
    xp, mask, value = as_arrays(mask, group.needed(field, by))
    check_same_shape(f"rewards and {field}", rewards, value)
    return as_log_probs(xp, field, xp.where(mask, value, xp.zeros_like(value)))


def check_not_negative(rewards: Array, by: Method) -> None:
    """Refuse negative rewards, which a factor below 1 would improve.

    Raises:
      InvalidInput: for a negative one.
    """
    if not holds(rewards >= 0):
        raise InvalidInput(
            f"rewards have negative values, which {type(by).__name__} would bring closer to 0 for "
            "outcomes that it should make rarer. Shift the rewards so that the worst is 0."
        )


def check_option(by: Method, name: str, low: float, high: float = math.inf) -> None:
    """Refuse an option that is not a finite number in [low, high].

    Raises:
      InvalidInput: if it is not.
    """
    value = getattr(by, name)
    if not (low <= value <= high and value < math.inf):
        bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise InvalidInput(f"{name} is {value}. {type(by).__name__} takes a number {bounds}.")
