"""Routes: made of what can be bought, step by step by a template, and the same on every machine."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from helpers import HANGS
from syntheseus import BackwardReactionModel

from ipsrl import workers
from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.molecules import (
    ComponentConfig,
    Failure,
    Planner,
    Reaction,
    Route,
    Stock,
    Synthesis,
    SynthesisConfig,
    TemplateModel,
)
from ipsrl.molecules import retrosynthesis as module
from ipsrl.molecules.molecule import canonical
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.synthesis.megan import Megan
from ipsrl.molecules.synthesis.picture import route_svg
from ipsrl.molecules.synthesis.templates import templates

SHARED = Path(os.environ.get("IPSRL_SHARED", Path(__file__).parents[3] / "shared"))
CHEM = SHARED / "data" / "chem"

# Two steps of ours, amide and Suzuki, of three molecules.
TARGET = canonical("O=C(Nc1ccccc1)c1ccc(-c2ccccc2)cc1")
ANILINE, BORONIC, ACID = map(
    canonical, ("Nc1ccccc1", "OB(O)c1ccccc1", "O=C(O)c1ccc(Br)cc1")
)  # fmt: skip
PARACETAMOL = canonical("CC(=O)Nc1ccc(O)cc1")

LIBRARY = {template.name: template for template in templates()}


@pytest.fixture(scope="module")
def model() -> TemplateModel:
    return TemplateModel()


@pytest.fixture(scope="module")
def common() -> Stock:
    return Stock.load("common")


@pytest.fixture(scope="module")
def blocks() -> Stock:
    path = CHEM / "bb_sigma_20k.smi.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    return Stock.load(path)


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
            [module.step(m, reactants, "table", 0.5) for reactants in self.steps.get(m.smiles, [])]
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
    # Of ethane both ways need one step; the circle by way of methanol costs one more.
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
    # Of this stock there is no route, so that all of the search is seen.
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
    with pytest.raises(InvalidInput, match="is no molecule"):
        Planner(model, common)("no molecule")


# --- a route as data ------------------------------------------------------------------------------

ROUTE = Route(
    TARGET,
    (
        Reaction(TARGET, (BORONIC, "O=C(Nc1ccccc1)c1ccc(Br)cc1"), "Suzuki coupling of arenes"),
        Reaction("O=C(Nc1ccccc1)c1ccc(Br)cc1", (ANILINE, ACID), "amide from an acid"),
    ),
)


@pytest.mark.parametrize("route", [ROUTE, Route("CCO", ())])
def test_json_and_back(route):
    assert Route.from_json(json.loads(json.dumps(dataclasses.asdict(route)))) == route


def test_smiles_of_a_reaction():
    assert ROUTE.reactions[1].smiles == f"{ANILINE}.{ACID}>>O=C(Nc1ccccc1)c1ccc(Br)cc1"


@pytest.mark.parametrize(
    "content", [None, [], {}, {"target": "C"}, {"target": "C", "reactions": [1]}]
)
def test_what_is_no_route_is_refused(content):
    with pytest.raises(InvalidInput, match="no route"):
        Route.from_json(content)


def test_a_route_is_a_tree():
    first, second = ROUTE.reactions
    for reactions in ((second, first), (first, second, second), (second,)):
        with pytest.raises(InvalidInput, match="made already"):
            Route(TARGET, reactions)


# --- pictures -------------------------------------------------------------------------------------


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_names_every_step_and_marks_what_is_bought():
    found = words(route_svg(ROUTE))
    assert found.count("in stock") == 3
    said = " ".join(found)
    assert "Suzuki coupling of arenes" in said
    assert "amide from an acid" in said


def test_a_picture_of_what_is_bought():
    assert words(route_svg(Route("CCO", ()))) == ["in stock"]


def test_a_reactant_that_is_needed_twice_is_drawn_once_with_its_number():
    route = Route("CNC(=O)NC", (Reaction("CNC(=O)NC", ("CN", "CN"), "urea <from> two"),))
    found = words(route_svg(route))
    assert "2 x" in found
    assert "urea <from> two" in found
    assert found.count("in stock") == 1


# --- stock ----------------------------------------------------------------------------------------


def test_a_stock_is_canonical_and_counts_what_it_skips(tmp_path):
    text = "# a comment\nOCC ethanol\nC(C)O again\n\n*CC* polymer\nno molecule\nc1ccccc1\n"
    (tmp_path / "mine.smi").write_text(text)
    (tmp_path / "mine.smi.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("mine.smi", "mine.smi.gz"):
        stock = Stock.load(tmp_path / name)
        assert stock.smiles == {"CCO", "c1ccccc1"}
        assert stock.skipped == 2
    assert stock.digest == Stock(["c1ccccc1", "OCC"]).digest != Stock(["CCO"]).digest


def test_the_shipped_stock(common):
    assert common.skipped == 0
    assert len(common.smiles) >= 300
    lines = (module.STOCKS / "common.smi").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert all(len(row) == 2 for row in rows)
    assert len(rows) == len({name for _, name in rows}) == len(common.smiles)


def test_the_stock_of_20000_blocks(blocks):
    assert len(blocks.smiles) > 19_900  # some are sold as salts as well as neutral
    assert 0 < blocks.skipped < 100


@pytest.mark.parametrize("content", [b"", b"*C*\n", b"CCO\nCCN,2\nCCC,3\n", b"\xff\xfe"])
def test_a_stock_of_next_to_nothing_is_refused(tmp_path, content):
    (tmp_path / "mine.smi").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"holds [01] molecules, and \d lines|cannot be read"):
        Stock.load(tmp_path / "mine.smi")
    with pytest.raises(InvalidInput, match=r"cannot be read.*common"):
        Stock.load("absent")


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


def test_another_library_is_another_model():
    assert TemplateModel(templates()[:3]).identity != TemplateModel().identity


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "synthesis"}, "needs synthesis"),
        ({"kind": "qed", "synthesis": SynthesisConfig()}, "needs no data"),
        ({"kind": "synthesis"}, "if only as synthesis = {}"),
        ({"kind": "synthesis", "synthesis": {"expansion": 3}}, "expansions"),
        ({"kind": "synthesis", "synthesis": {"rule": "amide"}}, "rule"),
        ({"kind": "synthesis", "synthesis": {"expansions": 0}}, "expansions"),
    ],
)
def test_a_wrong_configuration_is_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        ComponentConfig(**values)


# --- MEGAN's worker, with a toy in the model's place ----------------------------------------------

TOY = """
import os, sys, time
from syntheseus import Bag, Molecule, SingleProductReaction
from ipsrl.workers import megan
from ipsrl.workers.lines import serve

