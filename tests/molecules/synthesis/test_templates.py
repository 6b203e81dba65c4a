"""Templates: each works in both directions, and none invents, loses or scrambles anything."""

import gzip

import numpy as np
import pytest
from helpers import SHARED
from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions, rdMolDescriptors

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Template, read_templates
from ipsrl.molecules.molecule import canonical, random_smiles
from ipsrl.molecules.synthesis.templates import digest, standard_form, templates

LIBRARY = {template.name: template for template in templates()}

AMIDE = LIBRARY["amide from an acid"]
SULFONAMIDE = LIBRARY["sulfonamide"]
UREA = LIBRARY["urea from two amines"]
MITSUNOBU = LIBRARY["Mitsunobu ether synthesis"]


def drawn(name: str, n: int, seed: int, having: str = "") -> list[str]:
    """Molecules of shared data, those that contain a text."""
    path = SHARED / "data" / "chem" / name
    if not path.exists():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    with gzip.open(path, "rt") as file:
        lines = [text for line in file if having in (text := line.split()[0])]
    return [canonical(text) for text in np.random.default_rng(seed).choice(lines, n, replace=False)]


# --- worked examples ------------------------------------------------------------------------------


@pytest.mark.parametrize("template", templates(), ids=lambda template: template.name)
def test_the_example_works_in_both_directions(template):
    reactants, product = template.example.split(">>")
    reactants = tuple(canonical(text) for text in reactants.split("."))
    assert canonical(product) in template.products(reactants)
    assert reactants in template.reactants(product)


def test_names_are_unique_and_there_are_enough():
    assert len(LIBRARY) == len(templates()) >= 30


def test_no_reaction_leaves_the_chloride_of_an_acid_as_it_is():
    makers = {t.name for t in templates() if t.reactants("O=C(Cl)c1ccc(NC(=O)CC)cc1")}
    assert makers == {"acyl chloride from an acid"}
    assert not any(t.reactants("O=C(Cl)c1ccc(S(=O)(=O)Cl)cc1") for t in templates())
    # nor an isocyanate: its ester is not hydrolysed
    makers = {t.name for t in templates() if t.reactants("CC(=O)CCCN=C=O")}
    assert makers == {"isocyanate from an amine", "Curtius rearrangement"}


@pytest.mark.parametrize(
    ("lasts", "does_not"),
    [
        ("CC(=O)NCCCBr", "NCCCBr"),  # would alkylate itself
        ("CN(C)CCCNC(=O)CBr", "CNCCCNC(=O)CBr"),
        ("COc1ccc(C(=O)Cl)cc1", "Oc1ccc(C(=O)Cl)cc1"),
        ("CN(C)c1ccc(N=C=O)cc1", "CNc1ccc(N=C=O)cc1"),
        ("CC(=O)NCCC=O", "CNCCCC=O"),  # an imine
        ("O=C1c2ccccc2C(=O)N1CCl", "CN(Cc1ccccc1)CBr"),
    ],
)
def test_what_reacts_with_itself_is_not_made(lasts, does_not):
    assert any(template.reactants(lasts) for template in templates())
    assert not any(template.reactants(does_not) for template in templates())


@pytest.mark.parametrize(
    ("halide", "reacts"),
    [
        ("Clc1ccccn1", True), ("Clc1cccnc1", False),  # 2- and 3-pyridyl
        ("Clc1ccnc2ccccc12", True), ("Fc1ccc2ncccc2c1", False),  # 4- and 6-quinolyl
        ("Clc1ncnc2[nH]cnc12", True), ("Fc1ccc2[nH]cnc2c1", False),  # across the fusion of rings
        ("Clc1nccs1", True), ("Clc1cscn1", False), ("Clc1cc[nH]n1", False), ("Clc1ccon1", False),
        ("Cc1nn(C)c(Cl)c1C=O", True),
        ("N#Cc1ccc(F)cc1", True), ("N#Cc1cccc(F)c1", False), ("Fc1ccccc1", False),
    ],
)  # fmt: skip
def test_snar_needs_a_poor_ring(halide, reacts):
    assert bool(LIBRARY["SNAr with an amine"].products([halide, "C1COCCN1"])) == reacts


def test_snar_puts_the_amine_where_the_halide_was():
    snar = LIBRARY["SNAr with an amine"]
    assert snar.products(["N#Cc1ccc(F)cc1", "CNC"]) == ["CN(C)c1ccc(C#N)cc1"]


