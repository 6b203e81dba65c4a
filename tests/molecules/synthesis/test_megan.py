"""MEGAN's worker, with a toy in the model's place."""

import sys

import pytest
from helpers import HANGS
from syntheseus import Molecule

from ipsrl import workers
from ipsrl.errors import RunError
from ipsrl.molecules import Failure, Planner, Stock, Synthesis, SynthesisConfig
from ipsrl.molecules.synthesis import planner
from ipsrl.molecules.synthesis.megan import Megan

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
    [steps] = toy([Molecule("CCCCCC")], num_results=2)
    assert [[part.smiles for part in found.reactants] for found in steps] == [
        ["C", "CCCCC"], ["CC", "CCCC"],
    ]  # fmt: skip
    assert [found.metadata["probability"] for found in steps] == [0.5, 0.5]


def test_a_worker_that_fails_costs_one_molecule(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "_model", lambda name: toy)
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
