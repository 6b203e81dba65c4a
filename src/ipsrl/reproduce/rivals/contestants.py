"""The contestants: all `METHODS` with their authors' options, and ours by estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ipsrl.core.estimators import ESTIMATORS, Estimator
from ipsrl.core.methods import METHODS, Method


@dataclass(frozen=True)
class Contestant:
    """A method, and the options with which it is run.

    Attributes:
      method: a row of `METHODS`.
      estimator: a row of `ESTIMATORS`; None for a method that reads no p^.
      options: of the method, where they are not its defaults.
      history: batches that the estimator replay remembers.
      kl: coefficient of the KL to the start model that its authors train with.
    """

    method: str
    estimator: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    history: int = 8
    kl: float = 0.0

    def shaping(self, right: int) -> Method:
        """The method, with the number of right outcomes if it needs that."""
        known = {"known": right} if self.method == "gapo" else {}
        return METHODS[self.method](**dict(self.options), **known)

    def estimates(self) -> Estimator:
        """The estimator; the group's count if there is no choice."""
        options = {"batches": self.history} if self.estimator == "replay" else {}
        return ESTIMATORS[self.estimator or "group"](**options)


def _contestants() -> dict[str, Contestant]:
    found: dict[str, Contestant] = {}
    for name, kind in METHODS.items():
        if "p" not in kind.needs:
            # KL .1 is in the papers of these two: MARA undoes its own, unlikeliness has it beside.
            found[name] = Contestant(name, kl=0.1 if name in ("mara", "unlikeliness") else 0.0)
    found["ucpo per-token"] = Contestant("ucpo", options=(("per_token", True),))
    found["dra parts-2"] = Contestant("dra", options=(("parts", 2),))
    for estimator in ("group", "leave-one-out", "kernel", "replay", "likelihood", "exact"):
        found[f"ips {estimator}"] = Contestant("ips-grpo", estimator)
    # As DPG, which divides by Z and not by a standard deviation.
    found["ips likelihood no-std"] = Contestant(
        "ips-grpo", "likelihood", options=(("scale", "none"),)
    )
    found["ips replay-32"] = Contestant("ips-grpo", "replay", history=32)
    for method in ("split", "dpg"):
        for estimator in ("group", "replay", "likelihood", "exact"):
            found[f"{method} {estimator}"] = Contestant(method, estimator)
    return found


CONTESTANTS = _contestants()
"""Everyone, by the name in the tables."""

OURS = ("ips ", "split ")
"""Beginnings of the names of what this project has; all others are rivals."""

OUTSIDE = {
    "exemplar-replay": "not a row of METHODS: a loss that HypoSpace and molecules have",
    "entropy bonus, clip-higher, KL-Cov": "settings of a host's loss, not rows of METHODS",
    "SMILES memories": "a rule for molecules that were seen before, not a row of METHODS",
}
"""What no task of the study is fed with, and why."""


def is_ours(name: str) -> bool:
    return name.startswith(OURS)


def is_exact(name: str) -> bool:
    """True if it reads probabilities that nobody has in practice."""
    return name.endswith(" exact")
