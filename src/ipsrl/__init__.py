"""Inverse probability scaling for reinforcement learning that keeps every good answer.

The functions here are pure and take NumPy, PyTorch and JAX arrays (docs/core.md: which under jit):

    ids = outcome_ids(keys)                    what each sample ended in
    rewards = ips_rewards(rewards, ids)        divided by the probability of that outcome
    advantages, flat = group_advantage(rewards)

Losses are in `ipsrl.core.losses`.  What needs further libraries is in `ipsrl.grids`, `ipsrl.llm`,
`ipsrl.hypospace`, `ipsrl.molecules` and `ipsrl.theory`.
"""

from typing import TYPE_CHECKING

from ipsrl.lazy import loader

if TYPE_CHECKING:
    from ipsrl.core.advantage import GroupAdvantage, group_advantage
    from ipsrl.core.check import GroupCheck, check_groups
    from ipsrl.core.estimators import (
        ESTIMATORS,
        Estimator,
        Exact,
        GroupFrequency,
        Kernel,
        LeaveOneOut,
        Likelihood,
        Replay,
    )
    from ipsrl.core.floor import floor_l1, minority_survives, stationary_distribution
    from ipsrl.core.group import Group
    from ipsrl.core.methods import GRPO, IPS, METHODS, MaxRL, Method, RewardMethod
    from ipsrl.core.metrics import (
        coverage,
        distinct_yield,
        effective_outcomes,
        entropy,
        jensen_shannon,
        kl_divergence,
        mean_l1,
        oracle_burden,
        recovery,
        sampling_floor,
        total_l1,
        total_variation,
    )
    from ipsrl.core.outcomes import NO_OUTCOME, outcome_ids
    from ipsrl.core.probability import group_frequency
    from ipsrl.core.scaling import ips_rewards, ips_weights

__version__ = "0.2.0"

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Exact",
    "GRPO",
    "Group",
    "GroupAdvantage",
    "GroupCheck",
    "GroupFrequency",
    "IPS",
    "Kernel",
    "LeaveOneOut",
    "Likelihood",
    "METHODS",
    "MaxRL",
    "Method",
    "NO_OUTCOME",
    "Replay",
    "RewardMethod",
    "check_groups",
    "coverage",
    "distinct_yield",
    "effective_outcomes",
    "entropy",
    "floor_l1",
    "group_advantage",
    "group_frequency",
    "ips_rewards",
    "ips_weights",
    "jensen_shannon",
    "kl_divergence",
    "mean_l1",
    "minority_survives",
    "oracle_burden",
    "outcome_ids",
    "recovery",
    "sampling_floor",
    "stationary_distribution",
    "total_l1",
    "total_variation",
]

_HOME = {
    "ESTIMATORS": "core.estimators",
    "Estimator": "core.estimators",
    "Exact": "core.estimators",
    "GRPO": "core.methods",
    "Group": "core.group",
    "GroupAdvantage": "core.advantage",
    "GroupCheck": "core.check",
    "GroupFrequency": "core.estimators",
    "IPS": "core.methods",
    "Kernel": "core.estimators",
    "LeaveOneOut": "core.estimators",
    "Likelihood": "core.estimators",
    "METHODS": "core.methods",
    "MaxRL": "core.methods",
    "Method": "core.methods",
    "NO_OUTCOME": "core.outcomes",
    "Replay": "core.estimators",
    "RewardMethod": "core.methods",
    "check_groups": "core.check",
    "coverage": "core.metrics",
    "distinct_yield": "core.metrics",
    "effective_outcomes": "core.metrics",
    "entropy": "core.metrics",
    "floor_l1": "core.floor",
    "group_advantage": "core.advantage",
    "group_frequency": "core.probability",
    "ips_rewards": "core.scaling",
    "ips_weights": "core.scaling",
    "jensen_shannon": "core.metrics",
    "kl_divergence": "core.metrics",
    "mean_l1": "core.metrics",
    "minority_survives": "core.floor",
    "oracle_burden": "core.metrics",
    "outcome_ids": "core.outcomes",
    "recovery": "core.metrics",
    "sampling_floor": "core.metrics",
    "stationary_distribution": "core.floor",
    "total_l1": "core.metrics",
    "total_variation": "core.metrics",
}

__getattr__ = loader(__name__, _HOME)
