"""Names are loaded when they are first used, and no module takes the place of one."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from helpers import HANGS


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
