"""Paths count from the folder of the file that names them, and else from the working directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from ipsrl.cli import main
from ipsrl.command import training
from ipsrl.config import toml
from ipsrl.errors import ConfigError
from ipsrl.llm.config import Config as LLMConfig
from ipsrl.molecules.config import (
    Config,
    DockingConfig,
    PretrainConfig,
    SynthesisConfig,
)
from ipsrl.paths import below

ROOT = Path(__file__).parents[1]
KEPT = {"kind": "function", "function": "os.path:join", "version": "1"}  # what a cache keeps
NEEDED = {
    Config: {"components": [KEPT]},
    LLMConfig: {"dataset": "d.jsonl", "reward": "os.path:join", "outcome": "os.path:join"},
    PretrainConfig: {"smiles": "c.smi"},
    DockingConfig: {"receptor": "r.pdbqt", "center": [0.0, 0.0, 0.0]},
}
PATHS = [  # model, key, what is written, what of it is the path
    (LLMConfig, "dataset", "d.jsonl", "d.jsonl"),
    (LLMConfig, "dataset", "sub/d.parquet", "sub/d.parquet"),
    (LLMConfig, "dataset", "there", "there"),
    (LLMConfig, "eval_dataset", "../e.jsonl", "../e.jsonl"),
    (LLMConfig, "outcome", "sub/o.py:Task.outcome", "sub/o.py"),
    (LLMConfig, "model", "./m", "m"),
    (LLMConfig, "model", "folder", "folder"),
    (Config, "prior", "p/prior", "p/prior"),
    (Config, "cache", "cache", "cache"),
    (Config, "outcome", "o.py:family", "o.py"),
    (PretrainConfig, "smiles", "c.smi.gz", "c.smi.gz"),
    (DockingConfig, "receptor", "r.pdbqt", "r.pdbqt"),
    (SynthesisConfig, "stock", "stock.smi.gz", "stock.smi.gz"),
]
NAMES = [
    (LLMConfig, "model", "tiny"),
    (LLMConfig, "model", "google/gemma-3-4b-it"),
    (LLMConfig, "dataset", "openai/gsm8k"),
    (LLMConfig, "outcome", "package.module:outcome"),
    (LLMConfig, "eval_dataset", ""),
    (Config, "prior", "zinc"),
    (Config, "cache", ""),
    (Config, "outcome", "scaffold"),
    (SynthesisConfig, "stock", "common"),
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folder of the configuration, and the working directory, each with the same names."""
    for name in ("mine", "elsewhere"):
        (tmp_path / name / "folder").mkdir(parents=True)
        (tmp_path / name / "there").touch()
        (tmp_path / name / "score.py").touch()
        for taken in ("tiny", "zinc", "common", "scaffold"):
            (tmp_path / name / taken).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "mine", tmp_path / "elsewhere"


def written_to(file, values):
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    return file


def loaded(kind, folder, **values):
    return kind.load(written_to(folder / "mine.toml", {**NEEDED.get(kind, {}), **values}))


@pytest.mark.parametrize(("model", "key", "written", "path"), PATHS)
def test_a_path_counts_from_the_file_or_the_working_directory(model, key, written, path, places):
    mine, elsewhere = places
    rest = written.removeprefix(path) if written.startswith(path) else ""
    for folder, config in (
        (mine, loaded(model, mine, **{key: written})),
        (elsewhere, model(**{**NEEDED.get(model, {}), key: written})),
    ):
        assert getattr(config, key) == f"{(folder / path).resolve()}{rest}"
        (mine.parent / "config.toml").write_text(config.dump())  # as in a run directory
        assert model.load(mine.parent / "config.toml") == config


@pytest.mark.parametrize("written", ["r.py:Task.reward", ["r.py:Task.reward"]])
def test_each_of_several_functions_counts_alike(written, places):
    """One may be written without brackets."""
    mine, elsewhere = places
    both = ["r.py:Task.reward", "package.module:reward"]
    for folder, config in (
        (mine, lambda reward: loaded(LLMConfig, mine, reward=reward)),
        (elsewhere, lambda reward: LLMConfig(**{**NEEDED[LLMConfig], "reward": reward})),
    ):
        first = f"{folder / 'r.py'}:Task.reward"
        assert config(written).reward == [first]
        assert config(both).reward == [first, "package.module:reward"]


@pytest.mark.parametrize(("model", "key", "name"), NAMES)
def test_a_name_stays_even_where_a_folder_has_it(model, key, name, places):
    assert getattr(loaded(model, places[0], **{key: name}), key) == name
    assert getattr(model(**{**NEEDED.get(model, {}), key: name}), key) == name


