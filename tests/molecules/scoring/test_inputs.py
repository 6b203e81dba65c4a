"""Nothing that a value depends on changes unseen between the parts of a run."""

import shutil
from pathlib import Path

import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import ConfigError, RunError
from ipsrl.molecules import Config, Scoring, train
from ipsrl.molecules.molecule import NAMES
from ipsrl.molecules.scoring.inputs import inputs as all_inputs
from ipsrl.paths import below

ALWAYS = {"rdkit", "names of molecules"}
SCORE = "def score(smiles):\n    return [{value}] * len(smiles)\n"
PROGRAM = """#!/bin/sh
while read line; do echo '{{"value": {value}}}'; done
"""


def inputs(config):
    """By their names in the working directory."""
    return {below(Path.cwd(), name): value for name, value in all_inputs(config).items()}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a module, a file, a program on the PATH, a stock and a receptor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "myprog").write_text(PROGRAM.format(value=0.9))
    (tmp_path / "bin" / "myprog").chmod(0o755)
    for name in ("mine_module", "mine_file"):
        (tmp_path / f"{name}.py").write_text(SCORE.format(value=0.9))
    (tmp_path / "stock.smi").write_text("CCO\n")
    (tmp_path / "receptor.pdbqt").write_text("ATOM\n")
    return tmp_path


FUNCTION = {"kind": "function", "version": "1"}
COMPONENTS = [
    {**FUNCTION, "name": "a", "function": "mine_module:score"},
    {**FUNCTION, "name": "b", "function": "mine_file.py:score"},
    {"kind": "program", "version": "1", "command": ["myprog", "-v"]},
    {"kind": "synthesis", "synthesis": {"stock": "stock.smi"}},
    {
        "kind": "docking",
        "transform": {"kind": "step", "high": -8.0},
        "docking": {"receptor": "receptor.pdbqt", "center": [0.0, 0.0, 0.0]},
    },
]
FILES = {
    "mine_module:score": "mine_module.py",
    "mine_file.py:score": "mine_file.py",
    "myprog": "bin/myprog",
    "stock.smi": "stock.smi",
    "receptor.pdbqt": "receptor.pdbqt",
}


def test_every_file_and_library_counts(mine):
    config = Config(components=COMPONENTS)
    before = inputs(config)
    libraries = {*ALWAYS, "vina", "meeko", "openbabel-wheel", "syntheseus", "templates"}
    assert set(before) == libraries | set(FILES)
    for name, file in FILES.items():
        with (mine / file).open("a") as content:
            content.write("\n# a change")
        now = inputs(config)
        assert {key for key in now if now[key] != before[key]} == {name}
        before = now


def test_an_outcome_and_a_prior_of_your_own_count(mine, small_prior):
    (mine / "known.smi").write_text("CCO\n")
    prior = Path(shutil.copytree(small_prior, mine / "prior"))
    settings = {"outcome": "mine_file.py:score", "prior": str(prior)}
    config = Config(**settings, inception="known.smi")
    before = inputs(config)
    assert set(before) == {*ALWAYS, "mine_file.py:score", "prior", "known.smi"}
    with (prior / "tokenizer.json").open("a") as file:
        file.write("\n")
    now = inputs(config)
    assert {key for key in now if now[key] != before[key]} == {"prior"}


def test_what_ipsrl_brings_counts_by_its_version_alone():
    assert set(inputs(Config())) == ALWAYS
    assert set(inputs(Config(outcome="ipsrl.reproduce.molecules:nearest_drug"))) == ALWAYS
    amide = next(p for p in shipped_configs("molecules/table-3") if p.stem == "all-amide")
    assert {"templates", "all-amide", "syntheseus"} < set(inputs(Config.load(amide)))


def test_a_run_does_not_go_on_with_other_values(mine, small_prior):
    component = {"kind": "function", "function": "mine_file.py:score"}
    config = Config(components=[component], prior=str(small_prior), budget=5, batch=4)
    train(config, mine / "run")
    train(config, mine / "run", resume=True)
    (mine / "mine_file.py").write_text(SCORE.format(value=0.1))
    with pytest.raises(
        RunError, match=r"other files or versions \(.*/mine_file.py:score: \w+, now"
    ):
        train(config, mine / "run", resume=True)


def test_a_run_does_not_go_on_with_other_names_of_molecules(tmp_path, small_prior, monkeypatch):
    config = Config(prior=str(small_prior), budget=5, batch=4)
    train(config, tmp_path / "run")
    monkeypatch.setattr("ipsrl.molecules.scoring.inputs.NAMES", "1")
    with pytest.raises(RunError, match=f"names of molecules: {NAMES}, now 1"):
        train(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("component", "file", "content"),
    [
        (COMPONENTS[0], "mine_module.py", SCORE),
        (COMPONENTS[1], "mine_file.py", SCORE),
        (COMPONENTS[2], "bin/myprog", PROGRAM),
    ],
)
def test_the_cache_forgets_what_an_older_file_said(mine, component, file, content):
    for value in (0.9, 0.2):  # each in a worker, which imports the module anew
        (mine / file).write_text(content.format(value=value))
        config = Config(components=[component | {"workers": 1}], cache="cache.sqlite")
        with Scoring(config.components, "product", cache=config.cache) as scoring:
            assert scoring(["C"]).rewards.tolist() == [pytest.approx(value)]


def test_a_cache_without_effect_is_refused():
    with pytest.raises(ConfigError, match="cache has no effect.*give your component a version"):
        Config(cache="cache.sqlite")
