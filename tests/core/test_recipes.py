"""The method and the estimator of docs/extending.md keep the laws of the suites that it names."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from pages import code_of


def suite(file: str, name: str) -> Any:
    """A class of a copy of that test file, whose own lists it does not change."""
    spec = spec_from_file_location(f"copy_of_{name}", Path(__file__).with_name(file))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def recipe(name: str) -> Any:
    """The class that a recipe defines, before it has a row."""
    (block,) = [block for block in code_of("docs/extending.md") if f"class {name}" in block]
    made: dict[str, Any] = {"__name__": __name__}
    exec(re.split(r"\n(?:METHODS|ESTIMATORS)\[", block)[0], made)
    return made[name]


class TestSharpened(suite("test_methods.py", "MethodSuite")):
    method = recipe("Sharpened")()


class TestSmoothed(suite("test_estimators.py", "EstimatorSuite")):
    estimator = recipe("Smoothed")()