class Toy:
    '''Cuts a chain of carbons in two; what it is asked besides, it does.'''
    def __call__(self, products, num_results):
        [product] = products
        print("MEGAN likes to print")
        if product.smiles == "CCl":
            os._exit(3)
        if product.smiles == "CBr":
            time.sleep(6000)
        if product.smiles == "CI":
            raise ValueError("too heavy")
        p = 2.0 if product.smiles == "CF" else 0.5
        cuts = range(1, len(product.smiles))
        return [[
            SingleProductReaction(
                product=product,
                reactants=Bag([Molecule("C" * n), Molecule("C" * (len(product.smiles) - n))]),
                metadata={"probability": p},
            )
            for n in cuts
        ][:num_results]]

megan._model = lambda: Toy()
serve(megan._answer)
"""


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    model = Megan([sys.executable, str(path)], timeout=HANGS)
    yield model
    model.close()


def test_the_worker_is_a_model_like_any_other(toy):
    route = Planner(toy, Stock(["C"]))("CCCC")
    assert route is not None
    assert route.bought == ("C",)
    assert {reaction.template for reaction in route.reactions} == {"MEGAN"}
    assert Planner(toy, Stock(["O"]))("CCCC") is None


def test_the_worker_gives_as_many_steps_as_were_asked(toy):
    [steps] = toy([module.Molecule("CCCCCC")], num_results=2)
    assert [[part.smiles for part in found.reactants] for found in steps] == [
        ["C", "CCCCC"], ["CC", "CCCC"],
    ]  # fmt: skip
    assert [found.metadata["probability"] for found in steps] == [0.5, 0.5]


def test_a_worker_that_fails_costs_one_molecule(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_model", lambda name: toy)
    (tmp_path / "mine.smi").write_text("C methane")
    component = Synthesis(SynthesisConfig(model="megan", stock=str(tmp_path / "mine.smi")))
    values = [*component(["CCl", "CI", "CF"])]
    toy._lines.timeout = 0.5  # only for what shall run out of it
    values += component(["CBr"])
    toy._lines.timeout = HANGS
    assert component(["CCCC"]) == [1.0]
    for value, says in zip(
        values, ("code 3", "too heavy", "not of the protocol", "no answer in"), strict=True
    ):
        assert isinstance(value, Failure)
        assert says in value.reason


def test_the_clock_of_a_search_does_not_run_while_the_worker_starts(tmp_path):
    path = tmp_path / "toy.py"
    started = f"print('started', file=open({str(tmp_path / 'log')!r}, 'a'), flush=True)"
    path.write_text(TOY.replace("megan._model =", f"{started}\nmegan._model ="))
    model = Megan([sys.executable, str(path)])
    assert (tmp_path / "log").read_text() == "started\n"  # before there is a search
    assert Planner(model, Stock(["C"]))("CCCC") is not None
    model.close()
    assert (tmp_path / "log").read_text() == "started\n"  # and not again


def test_a_worker_without_its_weights_is_told_at_once(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(
        "from ipsrl.workers.lines import serve\n"
        "def f(_):\n    raise OSError('no weights')\nserve(f)"
    )
    with pytest.raises(RunError, match="MEGAN cannot start: OSError: no weights"):
        Megan([sys.executable, str(path)])


def test_without_the_worker_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("IPSRL_WORKERS", str(tmp_path))
    with pytest.raises(RunError, match="ipsrl workers install megan"):
        Synthesis(SynthesisConfig(model="megan"))
    assert "megan" in workers.names()


# --- command --------------------------------------------------------------------------------------


def test_the_command_writes_routes_and_pictures(tmp_path, capsys):
    (tmp_path / "mine.smi").write_text("\n".join([ANILINE, BORONIC, ACID, "nothing"]))
    out = tmp_path / "out"
    words_ = ["molecules", "route", TARGET, "C1CC1", ANILINE, "--stock", str(tmp_path / "mine.smi")]
    assert main([*words_, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert "1 lines of the stock are no molecules" in said.err
    rows = json.loads(said.out)
    assert rows == json.loads((out / "routes.json").read_text())
    assert [row["smiles"] for row in rows] == [TARGET, "C1CC1", ANILINE]
    route = Route.from_json(rows[0]["route"])
    assert (rows[1]["route"], rows[2]["route"]) == (None, {"target": ANILINE, "reactions": []})
    assert (out / "route-1.svg").read_text() == route_svg(route)
    assert sorted(path.name for path in out.glob("*.svg")) == ["route-1.svg", "route-3.svg"]

    assert main([*words_]) == 0
    text = capsys.readouterr().out
    assert route.reactions[0].template in text
    assert "no route within the limits" in text
    assert "in stock" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no molecule to make"),
        (["no molecule"], "is no molecule"),
        (["CCO", "--stock", "absent"], "cannot be read"),
        (["CCO", "--expansions", "0"], "expansions"),
    ],
)
def test_the_command_refuses(arguments, says, capsys, tmp_path):
    assert main(["molecules", "route", *arguments, "--out", str(tmp_path / "out")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(capsys, tmp_path):
    (tmp_path / "out").write_text("mine")
    for command in ("route", "receptor"):
        assert main(["molecules", command, "CCO", "--out", str(tmp_path / "out")]) == 1
        assert "is a file. Name a folder" in capsys.readouterr().err
