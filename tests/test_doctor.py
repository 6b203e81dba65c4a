"""The doctor tells what is installed, what is missing and how to get it, and what is wrong."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import ipsrl
from ipsrl import doctor
from ipsrl.cli import main
from ipsrl.errors import pip_line
from ipsrl.runs.sinks import SINKS

ROOT = Path(__file__).parents[1]


def test_every_installed_library_is_named_with_its_version(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for packages in doctor.FAMILIES.values():
        for package in packages:
            assert f"{package} {version(package)}" in text
    for array_library in ("numpy", "torch", "jax.numpy"):
        assert any(
            line.split() == [array_library, "works"] for line in text.splitlines()
        )  # fmt: skip


def test_a_missing_library_is_named_with_its_pip_line(monkeypatch, capsys):
    monkeypatch.setitem(doctor.FAMILIES, "grids", ("jax", "no-such-library"))
    assert main(["doctor"]) == 0  # what is installed works
    assert f"missing no-such-library: {pip_line('grids')}" in capsys.readouterr().out


def test_families_are_the_extras_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"core": project["dependencies"], **project["optional-dependencies"]}
    for name in ("all", "dev", "docs", "verl", *SINKS):
        del needed[name]
    assert {family: set(names) for family, names in doctor.FAMILIES.items()} == {
        family: {
            one.name for one in map(Requirement, lines) if not one.marker or one.marker.evaluate()
        }
        for family, lines in needed.items()
    }


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_a_library_that_is_not_installed_is_no_fault(library):
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {library!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from ipsrl.cli import main
sys.exit(main(["doctor"]))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    name = {"torch": "torch", "jax": "jax.numpy"}[library]
    assert any(line.split() == [name, "not", "installed"] for line in answer.stdout.splitlines())


def test_a_library_that_cannot_be_used_is_told_with_its_error(monkeypatch, capsys):
    """As PyTorch, which raises OSError at its import where a library of CUDA is missing."""

    def broken(rewards, ids):
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(ipsrl, "ips_rewards", broken)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.count("CANNOT BE USED: OSError: libcudart.so.12") == 3


def test_wrong_numbers_are_reported_and_fail(monkeypatch, capsys):
    right = ipsrl.ips_rewards

    def wrong_on_numpy(rewards, ids):
        return right(rewards, ids) * (1.01 if isinstance(rewards, np.ndarray) else 1)

    monkeypatch.setattr(ipsrl, "ips_rewards", wrong_on_numpy)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("WRONG NUMBERS" in line for line in lines) == 1
    assert any(line.startswith("numpy") and "WRONG NUMBERS" in line for line in lines)
