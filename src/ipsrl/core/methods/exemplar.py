"""Exemplar replay, a method with a loss of its own that is added to the loss of the policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.group import Group, option
from ipsrl.core.methods.base import Method, check_option
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True)
class ExemplarReplay(Method):
    """Dr.GRPO, plus maximum likelihood of one exemplar of every right outcome that was found.

        A = r - mean r,   L = L(A) + weight (1/B) sum_e -(1/T_e) log pi(e)

    e goes through the bank of the prompt, which has the newest right sample of each of B outcomes.
    A call gives A alone: the loss is `exemplar_loss`, and whoever trains keeps the banks.  Right is
    `Group.success`, or a reward above 0.  Source: ReplayDr.GRPO ("More than One Way to Skin a Cat",
    NeurIPS 2026 submission), read; its weight is tuned, and the default is ours.
    """

    needs: ClassVar[tuple[str, ...]] = ("ids",)
    reads: ClassVar[tuple[str, ...]] = ("success",)

    weight: float = option(0.1, "Weight of the loss of the exemplars.", own=True)
    size: int = option(32, "Outcomes of a prompt that have an exemplar.", own=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self, "weight", 0, 1e6)
        if self.size < 1:
            raise InvalidInput(f"size is {self.size}. A bank has room for at least 1 outcome.")

    def advantages(self, group: Group) -> GroupAdvantage:
        group.needed("ids", self)  # which the bank will ask for
        _, rewards, mask = group.earned(self)
        return group_advantage(rewards, scale="none", mask=mask)

    def remember(self, bank: dict[int, T], right: Iterable[tuple[int, T]]) -> None:
        """Add right samples to the bank of their prompt, the oldest first.

        A sample takes the place of the one before it with its outcome.  Where there are more than
        `size` outcomes, the one that was right the longest ago goes.

        Args:
          bank: exemplar of each outcome id, the oldest first.
          right: outcome id of a sample, and the sample; `NO_OUTCOME` is passed over.
        """
        for outcome, sample in right:
            if outcome != NO_OUTCOME:
                bank.pop(outcome, None)
                bank[outcome] = sample
        for outcome in list(bank)[: -self.size]:
            del bank[outcome]
