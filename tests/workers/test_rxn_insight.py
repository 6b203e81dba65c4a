"""Rxn-INSIGHT in its own environment, over JSON lines."""

import json
import subprocess

import pytest

from ipsrl import workers
from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules.synthesis.reactions import RXN_INSIGHT_AMIDES, RxnInsight, route_is_all_amide

pytestmark = pytest.mark.worker


@pytest.fixture(scope="module")
def rxn_insight():
    try:
        workers.interpreter("rxn-insight")
    except RunError as error:
        pytest.skip(str(error))
    with RxnInsight() as worker:
        yield worker


@pytest.mark.parametrize(
    ("reaction", "kind", "name", "amide"),
    [
        (
            "CC(=O)O.CNC>>CC(=O)N(C)C",
            "Acylation",
            "Acylation of Nitrogen Nucleophiles by Carboxylic Acids",
            True,
        ),
        (
            "COC(=O)c1ccccc1.NCC>>CCNC(=O)c1ccccc1",
            "Acylation",
            "Aminolysis of esters",
            True,
        ),
        (
            "CS(=O)(=O)Cl.Nc1ccccc1>>CS(=O)(=O)Nc1ccccc1",
            "Miscellaneous",
            "Sulfonamide synthesis (Schotten-Baumann) primary amine",
            False,
        ),
        (
            "O=C=Nc1ccccc1.NCC>>O=C(NCC)Nc1ccccc1",
            "Acylation",
            "Urea synthesis via isocyanate and primary amine",
            False,
        ),
        (
            "OB(O)c1ccccc1.Brc1ccccc1>>c1ccc(-c2ccccc2)cc1",
            "C-C Coupling",
            "Suzuki coupling with boronic acids",
            False,
        ),
        ("COc1ccc(Br)cc1>>COc1ccc(C#N)cc1", "Miscellaneous", "OtherReaction", False),
    ],
)
def test_class_and_name(rxn_insight, reaction, kind, name, amide):
    assert rxn_insight.classify(reaction) == (kind, name)
    assert rxn_insight.is_amide(reaction) == amide


def test_it_can_judge_a_route(rxn_insight):
    amide, urea = "CC(=O)O.CNC>>CC(=O)N(C)C", "O=C=Nc1ccccc1.NCC>>O=C(NCC)Nc1ccccc1"
    assert route_is_all_amide([amide, amide], rxn_insight.is_amide)
    assert not route_is_all_amide([amide, urea], rxn_insight.is_amide)


def test_the_names_of_amides_are_names_that_it_has(rxn_insight):
    code = (
        "import json; from importlib.resources import files;"
        "lines = files('rxn_insight.data').joinpath('smirks.json').read_text().splitlines();"
        "print(json.dumps([json.loads(line)['name'].strip('{}') for line in lines]))"
    )
    names = json.loads(subprocess.check_output([workers.interpreter("rxn-insight"), "-c", code]))
    assert set(names) >= RXN_INSIGHT_AMIDES


def test_a_reaction_that_it_refuses_costs_nothing_else(rxn_insight):
    rxn_insight.classify("CC(=O)O.CNC>>CC(=O)N(C)C")
    program, chain = rxn_insight._lines._program, 300 * "C"  # its mapper reads 512 tokens
    with pytest.raises(InvalidInput):
        rxn_insight.classify("CC>>C(")
    with pytest.raises(RunError, match="Rxn-INSIGHT has no class for .*: [A-Z]"):
        rxn_insight.classify(f"{chain}(=O)O.CN>>{chain}(=O)NC")
    assert rxn_insight.classify("CC(=O)O.CCNC>>CC(=O)N(C)CC")[0] == "Acylation"
    assert rxn_insight._lines._program is program
