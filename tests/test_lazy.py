"""Names are loaded when they are first used, and no module takes the place of one."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest
from helpers import HANGS
from pages import MODULES, ROOT


def test_import_loads_no_framework():
    heavy = "{'torch', 'jax', 'pydantic', 'matplotlib', 'pyarrow', 'tyro', 'optax', 'equinox'}"
    code = f"import ipsrl, sys; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANGS
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("family", ["grids", "hypospace", "llm", "molecules"])
def test_families_export_what_they_name_and_no_module(family):
    """Python puts a module that was loaded into its package, over a function of the same name."""
    package = import_module(f"ipsrl.{family}")
    for _ in range(2):  # the first use loads
        found = {name: getattr(package, name) for name in package.__all__}
        assert not [name for name, value in found.items() if inspect.ismodule(value)]
    assert {"Config", "Result", "train"} <= {*found}


def test_without_the_extras_a_public_name_is_there_or_names_its_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    missing = {re.split(r"\W", one.replace("-", "_"))[0] for one in extras} - {"ipsrl"}
    code = f"""
import sys
from importlib import import_module

from ipsrl.errors import MissingExtra

sys.modules |= dict.fromkeys({sorted(missing)})  # None: no module has this name
for module in {MODULES}:
    try:
        names = import_module(module).__all__
    except MissingExtra as error:
        print(module, error.args[0])
        continue
    for name in names:
        try:
            getattr(import_module(module), name)
        except MissingExtra as error:
            print(module, error.args[0])
"""
    # A command in another test may have set it, and to read it tyro asks for the torch named above.
    place = {name: value for name, value in os.environ.items() if name != "PYTHON_TYRO_ANSI_CODES"}
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=HANGS, env=place,
    )  # fmt: skip
    assert {*answer.stdout.splitlines()} == {
        "ipsrl.grids grids",
        "ipsrl.llm llm",
        "ipsrl.llm.prompts_once llm",
        "ipsrl.llm.tiny llm",
        "ipsrl.molecules molecules",
    }
