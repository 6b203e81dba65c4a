"""Searches of a small prior: their files, and what they are after a kill."""

from pathlib import Path

from killing import start, survive

METHODS = {
    "reinvent": {"method": "reinvent"},
    "grpo": {"method": "grpo"},
    "flowrl": {"method": "flowrl"},
    "exemplars": {"method": "exemplar-replay", "success_above": 0.3, "exemplar_replay_size": 20},
    "scaffold": {},
    "generic": {"outcome": "generic-scaffold", "epochs": 2},
    "smiles": {"outcome": "smiles", "estimator": "likelihood", "advantage_clip": 3.0},
    "kernel": {"outcome": "similarity", "estimator": "kernel"},
    "replay": {"estimator": "replay", "replay_batches": 2},
    "decorated": {"decorate": "c1ccc(*)cc1", "augmentations": 0},
}


def files(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "environment.json"
    }


def kill_and_resume(config, tmp_path, kills: int) -> str:
    """What was measured; every run is a process of its own."""
    command = ["molecules", "--config", tmp_path / "config.toml"]
    command[-1].write_text(config.dump())
    whole = start("train", *command, "--out", tmp_path / "whole")
    assert (whole.communicate(), whole.returncode)[1] == 0

    def check(directory: Path) -> None:
        assert files(directory) == files(tmp_path / "whole")

    return survive(kills, tmp_path, command, check)
