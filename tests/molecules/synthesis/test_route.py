"""A route is a tree of steps."""

import pytest
from routes import ACID, ANILINE, ROUTE, TARGET

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Route


def test_smiles_of_a_reaction():
    assert ROUTE.reactions[1].smiles == f"{ANILINE}.{ACID}>>O=C(Nc1ccccc1)c1ccc(Br)cc1"


def test_a_route_is_a_tree():
    first, second = ROUTE.reactions
    for reactions in ((second, first), (first, second, second), (second,)):
        with pytest.raises(InvalidInput, match="made already"):
            Route(TARGET, reactions)
