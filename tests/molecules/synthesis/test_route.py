"""A route is a tree of steps, and the same after JSON."""

import dataclasses
import json

import pytest
from routes import ACID, ANILINE, ROUTE, TARGET

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Route


@pytest.mark.parametrize("route", [ROUTE, Route("CCO", ())])
def test_json_and_back(route):
    assert Route.from_json(json.loads(json.dumps(dataclasses.asdict(route)))) == route


def test_smiles_of_a_reaction():
    assert ROUTE.reactions[1].smiles == f"{ANILINE}.{ACID}>>O=C(Nc1ccccc1)c1ccc(Br)cc1"


@pytest.mark.parametrize(
    "content", [None, [], {}, {"target": "C"}, {"target": "C", "reactions": [1]}]
)
def test_what_is_no_route_is_refused(content):
    with pytest.raises(InvalidInput, match="not a route"):
        Route.from_json(content)


def test_a_route_is_a_tree():
    first, second = ROUTE.reactions
    for reactions in ((second, first), (first, second, second), (second,)):
        with pytest.raises(InvalidInput, match="made already"):
            Route(TARGET, reactions)
