"""The oracle: scores each molecule once, within a budget, and keeps every call.

One answer for each molecule, whatever happens to the programs that compute it:

    VALID      a reward
    FAILED     a component has no value
    TIMEOUT    a component has no value within its limit

All but VALID have a reason, and NaN instead of a reward: never a number that could be learned from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ipsrl.molecules.component import Timeout
from ipsrl.molecules.molecule import scaffold
from ipsrl.molecules.scoring.aggregate import Scoring


class Status(Enum):
    """The status of a call."""

    VALID = "valid"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Call:
    """One oracle call.

    Attributes:
      number: 1 for the first.
      smiles: canonical.
      scaffold: its Murcko scaffold.
      status: what became of it.
      reason: why it is not VALID, else "".
      raw: values of the components; NaN where one failed or was not needed.
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
      stereo: whether the scaffolds of calls keep stereo marks.
    """

    def __init__(
        self, scoring: Scoring, budget: int, calls: Iterable[Call] = (), *, stereo: bool = False
    ) -> None:
        self.scoring, self.budget, self.stereo = scoring, budget, stereo
        self.calls: list[Call] = []
        self.statuses: Counter[Status] = Counter()  # of all calls, which nobody counts again
        self._known: dict[str, Call] = {}
        for call in calls:
            self._keep(call)

    @property
    def left(self) -> int:
        """Calls that remain."""
        return self.budget - len(self.calls)

    def __call__(self, smiles: Sequence[str]) -> list[Call | None]:
        """The call of each canonical SMILES [N]; None for those that the budget does not cover."""
        new = [text for text in dict.fromkeys(smiles) if text not in self._known][: self.left]
        if new:
            scores = self.scoring(new)
            raws = np.stack([scores.raw[name] for name in self.scoring.names], axis=1).tolist()
            for i, (text, failure) in enumerate(zip(new, scores.failures, strict=True)):
                status, reason = Status.VALID, ""
                if failure:
                    late = isinstance(failure, Timeout)
                    status, reason = Status.TIMEOUT if late else Status.FAILED, failure.reason
                reward, number = float(scores.rewards[i]), len(self.calls) + 1
                name = scaffold(text, stereo=self.stereo)
                self._keep(Call(number, text, name, status, reason, tuple(raws[i]), reward))
        return [self._known.get(text) for text in smiles]

    def _keep(self, call: Call) -> None:
        self.calls.append(call)
        self.statuses[call.status] += 1
        self._known[call.smiles] = call
