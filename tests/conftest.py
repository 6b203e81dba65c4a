"""What makes the default run short: it computes little, and would wait for compilers and threads.

Set in the environment, before JAX and PyTorch are imported, so that it holds in the processes
that tests start, too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faulty import assert_none_left
from hypothesis import HealthCheck, settings

# Files of this process and those it starts: another might read a file that is half written.
COMPILED = TemporaryDirectory(prefix="compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models are slower on several threads
    config.add_cleanup(COMPILED.cleanup)
    is_default = "not slow" in config.option.markexpr
    if is_default:  # the slow tests run what XLA makes for users
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # Without these, Hypothesis fails where an example takes .2 s, or is made slowly.
    settings.register_profile(
        "slow machine",
        settings(max_examples=50 if is_default else 100),  # new ones in every run
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("slow machine")


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """In the environment of all that the test starts; none of it is left when the test ends."""
    monkeypatch.setenv("MARK", str(tmp_path))
    yield str(tmp_path)
    assert_none_left(str(tmp_path))


# --- a language of simple molecules, which a small prior learns in seconds ------------------------

ENDS = ["", "C", "O", "N", "F", "Cl", "Br", "CC", "OC", "C#N", "C(=O)O", "C(N)=O"]
RINGS = ["c1ccc({})cc1", "c1ccnc({})c1", "C1CCC({})CC1", "C1CCN({})C1", "c1csc({})c1", "{}"]
LINKS = ["", "C", "CC", "O", "N", "C(=O)"]


def corpus() -> list[str]:
    """About 400 molecules: an end, a link, a ring."""
    parts = itertools.product(RINGS, LINKS, ENDS)
    return list(dict.fromkeys(ring.format(link + end or "C") for ring, link, end in parts))


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.smi"
    path.write_text("\n".join(corpus()))
    return path


@pytest.fixture(scope="session")
def small_prior(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prior that knows the corpus: mostly valid, and new at times."""
    from ipsrl.molecules import PretrainConfig, pretrain

    out = tmp_path_factory.mktemp("prior") / "run"
    config = PretrainConfig(
        smiles=str(corpus_file), hidden=48, layers=2, epochs=24, lr=1e-2, warm_up=10, held_out=20,
        randomise=False, checkpoint_every=1000,
    )  # fmt: skip
    pretrain(config, out)
    return out / "prior"


# --- a run on a tiny grid -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    from tiny_grid import TINY  # here, for the mutants of core have few files beside them

    from ipsrl.cli import main

    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "hypergrid", *TINY, "--out", str(out)]) == 0
    return out
