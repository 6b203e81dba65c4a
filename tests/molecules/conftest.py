"""A small search, a receptor that needs no real one, and a component that does as told."""

import pytest
from components import Told
from pocket import POCKET

from ipsrl.molecules import ComponentConfig, Config


@pytest.fixture
def pocket() -> str:
    return POCKET


@pytest.fixture
def config(small_prior):
    def make(**options) -> Config:
        ours = {
            "components": [ComponentConfig(kind="qed")], "prior": str(small_prior), "budget": 60,
            "batch": 16, "lr": 5e-4, "threshold": 0.55, "bucket": 4, "checkpoint_every": 2,
            "augmentations": 1,
        }  # fmt: skip
        return Config(**ours | options)

    return make


@pytest.fixture
def told(tmp_path, mark):
    return Told(tmp_path)
