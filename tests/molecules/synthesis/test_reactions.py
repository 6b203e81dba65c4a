"""Reactions are read and judged, or refused."""

import pytest

from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules.synthesis.reactions import (
    RxnInsight,
    classify,
    is_amide,
    route_is_all_amide,
)


def test_stereo_is_ignored():
    assert is_amide("C[C@H](N)C(=O)OC.OC(=O)c1ccccc1>>COC(=O)[C@@H](C)NC(=O)c1ccccc1")


AMIDES, UREA = ["CC(=O)O.CNC>>CC(=O)N(C)C", "CC(=O)Cl.NC>>CC(=O)NC"], "O=C=NC.CN>>CNC(=O)NC"


def test_all_amide_is_a_rule_of_every_reaction():
    assert route_is_all_amide(AMIDES)
    assert not route_is_all_amide([*AMIDES, UREA])
    assert not route_is_all_amide([UREA])
    assert route_is_all_amide([])  # a molecule that is bought needs no other chemistry
    assert not route_is_all_amide(AMIDES, is_amide=lambda reaction: "Cl" in reaction)


@pytest.mark.parametrize(
    "reaction",
    [
        "", ">>", "CC", "CC>>", ">>CC", "CC>CC", "CC>>CC>>CC", "CC>>C(", "C..C>>CC", "nonsense>>CC",
        "CC>>[Xx]", "CC>>" + "C" * 10_000, "CC>>\0", "CC.>>CC", "CC>>CC |f:0.1|", "\u202eCC>>CC",
    ],
)  # fmt: skip
def test_what_is_no_reaction_is_refused(reaction):
    for function in (classify, is_amide, lambda text: route_is_all_amide([text])):
        with pytest.raises(InvalidInput, match="reaction"):
            function(reaction)


def test_without_its_environment_rxn_insight_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("IPSRL_WORKERS", str(tmp_path))
    with pytest.raises(RunError, match="ipsrl workers install rxn-insight"):
        RxnInsight()
