"""Runs that nothing happened to, and one that has just begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_families import Family, families_in, started
from small_runs import Toy

from ipsrl.cli import main
from ipsrl.runs import Run


@pytest.fixture(scope="session")
def families(tmp_path_factory, small_prior) -> dict[str, Family]:
    return families_in(tmp_path_factory.mktemp("home"), small_prior)


@pytest.fixture(scope="session")
def in_peace(families, tmp_path_factory) -> dict[str, Path]:
    """A finished run of each family, made when it is asked for."""

    class Runs(dict):
        def __missing__(self, name: str) -> Path:
            out = tmp_path_factory.mktemp(name) / "run"
            assert main(started(families[name], out)) == 0
            self[name] = out
            return out

    return Runs()


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "run", Toy())
