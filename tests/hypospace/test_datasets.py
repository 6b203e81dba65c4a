"""Data sets: the same seed gives the same sets, and every set is as likely as another."""

import math
import os
import subprocess
import sys
from collections import Counter

import pytest
from helpers import SIGMAS, steps
from hypospace_suite import keys_of

from ipsrl.errors import InvalidInput
from ipsrl.hypospace import (
    Boolean,
    Causal,
    Voxel,
    dataset,
    write_dataset,
)

TASKS = [Causal(), Voxel(), Boolean()]


def test_the_three_data_sets_of_the_paper(tmp_path):
    """Enumerated anew in fewer than a million steps each; voxels take the most, 380,000."""
    sizes = []

    def write(task) -> None:
        sets = dataset(type(task)())
        write_dataset(sets, tmp_path / task.name)
        sizes.append(Counter(one.split for one in sets))

    for task in TASKS:
        assert steps(lambda task=task: write(task)) < 1_000_000
    assert sizes == [
        {"train": 50, "test": 50},
        {"train": 50, "test": 50},
        {"train": 39, "test": 39},
    ]


@pytest.mark.promise(number=7)
def test_the_same_data_sets_in_every_process(record_property):
    """Also with another PYTHONHASHSEED."""
    script = (
        "from dataclasses import asdict; import json; from ipsrl.hypospace import *\n"
        "for domain in (Causal, Voxel, Boolean):\n"
        "  for apart in ('sets', 'hypotheses'):\n"
        "    for draw in ('sets', 'hypotheses'):\n"
        "      rows = dataset(domain(), seed=5, apart=apart, draw=draw)\n"
        "      print(json.dumps([asdict(row) for row in rows]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    record_property("figure", "hypospace: 12 data sets")


def test_halves_by_sets_share_hypotheses_and_say_so():
    sets = dataset(Causal())
    train, test = ([one for one in sets if one.split == name] for name in ("train", "test"))
    assert keys_of(train) & keys_of(test)
    assert "may be right in the test half too" in (dataset.__doc__ or "")


def test_every_set_is_as_likely_as_another():
    """Inclusion of each of 78 sets among 20, over 500 seeds: 500 * 20 / 78 = 128 +- 9.8."""
    counts = Counter(
        one.id for seed in range(500) for one in dataset(Boolean(), count=20, seed=seed)
    )
    share = 20 / 78
    spread = math.sqrt(500 * share * (1 - share))
    assert len(counts) == 78
    assert all(abs(n - 500 * share) < SIGMAS * spread for n in counts.values())


def test_odd_numbers_and_all_there_are():
    assert Counter(one.split for one in dataset(Boolean(), count=7)) == {"train": 4, "test": 3}
    assert len(dataset(Boolean(), count=1000)) == 78
    with pytest.raises(InvalidInput, match="both halves need a set"):
        dataset(Boolean(), count=1)
