"""Methods that count an outcome, within the group or in all visits of the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import as_arrays, check_same_shape, holds
from ipsrl.core.group import Group, option
from ipsrl.core.methods.base import Method, check_not_negative, check_option, members, told
from ipsrl.core.outcomes import has_outcome
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class Uniqueness(Method):
    """GRPO's advantage, good or bad, divided by a power of the count of its outcome.

        A = n_o^(-alpha) (r - mean r) / (std r + 1e-4)

    An outcome is a cluster of strategies there.  Source: uniqueness-aware RL (2601.08763), read in
    the paper, which says that alpha is in [0, 1] and not more.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)

    alpha: float = option(1.0, "Exponent of the count of the outcome.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "alpha", 0, 1)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        advantages = group_advantage(rewards, mask=mask).advantages
        return told(xp, advantages * group.counts(self) ** -self.alpha)


@dataclass(frozen=True)
class BatchPenalty(Method):
    """GRPO's advantage minus a penalty for outcomes that the group repeats.

        A = (r - mean r) / (std r + 1e-4) - k (n_o - 1) / G

    Right or wrong, and also where all rewards are equal.  Source: outcome-based exploration
    (2509.06941), its batch variant, read; k .1 to .2, G 8.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)

    k: float = option(0.1, "Weight of the penalty of repeated outcomes.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "k", 0)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        present, size = members(xp, mask, rewards.dtype)
        advantages = group_advantage(rewards, mask=mask).advantages
        return told(xp, advantages - self.k * present * (group.counts(self) - 1) / size)


@dataclass(frozen=True)
class UCB(Method):
    """GRPO's advantage plus a bonus for outcomes that the prompt has rarely had.

        A = (r - mean r) / (std r + 1e-4) + k (b - b0),   b = min(1, N(o)^(-1/2))

    N counts the visits of the prompt so far (`Group.visits`).  b0 is the mean of b over the others
    of the group (UCB-Mean), or a constant (UCB-Con).  What has no outcome has no bonus, and is not
    in b0.  Source: outcome-based exploration (2509.06941), read; k .1 to .2, constant .5 or 1.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids", "visits")

    k: float = option(0.1, "Weight of the bonus.", own=True)
    constant: float = option(
        0.0, "Value that is subtracted from the bonus; 0 for its mean over the others.", own=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "k", 0)
        check_option(self, "constant", 0, 1)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        xp, ids, visits, mask, rewards = as_arrays(
            group.needed("ids", self), group.needed("visits", self), mask, rewards
        )
        check_same_shape("ids and visits", ids, visits)
        named = mask & has_outcome(ids)
        visits = xp.where(named, xp.astype(visits, rewards.dtype), xp.ones_like(rewards))
        if not holds(visits >= 0):
            raise InvalidInput("visits have negative values. Pass how often each outcome was seen.")
        present, _ = members(xp, named, rewards.dtype)
        bonus = present * xp.clip(visits, min=1.0) ** -0.5
        if self.constant > 0:
            others = self.constant
        else:
            count = xp.sum(present, axis=-1, keepdims=True)
            total = xp.sum(bonus, axis=-1, keepdims=True)
            others = xp.where(count > 1, (total - bonus) / xp.clip(count - 1, min=1.0), bonus)
        advantages = group_advantage(rewards, mask=mask).advantages
        return told(xp, advantages + self.k * present * (bonus - others))


@dataclass(frozen=True)
class DARLING(Method):
    """Rewards multiplied by the share of the other samples that have another outcome.

        A = r~ - mean r~,   r~ = r max(.1, (G - n_o) / (G - 1))

    Source: DARLING (2509.02534), read; its classifier of equal answers is the outcome function
    here.  G 8.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        check_not_negative(rewards, self)
        _, size = members(xp, mask, rewards.dtype)
        others = (size - group.counts(self)) / xp.clip(size - 1, min=1.0)
        return group_advantage(rewards * xp.clip(others, min=0.1), scale="none", mask=mask)


@dataclass(frozen=True)
class GAPO(Method):
    """GRPO with a reward for outcomes that are as frequent as each of K equal ones.

        A = (r~ - mean r~) / (std r~ + 1e-4),   r~ = 1 - |n_o / G - 1 / K|, -1 for wrong samples

    n_o counts right samples only.  K must be known.  Right is `Group.success`, or a reward above 0,
    with an outcome; nothing else of a reward counts.  Source: GAPO (2511.12596, EMNLP 2025),
    second-hand.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)
    reads: ClassVar[tuple[str, ...]] = ("success",)

    known: int = option(0, "Number of right outcomes of a prompt, K; required.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.known >= 1:
            raise InvalidInput(
                f"known is {self.known}, but GAPO compares the share of an outcome with 1 / K. "
                "Give known (gapo_known of a configuration), the number of right outcomes of a "
                "prompt; where it is not known, use another method, such as darling."
            )

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        _, size = members(xp, mask, rewards.dtype)
        ids = group._replace(success=group.right(self)).scaled_ids(self)
        off = abs(group._replace(ids=ids).counts(self) / size - 1 / self.known)
        return group_advantage(xp.where(has_outcome(ids), 1 - off, -1.0), mask=mask)