def test_home_is_home(places, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert loaded(Config, places[0], prior="~/prior").prior == "/home/me/prior"


def test_of_a_command_the_files_are_paths(places):
    mine, _ = places
    words = ["python", "score.py", "--in", "no-such.txt", "folder", "-c", "print(1)"]
    tables = [
        {"kind": "program", "command": words},
        {"kind": "program", "command": ["./score.py"], "name": "b"},
    ]
    written_to(mine / "mine.toml", {"components": tables})
    first, second = Config.load(mine / "mine.toml").components
    assert first.command == [*words[:1], str(mine / "score.py"), *words[2:]]
    assert second.command == [str(mine / "score.py")]
    (mine / "python").touch()  # a program without a folder is looked for on the PATH
    assert Config.load(mine / "mine.toml").components[0].command[0] == "python"


def test_a_digest_below_a_folder_is_the_same_wherever_the_folder_lies(places):
    mine, elsewhere = places
    configs = [loaded(Config, folder, prior="p", cache="c") for folder in places]
    assert len({config.digest() for config in configs}) == 2
    assert len({config.digest(folder) for config, folder in zip(configs, places, strict=True)}) == 1
    assert below(mine, configs[0].model_dump()) == below(elsewhere, configs[1].model_dump())
    assert loaded(Config, mine, prior="q", cache="c").digest(mine) != configs[0].digest(mine)


def test_trl_reads_its_own_files_from_there_too(places):
    trl = {"deepspeed": "ds.json", "fsdp_config": {"a": 1}, "run_name": "ds.json"}
    settings = {**NEEDED[LLMConfig], "trl": trl}
    assert LLMConfig(**settings).trl == {**trl, "deepspeed": str(places[1] / "ds.json")}


# --- errors say where they looked -----------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("llm", {"dataset": "none.jsonl"}),
        ("llm", {"reward": "none.py:f"}),
        ("llm", {"outcome": "none.py:f"}),
        ("llm", {"model": "./none"}),
        ("molecules", {"prior": "none"}),
        ("molecules", {"outcome": "none.py:f"}),
        ("molecules", {"components": [{"kind": "function", "function": "none.py:f"}]}),
        ("molecules", {"components": [{"kind": "synthesis", "synthesis": {"stock": "none.smi"}}]}),
        ("molecules", {"components": [{
            "kind": "docking", "docking": {"receptor": "none.pdbqt", "center": [0, 0, 0]},
            "transform": {"kind": "step", "low": -9.0}}]}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_there_is_missed_in_the_folder_that_was_looked_in(
    family, values, places, capsys
):
    mine, elsewhere = places
    (mine / "d.jsonl").write_text('{"prompt": "a"}\n' * 64)
    written_to(mine / "mine.toml", {**(NEEDED[LLMConfig] if family == "llm" else {}), **values})
    assert main(["train", family, "--config", str(mine / "mine.toml"), "--out", "run"]) == 2
    assert str(mine / "none") in capsys.readouterr().err
    assert not (elsewhere / "run").exists()


# --- the examples, from another folder ------------------------------------------------------


def run(*words: object, cwd: Path) -> str:
    command = [sys.executable, "-m", "ipsrl", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_molecules_example_starts_and_resumes_anywhere(tmp_path, small_prior):
    (tmp_path / "else where").mkdir()
    config = ROOT / "examples" / "molecules" / "sp3.toml"
    small = ("--budget", 30, "--batch", 16, "--augmentations", 0)
    prior = ("--prior", f"../{small_prior.name}")  # counts from the working directory
    (tmp_path / small_prior.name).symlink_to(small_prior)
    run("train", "molecules", "--config", config, *small, *prior, cwd=tmp_path / "else where")
    (made,) = (tmp_path / "else where" / "runs").iterdir()
    before = (made / "result.json").read_bytes()
    (made / "result.json").unlink()
    run("train", "molecules", "--resume", made, cwd=tmp_path)
    assert (made / "result.json").read_bytes() == before


def test_the_language_model_example_starts_and_resumes_anywhere(tmp_path):
    config, out = ROOT / "examples" / "llm" / "even_digits.toml", tmp_path / "run"
    short = ("--trl", "max_steps=2", "save_steps=1")
    run("train", "llm", "--config", config, "--out", "run", *short, cwd=tmp_path)
    before = (out / "result.json").read_bytes()
    (out / "result.json").unlink()
    run("train", "llm", "--resume", "run", cwd=tmp_path)
    assert (out / "result.json").read_bytes() == before


# --- tables on the command line -------------------------------------------------------------


def configuration(model, family, *words):
    return training([str(word) for word in words], f"ipsrl train {family}", model).config


def test_a_table_on_the_command_line_adds_to_that_of_the_file():
    from ipsrl.hypospace.config import Config as HypoSpaceConfig

    paper = ROOT / "configs" / "hypospace" / "paper.toml"
    written = HypoSpaceConfig.load(paper).trl
    config = configuration(HypoSpaceConfig, "hypospace", "--config", paper, "--trl", "max_steps=3")
    assert config.trl == {**written, "max_steps": 3}  # not ours for the small model
    assert config.trl["learning_rate"] == 2e-5


def test_what_does_not_fit_after_adding_is_refused(places):
    file = places[0] / "mine.toml"
    file.write_text(
        'dataset = "d.jsonl"\nreward = "os.path:join"\noutcome = "a.py:f"\n[trl]\nbeta=0.1\n'
    )
    words = ("--config", file, "--method", "flowrl", "--trl", "max_steps=3")
    with pytest.raises(ConfigError, match="trl.beta weighs a KL term"):
        configuration(LLMConfig, "llm", *words)


def test_a_size_in_the_file_fits_the_rest_of_it_on_the_command_line(places):
    from ipsrl.hypospace.config import Config as HypoSpaceConfig

    file = places[0] / "mine.toml"
    file.write_text('domain = "causal"\nsize = {nodes = 5}\n')
    words = ("--config", file, "--size", "k=5", "--method", "flowrl")  # of 4 nodes k is at most 4
    config = configuration(HypoSpaceConfig, "hypospace", *words)
    assert config.size == {"nodes": 5, "k": 5}
    assert "beta" not in config.trl
