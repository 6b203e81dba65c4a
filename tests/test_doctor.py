"""The doctor tells what is installed, what is missing and how to get it, and what is wrong."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

import ipsrl
from ipsrl import doctor
from ipsrl.cli import main


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
    assert 'missing no-such-library: pip install "ipsrl[grids]"' in capsys.readouterr().out


def test_families_are_the_extras_of_the_distribution():
    from importlib.metadata import metadata, requires

    extras = set(metadata("ipsrl").get_all("Provides-Extra"))
    for family, packages in doctor.FAMILIES.items():
        if family == "core":
            needed = {r for r in requires("ipsrl") if "extra ==" not in r}
        else:
            assert family in extras
            needed = {r for r in requires("ipsrl") if f"extra == '{family}'" in r}
            needed |= {r for r in requires("ipsrl") if f'extra == "{family}"' in r}
        assert {p for p in packages if not any(r.startswith(p) for r in needed)} == set()


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


def test_wrong_numbers_are_reported_and_fail(monkeypatch, capsys):
    right = ipsrl.ips_rewards

    def wrong_on_numpy(rewards, ids):
        return right(rewards, ids) * (1.01 if isinstance(rewards, np.ndarray) else 1)

    monkeypatch.setattr(ipsrl, "ips_rewards", wrong_on_numpy)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("WRONG NUMBERS" in line for line in lines) == 1
    assert any(line.startswith("numpy") and "WRONG NUMBERS" in line for line in lines)
