"""A run says what it was started with, and of which family it is."""

import pytest

from ipsrl import grids, hypospace, llm, molecules
from ipsrl.errors import RunError
from ipsrl.runs import Run


@pytest.mark.parametrize(
    ("config", "family"),
    [
        (grids.Config(), "grids"),
        (grids.LatticeConfig(), "grids"),
        (llm.Config(method="grpo", dataset="d.jsonl", reward="m:f"), "llm"),
        (hypospace.Config(domain="causal"), "hypospace"),
        (molecules.PretrainConfig(smiles="s.smi"), "molecules"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__qualname__,
)
def test_a_run_records_its_family(config, family, tmp_path):
    with Run.create(tmp_path / "run", config):
        assert Run.open(tmp_path / "run").family == family


@pytest.mark.parametrize("program", ["/bin/ipsrl", "/lib/ipsrl/__main__.py", "/home/me/mine.py"])
def test_the_command_is_recorded_as_it_was_typed(program, tmp_path, monkeypatch):
    """A program of the user's records no command."""
    monkeypatch.setattr("sys.argv", [program, "train", "env", "my env.py:make"])
    with Run.create(tmp_path / "run", grids.Config()) as run:
        typed = run.environment().get("command")
    assert typed == (None if "mine" in program else "ipsrl train env 'my env.py:make'")


def test_a_configuration_of_a_user_is_of_the_family_that_it_extends(tmp_path):
    class Mine(grids.LatticeConfig):
        pass

    with Run.create(tmp_path / "run", Mine()) as run:
        assert run.family == "grids"


def test_a_run_of_another_family_is_not_continued(tmp_path):
    config = grids.Config()
    Run.create(tmp_path / "run", config).close()
    with pytest.raises(RunError, match="a run of the family grids, not of llm"):
        Run.resume(tmp_path / "run", llm.Config(method="grpo", dataset="d.jsonl", reward="m:f"))
    with Run.resume(tmp_path / "run", config) as run:
        assert run.config(grids.Config) == config
