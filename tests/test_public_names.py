import ipsrl

PUBLIC = [
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


def test_public_names_are_pinned():
    assert sorted(ipsrl.__all__) == PUBLIC


def test_public_names_are_sorted_and_exist():
    assert ipsrl.__all__ == sorted(ipsrl.__all__)
    assert all(hasattr(ipsrl, name) for name in ipsrl.__all__)


def test_every_public_object_of_the_door_is_listed():
    defined = {
        name
        for name, value in vars(ipsrl).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("ipsrl.core")
    }
    assert defined <= set(ipsrl.__all__)
