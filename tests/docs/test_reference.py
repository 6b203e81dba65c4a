"""Every public name has a docstring, and a place in the API reference of the site."""

import re

import griffe
import pytest
from mkdocstrings import Inventory
from pages import ROOT

SOURCE = ROOT / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if re.search(r"^__all__ = ", path.read_text(), re.MULTILINE)
)


@pytest.fixture(scope="module")
def exported():
    """The public names of a module, and what they are."""
    modules = griffe.load("ipsrl", search_paths=[SOURCE]).modules_collection
    return lambda name: {str(one): modules[f"{name}.{one}"] for one in modules[name].exports}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring_and_is_no_module(exported, module):
    found = exported(module)
    assert found
    assert [name for name, one in found.items() if not one.docstring or one.is_module] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(exported, module, site):
    with (site / "objects.inv").open("rb") as file:
        inventory = Inventory.parse_sphinx(file)
    names = [f"{module}.{name}" for name in exported(module)]
    assert [name for name in names if name not in inventory] == []
    assert len({inventory[name].uri.partition("#")[0] for name in names}) == 1  # of the module
