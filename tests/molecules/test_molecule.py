"""What makes two molecules the same, or alike."""

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED, peak_memory, promised, seconds_where_promised, steps
from rdkit import DataStructs, rdBase
from rdkit.Chem import MolFromSmiles, MolToSmiles, rdMolDescriptors

from ipsrl.molecules.molecule import (
    LONGEST,
    Fingerprint,
    canonical,
    circles,
    fault,
    generic_scaffold,
    internal_diversity,
    random_smiles,
    scaffold,
    similarities,
)

HOSTILE = [
    "", " ", "C(", "c1ccccc", "C1CC", "[", "[]", "[C", "[CH10]", "%", "%1", "C%", "$", "^", "\x00",
    "C\x00C", "Cl" * 64, "(" * 100, "C(C)(C)(C)(C)C", "n1cccc1", "F[F]F", "[Xx]", "C=#C", "\u202eC",
    "é", "C" * 128, "C1" * 60, "[" * 120, "c1" * 40, "*", "[*]", "[H][H]", "[H]", "C.C.C", ".",
    "C..C", "[Og+99]", "[999C]", "C1CCCCC1" * 16, "N" + "(C)" * 40, "@", "C@", "/C=C/", "C/C=C\\C",
]  # fmt: skip


def test_one_molecule_one_name():
    assert {canonical(text) for text in ("OCC", "CCO", "C(C)O", "[CH3]CO")} == {"CCO"}
    assert canonical("C[C@H](N)O") != canonical("C[C@@H](N)O")


@pytest.mark.parametrize("text", [None, "", "C(", "n1cccc1", "C" + "(C)" * 4 + "C"])
def test_what_is_no_molecule_has_no_name(text):
    assert canonical(text) is None


def test_scaffolds_by_hand():
    text = "CC(=O)Nc1ccc(CC2CCNC2=O)cc1"  # rings, their link, and what hangs on a ring by "="
    assert scaffold(text) == canonical("O=C1NCCC1Cc1ccccc1")
    assert scaffold("CCO") == generic_scaffold("CCO") == ""
    assert generic_scaffold("c1ccncc1C") == "C1CCCCC1"
    assert generic_scaffold("c1ccncc1C") == generic_scaffold("CC1CCOCC1")


@pytest.mark.parametrize(
    ("text", "graph"),
    [
        ("O=C1CCCCC1", "C1CCCCC1"),  # what hangs on a ring by "=" is neither ring nor link
        ("O=C(c1ccccc1)c1ccccc1", "C1CCC(CC2CCCCC2)CC1"),  # nor what hangs on a link
        ("C=C1C(=O)N(C)c2ccccc21", "C1CCC2CCCC2C1"),
        ("CC(=O)OC", ""),
        ("C1CC1.c1ccccc1.CCO", "C1CC1.C1CCCCC1"),
        ("[2H]C1CC1", "C1CC1"),
        ("F/C=C/C1CCC1", "C1CCC1"),
        ("C1CS123(CC2)CC3", "C1CC123(CC2)CC3"),  # more neighbours than carbon can have
    ],
)
def test_a_generic_scaffold_is_the_graph_of_rings_and_links(text, graph):
    assert generic_scaffold(text) == graph


ISOMERS = ["C[C@H]1CC[C@@H](/C=C/c2ccccc2)CC1", "C[C@@H]1CC[C@@H](/C=C/c2ccccc2)CC1",
           "C[C@H]1CC[C@@H](/C=C\\c2ccccc2)CC1", "CC1CCC(C=Cc2ccccc2)CC1"]  # fmt: skip


def test_isomers_have_one_scaffold_unless_it_keeps_their_marks():
    assert {scaffold(text) for text in ISOMERS} == {"C(=CC1CCCCC1)c1ccccc1"}
    assert len({generic_scaffold(text) for text in ISOMERS}) == 1
    kept = {scaffold(text, stereo=True) for text in ISOMERS}
    assert len(kept) == 3  # E, Z and neither


# --- one molecule, one name ---------------------------------------------------------------------

# RDKit writes each of these in two ways, and reading the one writes the other.
UNSTEADY = "O=C(C[C@]1(c2ccc(-c3ccc(F)cc3)cc2)C2CC3CC1CC(C2)[C@@H]3O)N1CC(O)C1"


def test_rdkits_form_is_read_and_written_until_it_is_the_same():
    """A form that is not RDKit's own form of itself: the reason for what follows."""
    assert MolToSmiles(MolFromSmiles(UNSTEADY)) != UNSTEADY
    forms = {random_smiles(UNSTEADY, seed) for seed in range(40)} | {UNSTEADY}
    assert len(forms) > 20
    assert len({canonical(form) for form in forms}) == 1
    assert len({scaffold(canonical(form)) for form in forms}) == 1


def names_of(molecules: list[str], writings: int) -> list[str]:
    """Those of which the name depends on how they are written, or is not its own name."""
    found = []
    for text in molecules:
        forms = [text, *(random_smiles(text, seed) for seed in range(1, writings))]
        names = {canonical(form) for form in forms}
        if len(names) > 1 or {canonical(name) for name in names} != names:
            found.append(text)
    return found


