"""Methods that use rewards alone: how many of the group are right, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import Array, holds, is_count, placement
from ipsrl.core.group import Group, option
from ipsrl.core.methods.base import Method, check_option, members, told
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class MaxRL(Method):
    """Maximum likelihood of the right answers: rare success has more weight.

        A = (r - mean r) / (mean r + 1e-6);  0 where all rewards are 0

    Source: MaxRL (2602.02710 v3).
    """

    def advantages(self, group: Group) -> GroupAdvantage:
        _, rewards, mask = group.earned(self)
        if not holds(rewards >= 0):
            raise InvalidInput(
                "rewards have negative values, whose mean MaxRL would divide by. Shift the rewards "
                "so that the worst is 0."
            )
        centred, no_signal = group_advantage(rewards, scale="none", mask=mask)
        return GroupAdvantage(centred / (rewards - centred + 1e-6), no_signal)


@dataclass(frozen=True)
class RiskSensitive(Method):
    """Risk-seeking advantages: the exponential of a reward over the mean of the exponentials.

        A = (1 / beta) (e^(beta r) / mean e^(beta r) - 1)

    beta -> 0 is r - mean r without a standard deviation; beta -> infinity asks for the best sample
    only.  Source: RS-GRPO (2509.24261), read.
    """

    beta: float = option(2.0, "Risk: how much more the best rewards count.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "beta", 1e-3, 1e3)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        present, size = members(xp, mask, rewards.dtype)
        low = xp.zeros_like(rewards) - xp.inf
        top = xp.max(xp.where(mask, rewards, low), axis=-1, keepdims=True)
        risen = xp.where(mask, xp.exp(self.beta * (rewards - top)), xp.zeros_like(rewards))
        mean = xp.sum(risen, axis=-1, keepdims=True) / size
        ratio = risen / xp.where(mean > 0, mean, xp.ones_like(mean))
        return told(xp, present * (ratio - 1) / self.beta)


@dataclass(frozen=True)
class FGRPO(Method):
    """GRPO's advantage, weaker for groups with many right samples.

        A = (1 - share of right samples)^gamma (r - mean r) / (std r + 1e-4)

    Right is `Group.success`, or a reward above 0.  Source: F-GRPO (2602.06717), second-hand; its
    gamma is not known, and the default is ours.
    """

    reads: ClassVar[tuple[str, ...]] = ("success",)

    gamma: float = option(1.0, "Exponent of the share of wrong samples.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "gamma", 0, 100)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        _, size = members(xp, mask, rewards.dtype)
        right = xp.sum(xp.astype(group.right(self), rewards.dtype), axis=-1, keepdims=True)
        advantages, _ = group_advantage(rewards, mask=mask)
        return told(xp, advantages * (1 - right / size) ** self.gamma)


@dataclass(frozen=True)
class PassAtK(Method):
    """The advantage of a sample for the success of the sets of k samples that contain it.

        rho = 1 - C(G - c, k) / C(G, k),   sigma = sqrt(rho (1 - rho)),   c right samples of G
        A = (1 - rho) / sigma                                        of a right sample
        A = (1 - rho - C(G - c - 1, k - 1) / C(G - 1, k - 1)) / sigma    of a wrong one

    0 where every set succeeds, or none.  Right is `Group.success`, or a reward above 0; nothing
    else of a reward counts.  Source: Chen et al. (2508.10751), read.
    """

    reads: ClassVar[tuple[str, ...]] = ("success",)

    size: int = option(4, "Samples of a set, k.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size, 1)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        check_fits(self.size, rewards)
        right = group.right(self)
        present, size = members(xp, mask, rewards.dtype)
        wrong = size - xp.sum(xp.astype(right, rewards.dtype), axis=-1, keepdims=True)
        chosen = xp.clip(size, max=float(self.size))
        fails = _share_of_sets(xp, wrong, size, chosen, self.size)
        fails_with = _share_of_sets(xp, wrong - 1, size - 1, chosen - 1, self.size - 1)
        sigma = xp.sqrt(fails * (1 - fails))
        signal = sigma > 0
        advantages = xp.where(right, fails, fails - fails_with)
        advantages = present * advantages / xp.where(signal, sigma, xp.ones_like(sigma))
        return told(xp, xp.where(signal, advantages, xp.zeros_like(advantages)))


@dataclass(frozen=True)
class PKPO(Method):
    """The gain of a sample for the best of k, over the sets of the group that contain it.

        A_i = mean over sets S of k samples with i of (max_S r - max_(S without i) r)

    Source: PKPO (2505.15201), its estimator with the leave-one-out baseline within S, read.
    """

    size: int = option(4, "Samples of a set, k; at least 2.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self.size, 2)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        check_fits(self.size, rewards)
        present, size = members(xp, mask, rewards.dtype)
        chosen = xp.clip(size, max=float(self.size))
        # Number of samples below each; among equal ones, those that come before it.
        place = xp.arange(rewards.shape[-1], **placement(rewards))
        before = (rewards[..., None, :] < rewards[..., :, None]) | (
            (rewards[..., None, :] == rewards[..., :, None]) & (place < place[:, None])
        )
        below = xp.sum(xp.where(before, present[..., None, :], 0.0), axis=-1)
        # Sets of k - 1 others whose best is j: j and k - 2 of those below it.
        best = _share_of_sets(xp, below, size - 2, chosen - 2, self.size - 2)
        best = present * best * (chosen - 1) / xp.clip(size - 1, min=1.0)
        gain = xp.clip(rewards[..., :, None] - rewards[..., None, :], min=0.0)
        return told(xp, present * xp.sum(gain * best[..., None, :], axis=-1))


def _share_of_sets(xp: Any, marked: Array, size: Array, chosen: Array, most: int) -> Array:
    """C(marked, chosen) / C(size, chosen): the share of sets that hold marked samples only."""
    share = xp.ones_like(marked + size)
    for i in range(most):
        left = xp.clip(marked - i, min=0.0) / xp.clip(size - i, min=1.0)
        share = xp.where(i < chosen, share * left, share)
    return share


def check_size(size: int, least: int) -> None:
    """Refuse a k that is not a whole number of samples."""
    if not is_count(size) or not least <= size <= 1024:
        raise InvalidInput(
            f"size is {size}. A set has a whole number of samples, {least} to 1024; 4 or 8 are "
            "usual."
        )


def check_fits(size: int, rewards: Array) -> None:
    """Refuse sets that are larger than the group."""
    if size > rewards.shape[-1]:
        raise InvalidInput(
            f"size is {size}, but the group has {rewards.shape[-1]} samples, of which no such set "
            "can be taken. Use a smaller size, or a larger group."
        )
