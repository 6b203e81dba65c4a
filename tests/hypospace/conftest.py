"""A start model of little training, which gives a right answer now and then."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def beginner(tmp_path_factory) -> Path:
    """Folder of a Boolean start model after 40 steps of supervised training."""
    from ipsrl.hypospace import Boolean, dataset
    from ipsrl.hypospace.tiny import start_model

    task = Boolean()
    return start_model(task, dataset(task), steps=40, cache=tmp_path_factory.mktemp("cache"))
