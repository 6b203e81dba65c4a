"""The table of items is the only list of them."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pages import PAGES

from ipsrl.cli import main
from ipsrl.errors import ConfigError, MissingExtra
from ipsrl.reproduce import ITEMS, lattice, reproduce

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_an_item_can_be_called(item):
    module, run = item.home.split(":")
    assert callable(getattr(import_module(f"ipsrl.reproduce.{module}"), run))


@pytest.mark.parametrize(
    "module",
    ["hypospace", "modes", "molecules", "open_questions", "rivals", "table_3", "table_3_settings"],
)
def test_an_item_has_the_presets_of_its_module(module):
    items = [item for item in ITEMS.values() if item.home.startswith(f"{module}:")]
    home = import_module(f"ipsrl.reproduce.{module}")
    presets = home.PRESETS if hasattr(home, "PRESETS") else home.presets()
    assert items
    assert all(item.presets == tuple(presets) for item in items)


def test_every_refused_preset_says_what_to_choose(tmp_path):
    for name, item in ITEMS.items():
        for preset in {"quick", "cpu", "paper"} - {*item.presets}:
            chosen = " or ".join(item.presets)
            with pytest.raises(ConfigError, match=rf"{name} has no preset {preset}.*{chosen}\."):
                reproduce(name, preset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("item", "missing", "extras"),
    [
        ("rivals", "jinja2", "grids,llm,molecules,report"),
        ("rivals", "jax", "grids,llm,molecules,report"),
        ("choosing", "jax", "grids,report"),
    ],
)
def test_a_missing_library_names_every_extra_that_the_item_needs(
    item, missing, extras, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "ipsrl.reproduce.rivals.toys", raising=False)
    with pytest.raises(MissingExtra, match=rf"'{missing}' .*ipsrl\[{extras}\]"):
        reproduce(item, "quick", tmp_path / "out")


def test_what_the_work_does_not_find_is_not_called_an_extra(tmp_path, monkeypatch):
    def work(*_):
        raise ModuleNotFoundError("No module named 'mine'", name="mine")

    monkeypatch.setattr(lattice, "reproduce", work)
    with pytest.raises(ModuleNotFoundError, match="'mine'"):  # which MissingExtra is not
        reproduce("figure-3", "quick", tmp_path / "out")


@pytest.mark.parametrize("missing", ["rdkit", "meeko"])
def test_table_3_asks_for_its_libraries_before_its_files(missing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where neither receptor nor stock is
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"'{missing}' .*ipsrl\[docking,molecules,report\]"):
        reproduce("table-3", "quick", tmp_path / "out")


def test_the_usage_names_every_item(capsys):
    main(["--help"])
    named = re.split(r"[\s,:]+", capsys.readouterr().out)
    assert set(ITEMS) <= set(named)


def test_the_readme_names_every_item():
    text = (ROOT / "README.md").read_text()
    (listed,) = re.findall(r"ipsrl reproduce .*\n(?: {20,}#.*\n)+", text)
    assert sorted(re.findall("|".join(sorted(ITEMS, key=len, reverse=True)), listed)) == sorted(
        ITEMS
    )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_names_an_item_that_is_not_there(page):
    assert {*re.findall(r"ipsrl reproduce ([\w-]+)", page.read_text())} <= {*ITEMS}


def test_no_item_imports_the_table():
    """The package is the attic of its modules: what they share is in `runs`."""
    import grimp

    graph = grimp.build_graph("ipsrl", cache_dir=None)
    inside = {name for name in graph.find_children("ipsrl.reproduce") if "commands" not in name}
    assert not graph.find_modules_that_directly_import("ipsrl.reproduce") & inside