@pytest.mark.parametrize(
    ("name", "product", "makes"),
    [
        # what would react first is in the flask
        ("ester from an acid and an alcohol", "O=C(OC1CCOCC1)c1ccccc1", True),
        ("ester from an acid and an alcohol", "O=C(OC1CCNCC1)c1ccccc1", False),
        ("carbamate from an isocyanate", "O=C(Nc1ccccc1)OC1CCNCC1", False),
        ("Williamson ether synthesis", "CN(C)CCc1ccc(OCc2ccccc2)cc1", True),
        ("Williamson ether synthesis", "NCCc1ccc(OCc2ccccc2)cc1", False),
        ("Mitsunobu ether synthesis", "c1ccc(OC2CCNCC2)cc1", False),
        ("amide from an acid", "CC(C)(C)OC(=O)NCC(=O)N1CCCCC1", True),
        ("amide from an acid", "NCC(=O)N1CCCCC1", False),
        ("amide from an acid", "O=C(O)CNC(=O)c1ccccc1", False),
        ("Grignard or organolithium addition to a carbonyl", "COc1ccc(C(O)c2ccccc2)cc1", True),
        ("ketone from a Weinreb amide", "CC(=O)c1ccc(N)cc1", False),
        ("Friedel-Crafts acylation", "Nc1ccc(C(=O)c2ccccc2)cc1", False),
        ("Vilsmeier formylation", "CN(C)c1ccc(C=O)cc1", True),
        ("Vilsmeier formylation", "Nc1ccc(C=O)cc1", False),
        # what the place forbids
        ("N-alkylation of an amine", "CC(C)CN1CCOCC1", True),
        ("N-alkylation of an amine", "CC(C)(C)CN1CCOCC1", False),
        ("N-alkylation of an azole or lactam", "Cn1ccc(-c2ccccc2)n1", True),
        ("N-alkylation of an azole or lactam", "Cn1nccc1-c1ccccc1", False),
        ("SNAr with an alcohol", "CCOc1ccncc1", True),
        ("reductive amination of a ketone", "CC(c1ccccc1)N1CCOCC1", True),
        ("reductive amination of a ketone", "C(c1ccccc1)(c1ccccc1)N1CCOCC1", False),
        ("Suzuki coupling of arenes", "c1ccc(-c2ccccn2)nc1", False),
        ("isocyanate from an amine", "O=C=Nc1ccc(C(=O)O)cc1", False),
    ],
)
def test_what_a_chemist_would_not_try(name, product, makes):
    assert bool(LIBRARY[name].reactants(canonical(product))) == makes


def test_a_weak_acceptor_needs_a_fluoride():
    snar = LIBRARY["SNAr with an alcohol"]
    assert snar.products(["NC(=O)c1ccc(Cl)cc1", "CCO"]) == []
    assert snar.products(["NC(=O)c1ccc(F)cc1", "CCO"])
    assert snar.products(["O=[N+]([O-])c1ccc(Cl)cc1", "CCO"])


def test_an_anhydride_of_a_carbamic_acid_gives_no_imide():
    """It gives the amide, and carbon dioxide."""
    imide = LIBRARY["imide from a cyclic anhydride"]
    assert not imide.products(["O=C1NC(C)C(=O)O1", "NCc1ccccc1"])
    assert imide.products(["O=C1CCC(=O)O1", "NCc1ccccc1"])


# --- laws -----------------------------------------------------------------------------------------


def check_forward(smiles: list[str], least: int) -> None:
    """Every backward step's reactants, run forward by a reaction of RDKit, give the molecule."""
    forward = {}
    for template in templates():
        forward[template.name] = rdChemReactions.ReactionFromSmarts(template.forward)
    steps = 0
    for molecule in smiles:
        for template in templates():
            for reactants in template.reactants(molecule):
                assert all(canonical(text) == text for text in reactants)
                made = set()
                parts = tuple(Chem.MolFromSmiles(text) for text in reactants)
                with rdBase.BlockLogs():
                    for (product,) in forward[template.name].RunReactants(parts):
                        if not Chem.SanitizeMol(product, catchErrors=True):
                            made.add(canonical(Chem.MolToSmiles(product)))
                assert molecule in made, (template.name, reactants)
                steps += 1
    assert steps >= least


def test_forward_gives_the_molecule_again():
    check_forward(drawn("chembl_78k.smi.gz", 50, seed=1), least=300)


@pytest.mark.slow
def test_forward_gives_the_molecule_again_on_many():
    molecules = drawn("chembl_78k.smi.gz", 500, seed=2) + drawn("zinc250k.smi.gz", 200, seed=3)
    check_forward(molecules, least=5000)


