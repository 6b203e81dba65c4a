"""Stocks and a model that several tests of synthesis search with."""

import pytest
from routes import CHEM

from ipsrl.molecules import Stock, TemplateModel


@pytest.fixture(scope="module")
def model() -> TemplateModel:
    return TemplateModel()


@pytest.fixture(scope="module")
def common() -> Stock:
    return Stock.load("common")


@pytest.fixture(scope="module")
def blocks() -> Stock:
    path = CHEM / "bb_sigma_20k.smi.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    return Stock.load(path)
