import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from helpers import HANGS

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


def test_every_public_object_has_a_docstring():
    assert [
        n for n in ipsrl.__all__ if callable(getattr(ipsrl, n)) and not getattr(ipsrl, n).__doc__
    ] == []


def test_import_loads_no_framework():
    heavy = "{'torch', 'jax', 'pydantic', 'matplotlib', 'pyarrow', 'tyro', 'optax', 'equinox'}"
    code = f"import ipsrl, sys; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANGS
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("family", ["grids", "hypospace", "llm", "molecules"])
def test_families_export_what_they_name_and_no_module(family):
    """Python puts a module that was loaded into its package, over a function of the same name."""
    package = import_module(f"ipsrl.{family}")
    for _ in range(2):  # the first use loads
        found = {name: getattr(package, name) for name in package.__all__}
        assert not [name for name, value in found.items() if inspect.ismodule(value)]
    assert {"Config", "Result", "train"} <= {*found}