def mirrored(smiles: str) -> str:
    return canonical(smiles.replace("@@", "?").replace("@", "@@").replace("?", "@"))


def test_mirror_images_are_made_of_mirror_images():
    chiral = drawn("zinc250k.smi.gz", 20, seed=4, having="@")
    assert sum(mirrored(text) != text for text in chiral) > 15  # the law is not about nothing
    centres = 0
    for molecule in chiral:
        for template in templates():
            found = template.reactants(molecule)
            there = {tuple(map(mirrored, reactants)) for reactants in found}
            assert there == set(template.reactants(mirrored(molecule)))
            centres += sum(text.count("@") > 0 for reactants in found for text in reactants)
    assert centres > 50


def test_how_a_molecule_is_written_does_not_matter():
    for molecule in drawn("chembl_78k.smi.gz", 5, seed=5):
        for template in templates():
            other = random_smiles(molecule, seed=6)
            assert set(template.reactants(other)) == set(template.reactants(molecule))


# --- by hand --------------------------------------------------------------------------------------


def test_an_amide_is_no_urea_carbamate_sulfonamide_or_imide():
    assert AMIDE.reactants("CNC(C)=O") == [("CC(=O)O", "CN")]
    for other in ("CNC(=O)NC", "CNC(=O)OC", "CNS(C)(=O)=O", "CN(C(C)=O)C(C)=O", "CC(=O)OC"):
        assert AMIDE.reactants(other) == []
    assert SULFONAMIDE.reactants("CNS(C)(=O)=O") == [("CS(=O)(=O)Cl", "CN")]
    assert UREA.reactants("CNC(=O)NC") == [("CN", "CN")]


@pytest.mark.parametrize("nitrogen", ["CC(N)=O", "CS(N)(=O)=O", "NC(N)=O", "CC(=N)N", "c1cc[nH]c1"])
def test_what_is_no_amine_forms_no_amide(nitrogen):
    assert AMIDE.products(["CC(=O)O", nitrogen]) == []


def test_a_fluoride_couples_in_no_suzuki_reaction():
    suzuki = LIBRARY["Suzuki coupling of arenes"]
    assert suzuki.products(["OB(O)c1ccccc1", "Fc1ccccc1"]) == []
    for halogen in ("Cl", "Br", "I"):
        assert suzuki.products(["OB(O)c1ccccc1", f"{halogen}c1ccccc1"]) == ["c1ccc(-c2ccccc2)cc1"]


def test_a_ring_is_not_cut_in_two():
    assert AMIDE.reactants("O=C1CCCN1C") == []


def test_a_centre_away_from_the_reaction_keeps_its_hand():
    # L-alanine's amide comes of L-alanine, and phenylethylamine's of the same enantiomer.
    assert AMIDE.reactants("C[C@H](NC(=O)OC(C)(C)C)C(=O)NC") == [
        (canonical("C[C@H](NC(=O)OC(C)(C)C)C(=O)O"), "CN")
    ]
    # The ranks at the centre (N, phenyl, methyl, H) are the same in amine and amide: so is R.
    [amide] = AMIDE.products(["CC(=O)O", "C[C@@H](N)c1ccccc1"])
    for smiles in ("C[C@@H](N)c1ccccc1", amide):
        assert [hand for _, hand in Chem.FindMolChiralCenters(Chem.MolFromSmiles(smiles))] == ["R"]


def test_a_reaction_at_a_centre_does_nothing():
    # Mitsunobu's reaction inverts; the template does not say so, and so may not touch it.
    assert MITSUNOBU.reactants("CC[C@H](C)Oc1ccccc1") == []
    assert MITSUNOBU.products(["CC[C@H](C)O", "Oc1ccccc1"]) == []
    assert MITSUNOBU.reactants("CCC(C)Oc1ccccc1") == [("CCC(C)O", "Oc1ccccc1")]
    amination = LIBRARY["reductive amination of a ketone"]
    assert amination.reactants("CC[C@H](C)NC") == []  # the racemate would come of it
    assert amination.reactants("CCC(C)NC") == [("CCC(C)=O", "CN")]


def test_selectivity_counts_what_the_flask_makes():
    # Acetic acid and methylamine: one amide.  Acetic acid and glycine: N-acetylglycine, and
    # glycylglycine, so 1/2.  1-methyl-1,2-ethanediamine: two amides of acetic acid, so 1/2.
    assert AMIDE.selectivity(["CC(=O)O", "CN"]) == 1
    assert AMIDE.selectivity(["CC(=O)O", "NCC(=O)O"]) == 1 / 2
    assert AMIDE.selectivity(["CC(=O)O", "CC(N)CN"]) == 1 / 2


