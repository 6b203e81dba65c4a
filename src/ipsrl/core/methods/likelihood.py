"""Methods that use the log-probability of a sample under the policy or under a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.arrays import Array, as_arrays, check_same_shape, holds
from ipsrl.core.group import Group, option
from ipsrl.core.methods.base import (
    Method,
    RewardMethod,
    check_not_negative,
    check_option,
    log_probs,
    members,
    told,
)
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class UCPO(Method):
    """GRPO's advantage, moved from likely to unlikely samples among the right ones.

        A_i = A+ c w_i of the c right samples,   w_i = (1 - tau) / c + tau v_i / sum_right v,
        v_i = 1 / q_i,   q = softmax over the right samples of l_i

    A+ is their mean advantage, and the wrong ones keep theirs; l_i is the log-probability of the
    sampled tokens.  The authors' code has l_i / T_i in its place, with which the weights are nearly
    equal: `per_token`.  Right is `Group.success`, or a reward above 0.  Source: UCPO (2605.00365),
    read; tau .2, G 8, no KL.
    """

    needs: ClassVar[tuple[str, ...]] = ("log_pf",)
    reads: ClassVar[tuple[str, ...]] = ("success", "lengths")

    tau: float = option(0.2, "Share of the weight that follows 1 / likelihood.", own=True)
    per_token: bool = option(
        False,
        "Mean log-probability of tokens, as in the code; the paper has the sum.",
        own=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "tau", 0, 1)

    def advantages(self, group: Group) -> GroupAdvantage:
        log_p = _per_token(group, self) if self.per_token else log_probs(group, "log_pf", self)
        xp, rewards, mask = group.earned(self)
        xp, log_p, rewards, right = as_arrays(log_p, rewards, group.right(self))
        zeros = xp.zeros_like(log_p)
        # v / sum v is the softmax of -l.
        least = xp.min(xp.where(right, log_p, zeros + xp.inf), axis=-1, keepdims=True)
        least = xp.where(xp.isfinite(least), least, xp.zeros_like(least))
        v = xp.where(right, xp.exp(xp.where(right, least - log_p, zeros)), zeros)
        share = v / xp.clip(xp.sum(v, axis=-1, keepdims=True), min=1.0)
        among, c = members(xp, right, log_p.dtype)
        advantages = group_advantage(rewards, mask=mask).advantages
        mean = xp.sum(among * advantages, axis=-1, keepdims=True) / c
        weighted = mean * (1 - self.tau + self.tau * c * share)
        return told(xp, xp.where(right, weighted, advantages))


@dataclass(frozen=True)
class Unlikeliness(RewardMethod):
    """Rewards that are reduced for samples that the policy was more likely to write.

        r~_i = r_i (1 - beta rank_i / G)

    rank_i is the place of the mean log-probability of its tokens, G that of the likeliest; equal
    ones share their mean rank.  Source: Rewarding the Unlikely (2506.02355), read; beta .25, G 32,
    KL .1, 2 epochs.
    """

    needs: ClassVar[tuple[str, ...]] = ("log_pf", "lengths")

    beta: float = option(0.25, "Share of the reward that the likeliest sample loses.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "beta", 0, 1)

    def rewards(self, group: Group) -> Array:
        log_p = _per_token(group, self)
        xp, rewards, mask = group.earned(self)
        check_not_negative(rewards, self)
        xp, log_p, rewards, mask = as_arrays(log_p, rewards, mask)
        present, size = members(xp, mask, rewards.dtype)
        less = xp.astype(log_p[..., None, :] < log_p[..., :, None], rewards.dtype)
        same = xp.astype(log_p[..., None, :] == log_p[..., :, None], rewards.dtype)
        rank = xp.sum((less + same / 2) * present[..., None, :], axis=-1) + 0.5
        return rewards * (1 - self.beta * rank / size)


@dataclass(frozen=True)
class MARA(Method):
    """GRPO with rewards for which a KL penalty keeps all right samples equally likely.

        r~_i = r_z + beta (log ref(z) - log ref(i)) of the right samples,
        z the likeliest of them under the reference

    beta is the coefficient of the KL to that reference.  Wrong samples keep their rewards.  Right
    is `Group.success` (r >= tau in the paper), or a reward above 0.  Source: MARA (2510.20817),
    read in the paper; its tau and beta are not known, and the default is ours.
    """

    needs: ClassVar[tuple[str, ...]] = ("log_ref",)
    reads: ClassVar[tuple[str, ...]] = ("success",)

    beta: float = option(0.1, "Coefficient of the KL to the reference that is undone.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "beta", 0)

    def advantages(self, group: Group) -> GroupAdvantage:
        xp, rewards, mask = group.earned(self)
        xp, log_ref, rewards, right = as_arrays(
            log_probs(group, "log_ref", self), rewards, group.right(self)
        )
        least = xp.zeros_like(log_ref) - xp.inf
        top = xp.max(xp.where(right, log_ref, least), axis=-1, keepdims=True)
        anchors = right & (log_ref == top)
        anchor = xp.max(xp.where(anchors, rewards, least), axis=-1, keepdims=True)
        raised = xp.where(right, anchor, 0.0) + self.beta * xp.where(right, top - log_ref, 0.0)
        return group_advantage(xp.where(right, raised, rewards), mask=mask)


def _per_token(group: Group, by: Method) -> Array:
    """Mean log-probability of the tokens of each sample [..., G]."""
    xp, log_p, lengths = as_arrays(log_probs(group, "log_pf", by), group.needed("lengths", by))
    check_same_shape("log_pf and lengths", log_p, lengths)
    lengths = xp.astype(lengths, log_p.dtype)
    if not holds(lengths >= 0):
        raise InvalidInput("lengths have negative values. Pass the number of tokens of each.")
    return log_p / xp.clip(lengths, min=1.0)
