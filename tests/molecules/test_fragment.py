"""A fragment says where it may be substituted, and which molecules have it there."""

import pytest

from ipsrl.errors import InvalidInput
from ipsrl.molecules.fragment import Fragment


@pytest.mark.parametrize(
    ("fragment", "molecule", "has"),
    [
        ("c1ccc(*)cc1", "Cc1ccccc1", True),
        ("c1ccc(*)cc1", "c1ccccc1", False),  # no atom at *
        ("c1ccc(*)cc1", "Cc1ccccc1C", False),  # one where there is no *
        ("c1ccc(*)cc1C(=O)N*", "CCc1cccc(C(=O)NC)c1", True),
        ("c1ccc(*)cc1C(=O)N*", "CCc1ccc(C(=O)NC)cc1", False),  # para
        ("c1ccc(*)cc1C(=O)N*", "CCc1cccc(C(=O)N(C)C)c1", False),
        ("CC(=O)N*", "CC(=O)N=C", False),  # its bond is single
        ("CC(=O)N[*:1]", "CC(=O)Nc1ccccc1", True),
    ],
)
def test_which_molecules_have_it(fragment, molecule, has):
    assert Fragment(fragment).is_in(molecule) is has


def test_numbered_points_are_points():
    assert Fragment("C([*:1])O[1*]").written == "C(*)O*"


@pytest.mark.parametrize(
    ("fragment", "says"),
    [
        ("c1ccc(*", "is not the SMILES of one fragment"),
        ("", "there is no fragment"),
        ("c1ccccc1", "does not say where it may be substituted. Write \\*"),
        ("*", "there is no fragment"),
        ("CC*.O*", "is not the SMILES of one fragment"),
        ("C1CC(*1)", "not the SMILES|several bonds"),
        ("C1CC*1", "a \\* with several bonds"),
        ("CC*C", "a \\* with several bonds"),
        ("*c1ccccc1", r"Write c1\(\*\)ccccc1\."),
        ("[*:1]Cc1cccnc1[*:2]", r"Write C\(\*\)c1cccnc1\*\."),
    ],
)
def test_what_is_refused(fragment, says):
    with pytest.raises(InvalidInput, match=says):
        Fragment(fragment)


def test_what_is_proposed_instead_is_accepted():
    for wrong in ("*c1ccccc1", "*CCO*", "*N(*)C"):
        with pytest.raises(InvalidInput) as refused:
            Fragment(wrong)
        proposed = str(refused.value).partition("Write ")[2].removesuffix(".")
        assert Fragment(proposed).written == proposed