@pytest.mark.parametrize("file", ["zinc250k", "chembl_78k"])
def test_one_molecule_of_the_data_has_one_name(file):
    """The whole measurement, 100,000 molecules in four writings, is in docs/molecules.md."""
    path = SHARED / f"data/chem/{file}.smi.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    assert names_of([line.split()[0] for line in lines[1000:1300]], 3) == []


# --- what an oracle cannot be asked for -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("C(", "RDKit cannot read it"),
        ("", "RDKit cannot read it"),
        ("*", "attachment point"),
        ("*c1ccccc1", "attachment point"),
        ("[1*]CC[2*]", "attachment point"),
        ("[CH3:1]CO", "numbers of a reaction"),
        ("[CH3:7][OH:8]", "numbers of a reaction"),
        ("[H+]", "hydrogen or proton stands alone"),
        ("CCO.[H+]", "hydrogen or proton stands alone"),
        ("[H-]", "hydrogen or proton stands alone"),
        ("[2H+].CCN", "hydrogen or proton stands alone"),
        ("[H]", "hydrogen or proton stands alone"),
        ("C[CH2]", "radical"),
        ("C[C]C", "radical"),
        ("CC(C)(C)N[O]", "radical"),
        ("[O]", "radical"),
        ("C[S]", "radical"),
        ("[B]", "radical"),
        ("[GeH]C", "radical"),
        ("[Sn](C)(C)C", "radical"),
        ("C[Al]C", "radical"),
        ("[H][H]", "hydrogen or proton stands alone"),
        ("CC.[2H][2H]", "hydrogen or proton stands alone"),
        ("c1ccccc1[CH2:0]C", "numbers of a reaction"),
    ],
)
def test_a_notation_of_something_else_is_not_a_molecule(text, says):
    assert says in fault(text)
    assert canonical(text) is None


@pytest.mark.parametrize(
    "text",
    ["C", "C[Sn](C)(C)C", "Cl[Sn]Cl", "[Sn+2]", "C[GeH3]", "[Al+3]",
     "[2H]C([2H])[2H]", "[13CH4]", "C[N+](C)(C)C", "O=[N+]([O-])c1ccccc1",
     "[C-]#[O+]", "CC(=O)[O-].[Na+]", "CC(=O)[O-].[Cu+2]", "CS(C)=O", "C[S+](C)[O-]",
     "F[B-](F)(F)F", "[OH3+]"],
)  # fmt: skip
def test_charges_isotopes_and_metals_are_molecules(text):
    assert fault(text) == ""
    assert canonical(text) is not None


def test_similarities_by_hand():
    smiles = ["CCO", "CCN", "c1ccccc1"]
    found = similarities(smiles, smiles)
    np.testing.assert_array_equal(np.diag(found), 1)
    np.testing.assert_array_equal(found, found.T)
    # Environments of radius 0 to 2 of CCO: CH3, CH2, OH, and with neighbours CC, CCO, CO: six;
    # CCN shares CH3, CH2 and CC (the end's neighbourhood): 3 / (6 + 6 - 3).
    assert found[0, 1] == pytest.approx(3 / 9)
    assert found[0, 2] == 0
    assert similarities([], smiles).shape == (0, 3)


def test_fingerprints_by_radius_counts_and_features():
    """Radius 0 of alkanes: CH3 and CH2, so all are alike but for counts: butane 2 and 2, pentane 2
    and 3: (2 + 2) / (2 + 3)."""
    butane, pentane = ["CCCC"], ["CCCCC"]
    assert similarities(butane, pentane, Fingerprint(0)) == 1
    assert similarities(butane, pentane, Fingerprint(0, counts=True)) == pytest.approx(4 / 5)
    drugs = ["CC(=O)Nc1ccc(O)cc1"], ["CCC(=O)Nc1ccc(O)cc1"]
    assert 0 < similarities(*drugs, Fingerprint(3)) < similarities(*drugs) < 1
    # CH3, CH2, Cl or Br: 2 of 4 by atoms; by features there are halogens and nothing special.
    halides = ["CCCCl"], ["CCCBr"]
    assert similarities(*halides, Fingerprint(0)) == pytest.approx(2 / 4)
    assert similarities(*halides, Fingerprint(0, features=True)) == 1


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("features", [False, True])
def test_every_fingerprint_is_a_similarity(radius, counts, features):
    kind = Fingerprint(radius, counts, features)
    smiles = ["CCO", "CCN", "c1ccccc1", "CC(=O)Nc1ccc(O)cc1", "CCCCCCO", "OCC(O)CO"]
    found = similarities(smiles, smiles, kind)
    np.testing.assert_array_equal(np.diag(found), 1)
    np.testing.assert_array_equal(found, found.T)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("features", [False, True])
