"""Routes: made of what can be bought, step by step by a template, and the same on every machine."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from routes import ACID, ANILINE, BORONIC, CHEM, PARACETAMOL, TARGET
from syntheseus import BackwardReactionModel

from ipsrl.errors import InvalidInput
from ipsrl.molecules import (
    ComponentConfig,
    Failure,
    Planner,
    Route,
    Stock,
    Synthesis,
    SynthesisConfig,
    TemplateModel,
)
from ipsrl.molecules.molecule import canonical
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.synthesis import planner as module
from ipsrl.molecules.synthesis.steps import step
from ipsrl.molecules.synthesis.templates import templates

LIBRARY = {template.name: template for template in templates()}


def chembl(n: int, seed: int) -> list[str]:
    with gzip.open(CHEM / "chembl_78k.smi.gz", "rt") as file:
        lines = [line.split()[0] for line in file]
    return [str(text) for text in np.random.default_rng(seed).choice(lines, n, replace=False)]


def check(route: Route, stock: Stock) -> None:
    """What every route keeps, looked at without the planner."""
    made = [reaction.product for reaction in route.reactions]
    assert len(made) == len(set(made))
    assert not stock.smiles & set(made)
    needed = {route.target}
    for reaction in route.reactions:
        assert reaction.product in needed
        needed |= set(reaction.reactants)
        assert reaction.product in LIBRARY[reaction.template].products(reaction.reactants)
    assert needed - set(made) <= stock.smiles
    assert set(route.bought) == needed - set(made)
    below: dict[str, set[str]] = {smiles: set() for smiles in needed}
    for reaction in reversed(route.reactions):  # nothing is made of itself
        below[reaction.product] = set(reaction.reactants).union(
            *(below[text] for text in reaction.reactants)
        )
        assert reaction.product not in below[reaction.product]


# --- routes ---------------------------------------------------------------------------------------


def test_by_hand(model):
    planner = Planner(model, Stock([ANILINE, BORONIC, ACID]))
    route = planner(TARGET)
    check(route, Stock([ANILINE, BORONIC, ACID]))
    assert len(route.reactions) == 2
    assert set(route.bought) == {ANILINE, BORONIC, ACID}
    assert Planner(model, Stock(["C1CC1"]), expansions=20)(TARGET) is None


class Table(BackwardReactionModel):
    """Steps that a test writes down: product -> sets of reactants."""

    def __init__(self, steps: dict[str, list[list[str]]]) -> None:
        super().__init__(use_cache=True)
        self.steps = steps

    def _get_reactions(self, inputs, num_results):
        return [
            [step(m, reactants, "table", 0.5) for reactants in self.steps.get(m.smiles, [])]
            for m in inputs
        ]


@pytest.mark.parametrize("search", ["retro-star", "breadth-first"])
def test_a_molecule_that_two_steps_need_is_made_once(search):
    # Butane of propane and ethane, propane of ethane and methane, ethane of methane and water.
    steps = {"CCCC": [["CCC", "CC"]], "CCC": [["CC", "C"]], "CC": [["C", "O"]]}
    route = Planner(Table(steps), Stock(["C", "O"]), search=search)("CCCC")
    assert sorted(reaction.product for reaction in route.reactions) == ["CC", "CCC", "CCCC"]
    assert route.bought == ("C", "O") or route.bought == ("O", "C")


def test_retro_star_takes_the_cheaper_of_two_routes_and_no_circle():
    # Both ways from ethane need one step; the circle by way of methanol costs one more.
    steps = {"CCC": [["CO", "C"], ["CC", "C"]], "CO": [["CCC"], ["CC"]], "CC": [["C", "C"]]}
    route = Planner(Table(steps), Stock(["C"]))("CCC")
    assert [reaction.product for reaction in route.reactions] == ["CCC", "CC"]


def test_a_target_in_stock_needs_no_reaction(model):
    route = Planner(model, Stock([TARGET]))(TARGET)
    assert route == Route(TARGET, ())
    assert route.bought == (TARGET,)


def test_routes_to_molecules_of_chembl(model, blocks):
    planner = Planner(model, blocks, expansions=15)
    routes = [planner(smiles) for smiles in chembl(10, seed=1)]
    for route in filter(None, routes):
        check(route, blocks)
    assert sum(route is not None for route in routes) >= 2
    assert None in routes


@pytest.mark.slow
def test_routes_to_many_molecules_of_chembl(model, blocks):
    for search, least in (("retro-star", 20), ("breadth-first", 10)):
        planner = Planner(model, blocks, search=search)
        routes = [planner(smiles) for smiles in chembl(100, seed=2)]
        for route in filter(None, routes):
            check(route, blocks)
        assert sum(route is not None for route in routes) >= least


def test_breadth_first_finds_a_shortest_route(model, common):
    # Both one and two steps lead to paracetamol: acetic acid, or its chloride, which is made of it.
    stock = Stock([*common.smiles, "CC(=O)Br"])
    assert PARACETAMOL in common.smiles  # so that it must be left out
    stock.smiles -= {PARACETAMOL}
    route = Planner(model, stock, search="breadth-first")(PARACETAMOL)
    assert len(route.reactions) == 1


def test_more_expansions_find_what_fewer_found(model):
    stock = Stock([ANILINE, BORONIC, ACID])
    routes = [Planner(model, stock, expansions=n)(TARGET) for n in (1, 2, 4, 8, 16, 32)]
    assert routes[0] is None  # two steps need two expansions
    found = [route for route in routes if route]
    assert found == routes[-len(found) :]
    assert len(set(found)) == 1


def test_an_imine_at_a_ring_is_made_as_its_amine(model):
    stock = Stock(["Nc1nccs1", "CC(=O)O"])
    route = Planner(model, stock)("CC(=O)N=c1[nH]ccs1")
    assert route.target == canonical("CC(=O)Nc1nccs1")
    assert set(route.bought) == stock.smiles
    assert Stock(["N=c1[nH]ccs1"]).smiles == {"Nc1nccs1"}


def test_a_charged_molecule_is_made_as_its_neutral_form(model):
    stock = Stock(["C1CCNCC1", "O=C([O-])Cc1ccncc1"])
    assert stock.smiles == {"C1CCNCC1", "O=C(O)Cc1ccncc1"}
    route = Planner(model, stock)("O=C(Cc1cc[nH+]cc1)N1CCCCC1")
    assert route.target == "O=C(Cc1ccncc1)N1CCCCC1"
    assert set(route.bought) == stock.smiles


def test_a_search_that_cannot_be_is_refused(model, common):
    for options in ({"search": "depth-first"}, {"expansions": 0}, {"seconds": -1.0}):
        with pytest.raises(InvalidInput, match="Write|Give"):
            Planner(model, common, **options)


def test_seconds_end_a_search(model, common):
    assert Planner(model, common, seconds=1e-9)(TARGET) is None


SCRIPT = """
import json, sys
from dataclasses import asdict
from ipsrl.molecules import Planner, Stock, TemplateModel

