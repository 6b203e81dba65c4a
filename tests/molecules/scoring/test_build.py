"""Every kind of component that a configuration may name can be built."""

from ipsrl.molecules.config import KINDS
from ipsrl.molecules.scoring.build import _MAKERS


def test_every_kind_has_what_makes_it():
    assert set(_MAKERS) == set(KINDS)
