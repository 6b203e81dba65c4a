"""The oracle: scores each molecule once, within a budget, and keeps every call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ipsrl.molecules.molecule import scaffold
from ipsrl.molecules.scoring import Scoring


class Status(Enum):
    """What became of a call."""

    VALID = "valid"
    FAILED = "failed"


@dataclass(frozen=True)
class Call:
    """One oracle call.

    Attributes:
      number: 1 for the first.
      smiles: canonical.
      scaffold: its Murcko scaffold.
      status: FAILED where a component has no value; its reward is then NaN, never a number.
      reason: of the failure.
      raw: values of the components; NaN where one failed.
      reward: R, before any filter.
    """

    number: int
    smiles: str
    scaffold: str
    status: Status
    reason: str
    raw: tuple[float, ...]
    reward: float


class Oracle:
    """Scores molecules; one that was scored before is answered from memory, at no cost.

    Args:
      scoring: what is computed.
      budget: calls that may be made.
      calls: of an earlier run.
    """

    def __init__(self, scoring: Scoring, budget: int, calls: Iterable[Call] = ()) -> None:
        self.scoring, self.budget = scoring, budget
        self.calls = list(calls)
        self._known = {call.smiles: call for call in self.calls}

    @property
    def left(self) -> int:
        """Calls that remain."""
        return self.budget - len(self.calls)

    def __call__(self, smiles: Sequence[str]) -> list[Call | None]:
        """The call of each canonical SMILES [N]; None for those that the budget does not cover."""
        new = [text for text in dict.fromkeys(smiles) if text not in self._known][: self.left]
        if new:
            scores = self.scoring(new)
            raws = np.stack([scores.raw[name] for name in self.scoring.names], axis=1)
            for text, raw, reward, reason in zip(
                new, raws.tolist(), scores.rewards.tolist(), scores.reasons, strict=True
            ):
                call = Call(
                    number=len(self.calls) + 1,
                    smiles=text,
                    scaffold=scaffold(text),
                    status=Status.FAILED if reason else Status.VALID,
                    reason=reason,
                    raw=tuple(raw),
                    reward=reward,
                )
                self.calls.append(call)
                self._known[text] = call
        return [self._known.get(text) for text in smiles]