class Recorder(TemplateModel):
    def _get_reactions(self, inputs, num_results):
        print(*(molecule.smiles for molecule in inputs))
        return super()._get_reactions(inputs, num_results)

stock, target = json.loads(sys.argv[1])
for search in ("retro-star", "breadth-first"):
    route = Planner(Recorder(), Stock(stock), search=search, expansions=40)(target)
    print(json.dumps(route and asdict(route)))
"""


def test_every_process_searches_in_the_same_order():
    # This stock allows no route, so the whole search is seen.
    argument = json.dumps([["C"], "O=C(Nc1ccccc1)N1CCN(C(=O)OCC)CC1"])
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, argument],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout.splitlines()
        for seed in ("1", "2", "3")
    ]
    assert len(set(map(tuple, outputs))) == 1
    assert len(outputs[0]) > 20


def test_a_molecule_asked_before_changes_nothing(model, common):
    # The model remembers; the limit counts the nodes of this search alone.
    fresh = Planner(TemplateModel(), common, expansions=15)
    for target in (TARGET, "O=C(Nc1ccc(Oc2ccccn2)cc1)N1CCN(Cc2ccccc2)CC1"):
        assert Planner(model, common, expansions=15)(target) == fresh(target)


def test_what_is_no_molecule_is_refused(model, common):
    with pytest.raises(InvalidInput, match="is not a molecule"):
        Planner(model, common)("no molecule")


# --- component ------------------------------------------------------------------------------------


def test_the_component_is_one_where_a_route_is_found(tmp_path):
    (tmp_path / "mine.smi").write_text("\n".join([ANILINE, BORONIC, ACID]))
    config = ComponentConfig(
        kind="synthesis", synthesis=SynthesisConfig(stock=str(tmp_path / "mine.smi"), expansions=9)
    )
    component = build(config)
    assert component([ANILINE, TARGET, "C1CC1"]) == [1.0, 1.0, 0.0]
    assert component([]) == []


def test_a_search_that_breaks_is_a_failure(monkeypatch):
    component = Synthesis(SynthesisConfig())
    monkeypatch.setattr(component, "_planner", lambda smiles: 1 / 0)
    assert component(["CCO"]) == [Failure("ZeroDivisionError: division by zero")]


def test_a_route_against_the_rule_is_no_route(monkeypatch):
    rules = {"any": lambda _: True, "all-amide": lambda reactions: not reactions}
    monkeypatch.setattr(module, "_rule", rules.get)
    component = Synthesis(SynthesisConfig(rule="all-amide"))
    assert component(["CCO", TARGET]) == [1.0, 0.0]
    assert Synthesis(SynthesisConfig())([TARGET]) == [1.0]


def test_all_amide_asks_the_classes_of_the_reactions():
    component = Synthesis(SynthesisConfig(rule="all-amide"))
    amide, ether = "O=C(Nc1ccccc1)c1ccc(Cl)cc1", "Clc1ccc(OCCc2ccccc2)cc1"
    assert Synthesis(SynthesisConfig())([amide, ether]) == [1.0, 1.0]
    assert component(["CCO", amide, ether]) == [1.0, 1.0, 0.0]


def test_identity_is_all_that_a_value_depends_on(tmp_path):
    (tmp_path / "a.smi").write_text("C\nCC")
    (tmp_path / "b.smi").write_text("CC\nC")
    (tmp_path / "c.smi").write_text("CC\nCCC")
    one, same, other = (
        Synthesis(SynthesisConfig(stock=str(tmp_path / f"{name}.smi"))).identity for name in "abc"
    )
    assert one == same != other
    changed = [
        Synthesis(SynthesisConfig(**change)).identity
        for change in ({}, {"expansions": 9}, {"seconds": 9.0}, {"search": "breadth-first"})
    ]
    assert len(set(changed)) == len(changed)
    for part in ("templates", "syntheseus", "rdkit"):
        assert part in one
