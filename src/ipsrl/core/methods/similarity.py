"""Methods that use similarities within the group; the default similarity is 1[same outcome]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import Array, is_count, placement
from ipsrl.core.group import Group, option
from ipsrl.core.methods.base import (
    Method,
    RewardMethod,
    check_not_negative,
    check_option,
    members,
    told,
)
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class DRA(RewardMethod):
    """Rewards divided by the sum of similarities to the group.

        r~ = r / sum_j s_ij,   s_ii = 1

    With s = 1[same outcome] it is IPS of counts, up to the factor G.  The authors' code computes s
    on the rows of one process before it gathers them, which splits a group: with parts = 2, s is
    0 between its halves.  Source: DRA-GRPO (2505.09655), read; s is a cosine of embeddings, G 6.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)
    reads: ClassVar[tuple[str, ...]] = ("similarity",)

    parts: int = option(
        1, "Parts of a group that do not see each other: 1 in the paper, processes in its code.",
        own=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_count(self.parts):
            raise InvalidInput(f"parts is {self.parts}. Use a whole number, at least 1.")

    def rewards(self, group: Group) -> Array:
        xp, rewards, _ = group.earned(self)
        check_not_negative(rewards, self)
        G = rewards.shape[-1]
        if G % self.parts:
            raise InvalidInput(
                f"parts is {self.parts}, which does not divide a group of {G}. Use a divisor."
            )
        part = xp.arange(G, **placement(rewards)) // (G // self.parts)
        together = xp.astype(part[:, None] == part, rewards.dtype)
        return rewards / xp.sum(group.alike(self) * together, axis=-1)


@dataclass(frozen=True)
class SetPO(Method):
    """GRPO's advantage plus the diversity that a sample adds to its group.

        A_i = (r_i - mean r) / (std r + 1e-4) + weight (D(all) - D(all but i)),
        D(S) = mean over i in S of -log(1 + mean over j in S but i of s_ij)

    Source: SetPO (2602.01062), second-hand; its weight is not known, and the default is ours.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)
    reads: ClassVar[tuple[str, ...]] = ("similarity",)

    weight: float = option(0.1, "Weight of the diversity.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "weight", 0)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        present, size = members(xp, mask, rewards.dtype)
        itself = xp.eye(rewards.shape[-1], dtype=rewards.dtype, **placement(rewards))
        similar = group.alike(self) * (1 - itself)
        sums = xp.sum(similar, axis=-1)  # [..., j]
        crowded = xp.log1p(sums / xp.clip(size - 1, min=1.0))
        whole = -xp.sum(present * crowded, axis=-1, keepdims=True) / size
        # [..., i, j]: j in the group without i
        mean = (sums[..., None, :] - similar) / xp.clip(size - 2, min=1.0)[..., None]
        terms = -xp.log1p(mean) * present[..., None, :] * (1 - itself)
        without = xp.sum(terms, axis=-1) / xp.clip(size - 1, min=1.0)
        added = whole - without
        advantages = group_advantage(rewards, mask=mask).advantages
        return told(xp, advantages + self.weight * present * added)


@dataclass(frozen=True)
class DQO(Method):
    """Rewards plus the volume that a sample adds to the span of its group.

        A_i = r_i - mean r + weight (log det(S + 1e-3 I) - log det(S + 1e-3 I)_(without i))

    S are the similarities of the group.  The objective is r_i + weight log det: the same for all
    of a group, so that any baseline of the group would take it away, and what is left is the
    difference that one sample makes.  Source: DQO (2509.04784), second-hand; its weight is small,
    and the default is ours.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)
    reads: ClassVar[tuple[str, ...]] = ("similarity",)

    weight: float = option(0.01, "Weight of the volume.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "weight", 0)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        present, _ = members(xp, mask, rewards.dtype)
        itself = xp.eye(rewards.shape[-1], dtype=rewards.dtype, **placement(rewards))
        inverse = xp.linalg.inv(group.alike(self) + 1e-3 * itself)
        # det without row and column i, over det, is the i-th entry of the inverse's diagonal.
        added = -xp.log(xp.linalg.diagonal(inverse))
        advantages = group_advantage(rewards, scale="none", mask=mask).advantages
        return told(xp, advantages + self.weight * present * added)
