"""Every public name has a docstring, and a place in the API reference of the site."""

import ast
import re

import griffe
import pytest
from mkdocstrings import Inventory
from pages import MODULES, PAGES, ROOT, blocks

SOURCE = ROOT / "src"
API = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))


def shown() -> dict[str, str]:
    """The Python of pages and examples, by where it stands; of a change, what it becomes."""
    found = {
        str(block): re.sub(r"^-.*\n|^[+ ]", "", block.code, flags=re.MULTILINE)
        if block.language == "diff" else block.code
        for page in PAGES for block in blocks(page) if block.language in ("diff", "python")
    }  # fmt: skip
    scripts = (ROOT / "examples").rglob("*.py")
    return found | {str(path.relative_to(ROOT)): path.read_text() for path in scripts}


def imported(code: str) -> set[tuple[str, str]]:
    """Modules of ipsrl, and the names that the code imports from them."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ipsrl"
        for alias in node.names
    }


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


@pytest.fixture(scope="module")
def inventory(site):
    """What the API reference describes, by name."""
    with (site / "objects.inv").open("rb") as file:
        return Inventory.parse_sphinx(file)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(exported, module, inventory):
    names = [f"{module}.{name}" for name in exported(module)]
    assert [name for name in names if name not in inventory] == []
    assert len({inventory[name].uri.partition("#")[0] for name in names}) == 1  # of the module


def test_every_name_in_the_text_of_a_page_is_in_the_reference(inventory):
    pages = [page for page in PAGES if page.name not in ("CHANGELOG.md", "log.md")]  # old names
    found = {
        (str(page.relative_to(ROOT)), name)
        for page in pages
        for name in re.findall(r"`(ipsrl(?:\.\w+)+)(?!\w*\.py)", page.read_text())
    }
    assert ("docs/theory.md", "ipsrl.Group") in found
    described = {*inventory, *re.findall(r"^::: (\S+)", API, re.MULTILINE)}
    assert [one for one in sorted(found) if one[1] not in described] == []


def test_what_pages_and_examples_import_is_public(exported):
    """So it is in the reference."""
    found = {where: imported(code) for where, code in shown().items()}
    assert {("ipsrl.llm", "IPSGRPOTrainer"), ("ipsrl.llm", "tiny")} <= set().union(*found.values())
    hidden = [
        (where, module, name)
        for where, names in found.items()
        for module, name in names
        if f"{module}.{name}" not in MODULES
        and (module not in MODULES or name not in exported(module))
    ]
    assert hidden == []