def test_counts_are_those_of_rdkits_older_function(features):
    """With which REINVENT4 and Saturn compute similarities: its unfolded counts."""
    smiles = ["CC(=O)Nc1ccc(O)cc1", "CCOC(=O)c1ccc(N)cc1", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"]
    with rdBase.BlockLogs():  # it is deprecated
        theirs = [
            rdMolDescriptors.GetMorganFingerprint(
                MolFromSmiles(text), 3, useCounts=True, useFeatures=features
            )
            for text in smiles
        ]
    expected = [DataStructs.BulkTanimotoSimilarity(one, theirs) for one in theirs]
    found = similarities(smiles, smiles, Fingerprint(3, True, features))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_internal_diversity_by_hand():
    smiles = ["CCO", "CCN", "c1ccccc1"]
    pairs = [1 - 3 / 9, 1, 1]
    assert internal_diversity(smiles) == pytest.approx(np.mean(pairs))
    assert internal_diversity(["CCO", "CCO"]) == 0
    assert internal_diversity(["CCO"]) == 0


def test_circles_by_hand():
    """Ethanol and ethylamine are alike by 3 / 9, and neither is like benzene."""
    smiles = ["CCO", "CCN", "c1ccccc1"]
    assert circles(smiles, 0.6) == 3
    assert circles(smiles, 0.7) == 2  # 1 - 3 / 9 is not more
    assert circles(["CCO", "OCC"], 0.0) == 1
    assert circles([], 0.7) == 0


def test_circles_are_apart_and_leave_no_room():
    drawn = ["CCO", "CCN", "CCCO", "CCCN", "c1ccccc1", "c1ccccc1C", "C1CCNC1", "CC1CCNC1", "CC=O"]
    apart = 1 - similarities(drawn, drawn)
    for distance in (0.3, 0.5, 0.7):
        taken: list[int] = []
        for i in range(len(drawn)):
            if all(apart[i, j] > distance for j in taken):
                taken.append(i)
        assert circles(drawn, distance) == len(taken)
        assert all(i in taken or apart[i, taken].min() <= distance for i in range(len(drawn)))


def test_random_smiles_are_the_same_molecule():
    text = canonical("CC(=O)Nc1ccc(CC2CCNC2=O)cc1") or ""
    forms = {random_smiles(text, seed) for seed in range(30)}
    assert len(forms) > 10
    assert {canonical(form) for form in forms} == {text}
    assert random_smiles(text, 3) == random_smiles(text, 3)


def hostile(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    words = "C c N n O o S s F Cl Br I ( ) [ ] = # 1 2 3 %10 @ + - H / . * [nH] [O-] [N+]"
    pieces = [*words.split(), "\\"]
    made = ["".join(rng.choices(pieces, k=rng.randint(1, 60))) for _ in range(count)]
    return HOSTILE + made


def check_hostile(count: int, seed: int) -> None:
    """Every text is a molecule or not; of a molecule everything can be asked.  Prints how many."""
    texts, molecules = hostile(count, seed), 0
    for text in texts:
        name = canonical(text)
        if name is not None:
            molecules += 1
            assert canonical(name) is not None, text
            assert isinstance(scaffold(name), str)
            assert isinstance(generic_scaffold(name), str)
            assert similarities([name], [name])[0, 0] == 1
            random_smiles(name, seed)
    print(len(texts), molecules)


@pytest.mark.promise(number=3)
def test_hostile_smiles(record_property):
    """In processes of their own, because a crash of RDKit would end this one."""
    seeds, count = promised(5, 1), promised(20_000, 2_000)
    texts, molecules = 0, 0
    for seed in range(seeds):
        code = f"import test_molecule; test_molecule.check_hostile({count}, {seed})"
        answer = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        more = map(int, answer.stdout.split())
        texts, molecules = texts + next(more), molecules + next(more)
    assert texts >= seeds * count
    assert molecules > 20 * seeds
    record_property("figure", f"{texts:,} texts: {molecules:,} molecules, and no crash")


@pytest.mark.promise(number=4)
@pytest.mark.parametrize("text", ["C", "C(", "C1", "[", "(", "C.", "\x00", "\u202e"])
def test_megabytes_are_not_a_molecule(text, record_property):
    """Not even read."""
    text *= 10**7 // len(text)
    assert fault(text) == "RDKit cannot read it"
    assert steps(lambda: canonical(text)) < 20
    assert peak_memory(lambda: canonical(text)) < 2**12
    seconds_where_promised(lambda: canonical(text), 0.1)
    record_property("figure", "SMILES of 10 MB")


def test_the_longest_that_is_read():
    assert canonical("C" * LONGEST) == "C" * LONGEST
    assert canonical("C" * (LONGEST + 1)) is None


def test_a_canonical_form_that_cannot_be_read_is_no_molecule():
    """Drawn in a search: RDKit reads it, and not what it then writes."""
    drawn = "N1([C@H](c2ccc(cc2)F)C)C(CS[C@]2N=n3NC(N=C3C=2SC(CCc2ccc(O)cc2)=NC2=C1C(=O)CCCC2)=O)=O"
    assert MolFromSmiles(drawn) is not None
    assert canonical(drawn) is None
