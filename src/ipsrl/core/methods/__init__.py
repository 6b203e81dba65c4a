"""Methods: from the evidence of a group to its advantages.

    group -> rewards, shaped -> advantages, clipped

A method is a frozen dataclass with its options, and a row in `METHODS`, the only list: grids,
language models, molecules and verl take names and options from it.  There are two kinds.  A
`RewardMethod` changes rewards only, and leaves their comparison to the usual advantage, which a
host such as TRL may compute itself.  Any other `Method` computes advantages whole.

    scaling      rewards over the probability of their outcome
    counts       the count of an outcome, in the group or in all visits
    similarity   how alike the samples of a group are
    likelihood   how likely each sample was
    success      rewards alone

`ExemplarReplay` is not a row of that list: its exemplars have a loss, which only the families that
name it offer.

docs/methods.md has all of them in one table, with their sources.
"""

from ipsrl.core.group import option
from ipsrl.core.methods.base import Method, RewardMethod, changes_rewards
from ipsrl.core.methods.counts import DARLING, GAPO, UCB, BatchPenalty, Uniqueness
from ipsrl.core.methods.exemplar import ExemplarReplay
from ipsrl.core.methods.likelihood import MARA, UCPO, Unlikeliness
from ipsrl.core.methods.scaling import DPG, GRPO, IPS, Split
from ipsrl.core.methods.similarity import DQO, DRA, SetPO
from ipsrl.core.methods.success import FGRPO, PKPO, MaxRL, PassAtK, RiskSensitive

__all__ = [
    "DARLING",
    "DPG",
    "DQO",
    "DRA",
    "FGRPO",
    "GAPO",
    "GRPO",
    "IPS",
    "MARA",
    "METHODS",
    "Method",
    "PKPO",
    "PassAtK",
    "RewardMethod",
    "RiskSensitive",
    "SetPO",
    "Split",
    "UCB",
    "UCPO",
    "BatchPenalty",
    "ExemplarReplay",
    "MaxRL",
    "Uniqueness",
    "Unlikeliness",
    "changes_rewards",
    "option",
]

METHODS: dict[str, type[Method]] = {
    "ips-grpo": IPS,
    "grpo": GRPO,
    "maxrl": MaxRL,
    "split": Split,
    "dpg": DPG,
    "dra": DRA,
    "uniqueness": Uniqueness,
    "batch-penalty": BatchPenalty,
    "ucb": UCB,
    "darling": DARLING,
    "gapo": GAPO,
    "setpo": SetPO,
    "dqo": DQO,
    "ucpo": UCPO,
    "unlikeliness": Unlikeliness,
    "mara": MARA,
    "rs": RiskSensitive,
    "pass-at-k": PassAtK,
    "pkpo": PKPO,
    "f-grpo": FGRPO,
}
"""All methods, by the names that configurations and commands use."""
