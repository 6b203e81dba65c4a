"""A small model runs on one thread, if the user does not say otherwise."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("said", [None, "2"])
def test_a_prior_is_sampled_on_one_thread_or_as_many_as_are_asked_for(said):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if said is not None:
        environment["OMP_NUM_THREADS"] = said
    words = [sys.executable, "-m", "ipsrl", "molecules", "sample", "--n", "2", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert json.loads(done.stdout)["threads"] == int(said or 1)
