"""The table of domains is the only list of them."""

from typing import get_args

import pytest

from ipsrl.cli import COMMANDS
from ipsrl.config import StrictConfig
from ipsrl.hypospace.domains import DOMAINS, Domain, make_task


def test_the_names_are_those_of_the_type_and_of_the_tasks():
    assert set(DOMAINS) == set(get_args(Domain))
    assert {name: task.name for name, (task, _) in DOMAINS.items()} == {n: n for n in DOMAINS}


@pytest.mark.parametrize("name", DOMAINS)
def test_a_task_is_made_with_its_strict_configuration(name):
    task = make_task(name, {})
    assert type(task) is DOMAINS[name][0]
    assert type(task.config) is DOMAINS[name][1]
    assert isinstance(task.config, StrictConfig)
    with pytest.raises(ValueError, match="unknown key 'nodez'"):
        make_task(name, {"nodez": 3})


def test_options_reach_the_task():
    """Two blocks on 2 x 2 cells, one high: C(4, 1) + C(4, 2) views of one structure each."""
    task = make_task("voxel", {"size": 2, "max_height": 1, "max_blocks": 2})
    assert [len(keys) for _, keys in task.observation_sets()] == [1] * (4 + 6)


def test_the_usage_names_every_domain():
    assert all(name in COMMANDS["hypospace dataset"].what for name in DOMAINS)
