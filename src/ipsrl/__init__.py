"""Inverse probability scaling for reinforcement learning that keeps every good answer.

The functions here are pure and take NumPy, PyTorch and JAX arrays (docs/core.md: which under jit):

    ids = outcome_ids(keys)                    what each sample ended in
    rewards = ips_rewards(rewards, ids)        divided by the probability of that outcome
    advantages, flat = group_advantage(rewards)

Families with libraries of their own: `ipsrl.grids`, `ipsrl.llm`.  Losses: `ipsrl.core.losses`.
"""

from ipsrl.core.advantage import GroupAdvantage, group_advantage
from ipsrl.core.groups import (
    GroupDiagnosis,
    diagnose,
    floor_l1,
    minority_survives,
    stationary_distribution,
)
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
from ipsrl.core.probability import (
    Estimator,
    Exact,
    GroupFrequency,
    Kernel,
    LeaveOneOut,
    Likelihood,
    Replay,
    Samples,
    group_frequency,
)
from ipsrl.core.scaling import ips_rewards, ips_weights

__version__ = "0.1.0"

__all__ = [
    "Estimator",
    "Exact",
    "GroupAdvantage",
    "GroupDiagnosis",
    "GroupFrequency",
    "Kernel",
    "LeaveOneOut",
    "Likelihood",
    "NO_OUTCOME",
    "Replay",
    "Samples",
    "coverage",
    "diagnose",
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