def test_what_is_no_molecule_has_no_reactants():
    assert AMIDE.reactants("no molecule") == []


# --- templates of one's own -----------------------------------------------------------------------

OWN = """
[patterns]
acid = 'CX3;$(C[#6])'
[[template]]
name = "methyl ester"
class = "esterification"
forward = '[{acid}:1](=[O:2])[OX2;H1:3]>>[C:1](=[O:2])[O:3]C'
backward = ['[{acid}:1](=[O:2])[O:3][CH3]>>[C:1](=[O:2])[O:3]']
example = 'CC(=O)O>>CC(=O)OC'
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    [template] = read_templates(path)
    assert template.products(["CC(=O)O"]) == ["COC(C)=O"]
    assert template.reactants("COC(C)=O") == [("CC(=O)O",)]
    assert (template.reaction_class, template.confidence) == ("esterification", 0.5)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("backward", "backwards", "not a file of templates.*backward"),
        ("[C:1](=[O:2])[O:3]C'", "[C:1](=[O:2])[O:3'", "not a SMIRKS"),
        ("[C:1](=[O:2])[O:3]C'", "[C:1](=[O:2])[O:3]C.C'", "not one product"),
        ("[[template]]", "[[template]", "not a file of templates"),
        ("class =", "confidence = 1.0\nclass =", "not between 0 and 1"),
        ("class =", "without = ['N', 'N']\nclass =", "not one SMARTS for each of its 1 reactants"),
        ("class =", "without = ['N(']\nclass =", "not one SMARTS for each of its 1 reactants"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, before, after, says):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(before, after))
    with pytest.raises(InvalidInput, match=says):
        read_templates(path)
    with pytest.raises(InvalidInput, match="is not a file of templates .FileNotFoundError"):
        read_templates(tmp_path / "absent.toml")


def test_the_digest_is_that_of_the_content():
    library = templates()
    assert digest(library) == digest(list(library))
    one = library[0]
    other = Template(one.name, one.reaction_class, one.forward, one.backward, one.example, 0.123)
    assert digest([one]) != digest([other])


# --- the standard form ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("imine", "amine"),
    [
        ("N=c1[nH]ccs1", "Nc1nccs1"),
        ("CC(=O)N=c1[nH]ccs1", "CC(=O)Nc1nccs1"),
        ("N=c1[nH]c(=N)c2ccccc2[nH]1", "Nc1nc(N)c2ccccc2n1"),  # two
        ("CCN=c1cc[nH]c2ccccc12", "CCNc1ccnc2ccccc12"),  # across the ring
        ("CN=c1sccn1C", "CN=c1sccn1C"),  # no hydrogen to move
        ("O=c1cccc[nH]1", "O=c1cccc[nH]1"),  # a lactam stays
        ("CC=NC", "CC=NC"),  # no ring
    ],
)
def test_imines_at_rings_are_amines(imine, amine):
    assert standard_form(imine) == standard_form(amine) == canonical(amine)


@pytest.mark.parametrize(
    ("charged", "form"),
    [
        ("C[NH3+]", "CN"),
        ("CC(=O)[O-]", "CC(=O)O"),
        ("C[NH+]1CC[NH2+]CC1", "CN1CCNCC1"),
        ("[NH3+][C@@H](C)C(=O)[O-]", "C[C@H](N)C(=O)O"),  # and its centre
        ("NC(=[NH2+])c1ccccc1", "N=C(N)c1ccccc1"),
        ("c1cc[nH+]cc1", "c1ccncc1"),
        ("C[N+](C)(C)C", "C[N+](C)(C)C"),  # no proton to take
        ("O=[N+]([O-])c1ccccc1", "O=[N+]([O-])c1ccccc1"),
        ("C[n+]1ccccc1", "C[n+]1ccccc1"),
        ("not a molecule", None),
        ("", None),
    ],
)
def test_charges_of_protons_are_taken_away(charged, form):
    assert standard_form(charged) == form


def test_the_standard_form_is_a_tautomer():
    changed = 0
    for molecule in drawn("chembl_78k.smi.gz", 300, seed=7):
        form = standard_form(molecule)
        before, after = (Chem.AddHs(Chem.MolFromSmiles(text)) for text in (molecule, form))
        assert rdMolDescriptors.CalcMolFormula(before) == rdMolDescriptors.CalcMolFormula(after)
        assert standard_form(form) == form == canonical(form)
        changed += form != molecule
    assert changed > 10
