"""A reaction has the class of what changes in it, however it is written."""

import pytest
from rdkit import Chem

from ipsrl.molecules.synthesis.reaction_rules import RULES
from ipsrl.molecules.synthesis.reactions import AMIDE, HETEROCYCLE, OTHER, classify, is_amide

EXAMPLES = {
    "amide coupling": [
        "CC(=O)O.NCc1ccccc1>>CC(=O)NCc1ccccc1",
        "CC(=O)O.CNC>>CC(=O)N(C)C",  # a secondary amine
        "O=CO.Nc1ccccc1>>O=CNc1ccccc1",
        "OC(=O)c1ccccc1.CS(N)(=O)=O>>CS(=O)(=O)NC(=O)c1ccccc1",
        "OC(=O)c1ccccc1.NN>>NNC(=O)c1ccccc1",
        "NCCCC(=O)O>>O=C1CCCN1",  # within one molecule
        "OC(=O)c1ccccc1>>NC(=O)c1ccccc1",  # ammonia is not written
        "OC(=O)CCC(=O)O.CN>>CNC(=O)CCC(=O)NC",  # twice
        # reagents, a salt of the amine, atom maps
        "[Na+].[O-]C(=O)c1ccccc1.Cl.NCC>CN(C)C(On1nnc2cccnc21)=[N+](C)C>CCNC(=O)c1ccccc1",
        "[CH3:1][C:2](=[O:3])[OH:4].[NH2:5][CH3:6]>>[CH3:1][C:2](=[O:3])[NH:5][CH3:6].[OH2:4]",
    ],
    "ester aminolysis": [
        "COC(=O)c1ccccc1.NCC>>CCNC(=O)c1ccccc1",
        "O=C1CCCO1.CNC>>CN(C)C(=O)CCCO",
        "CCOC(=O)c1ccccc1>>NNC(=O)c1ccccc1",
    ],
    "N-acylation": [
        "CC(=O)Cl.NCc1ccccc1>>CC(=O)NCc1ccccc1",
        "CC(=O)OC(C)=O.CNc1ccccc1>>CC(=O)N(C)c1ccccc1",
        "O=C1CCC(=O)O1.NCc1ccccc1>>O=C(O)CCC(=O)NCc1ccccc1",
        "O=C1OC(=O)c2ccccc21.NCc1ccccc1>>O=C1N(Cc2ccccc2)C(=O)c2ccccc21",
        "O=C(ON1C(=O)CCC1=O)c1ccccc1.CN>>CNC(=O)c1ccccc1",
        "O=C(c1ccccc1)n1ccnc1.CN>>CNC(=O)c1ccccc1",
        "O=C(c1ccc[nH]1)C(Cl)(Cl)Cl.CN>>CNC(=O)c1ccc[nH]1",
        "CC(=O)Cl.c1ccc2[nH]ccc2c1>>CC(=O)n1ccc2ccccc21",
    ],
    "sulfonamide formation": [
        "CS(=O)(=O)Cl.Nc1ccccc1>>CS(=O)(=O)Nc1ccccc1",
        "O=S(=O)(Cl)c1ccccc1.C1CCNC1>>O=S(=O)(c1ccccc1)N1CCCC1",
    ],
    "urea formation": [
        "O=C=Nc1ccccc1.CCN>>CCNC(=O)Nc1ccccc1",
        "CN(C)C(=O)Cl.Nc1ccccc1>>CN(C)C(=O)Nc1ccccc1",
        "Nc1ccccc1.NCC1CC1>>O=C(NCC1CC1)Nc1ccccc1",
        "Nc1ccccc1.NCC1CC1.O=C(n1ccnc1)n1ccnc1>>O=C(NCC1CC1)Nc1ccccc1",
        "S=C=Nc1ccccc1.NC1CCCCC1>>S=C(Nc1ccccc1)NC1CCCCC1",
        "O=C(Oc1ccccc1)Nc1ccccc1.C1CCNC1>>O=C(Nc1ccccc1)N1CCCC1",
    ],
    "protection": [
        "NCc1ccccc1.CC(C)(C)OC(=O)OC(=O)OC(C)(C)C>>CC(C)(C)OC(=O)NCc1ccccc1",
        "OCc1ccccc1.CC(C)(C)[Si](C)(C)Cl>>CC(C)(C)[Si](C)(C)OCc1ccccc1",
        "O=C1CCCCC1.OCCO>>C1CCC2(CC1)OCCO2",
    ],
    "carbamate formation": [
        "CCOC(=O)Cl.C1CNCCN1c1ccccc1>>CCOC(=O)N1CCN(c2ccccc2)CC1",
        "O=C=Nc1ccccc1.OC1CCCC1>>O=C(Nc1ccccc1)OC1CCCC1",
    ],
    "esterification": [
        "CC(=O)O.OCc1ccccc1>>CC(=O)OCc1ccccc1",
        "CC(=O)Cl.Oc1ccccc1>>CC(=O)Oc1ccccc1",
        "OC(=O)c1ccccc1>>COC(=O)c1ccccc1",
        "OC(=O)c1ccccc1.CCI>>CCOC(=O)c1ccccc1",
    ],
    "sulfonate formation": ["CS(=O)(=O)Cl.OCc1ccccc1>>CS(=O)(=O)OCc1ccccc1"],
    "Suzuki coupling": [
        "OB(O)c1ccccc1.Brc1ccccn1>>c1ccc(-c2ccccn2)cc1",
        "CC1(C)OB(c2ccccc2)OC1(C)C.Clc1ccccn1>>c1ccc(-c2ccccn2)cc1",
        "[K+].F[B-](F)(F)c1ccccc1.Brc1ccccn1>>c1ccc(-c2ccccn2)cc1",
        "OB(O)c1ccccc1.O=S(=O)(Oc1ccc(C)cc1)C(F)(F)F>>Cc1ccc(-c2ccccc2)cc1",
    ],
    "Chan-Lam coupling": ["OB(O)c1ccccc1.c1c[nH]cn1>>c1ccc(-n2ccnc2)cc1"],
    "Sonogashira coupling": ["Ic1ccccn1.C#Cc1ccccc1>>C(#Cc1ccccn1)c1ccccc1"],
    "Heck reaction": ["Brc1ccccc1.C=CC(=O)OC>>COC(=O)C=Cc1ccccc1"],
    "cross-coupling": [
        "Brc1ccccn1.C[Sn](C)(C)c1ccccc1>>c1ccc(-c2ccccn2)cc1",
        "Brc1ccccn1.Br[Zn]Cc1ccccc1>>c1ccc(Cc2ccccn2)cc1",
        "Brc1ccccn1.BrCc1ccccc1>>c1ccc(Cc2ccccn2)cc1",
    ],
    "SNAr": [
        "O=[N+]([O-])c1ccc(F)cc1.C1CCNCC1>>O=[N+]([O-])c1ccc(N2CCCCC2)cc1",
        "Clc1ccncn1.Oc1ccccc1>>c1ccc(Oc2ccncn2)cc1",
        "Clc1ccncn1.SCc1ccccc1>>c1ccc(CSc2ccncn2)cc1",
    ],
    "N-arylation": [
        "Brc1cccnc1.C1COCCN1>>c1cncc(N2CCOCC2)c1",  # the halide is meta to the nitrogen
        "Ic1ccccc1.O=C1CCCN1>>O=C1CCCN1c1ccccc1",
    ],
    "O- or S-arylation": ["Brc1ccccc1.Oc1ccc(Cl)cc1>>Clc1ccc(Oc2ccccc2)cc1"],
    "reductive amination": [
        "O=Cc1ccccc1.C1COCCN1>>c1ccc(CN2CCOCC2)cc1",
        "O=C1CCOCC1.NCc1ccccc1>>c1ccc(CNC2CCOCC2)cc1",
    ],
    "condensation to C=N": ["O=Cc1ccccc1.NNc1ccccc1>>C(=NNc1ccccc1)c1ccccc1"],
    "N-alkylation": [
        "BrCc1ccccc1.C1CCNCC1>>c1ccc(CN2CCCCC2)cc1",
        "CC(=O)Nc1ccccc1.CI>>CN(C(C)=O)c1ccccc1",  # of an amide: no amide is made
        "OCc1ccccc1.O=C1NC(=O)c2ccccc21>>O=C1c2ccccc2C(=O)N1Cc1ccccc1",
    ],
    "O-alkylation": ["BrCc1ccccc1.Oc1ccc(Cl)cc1>>Clc1ccc(OCc2ccccc2)cc1"],
    "S-alkylation": [
        "BrCc1ccccc1.CCS>>CCSCc1ccccc1",
        "BrCc1ccccc1.S=c1[nH]c2ccccc2[nH]1>>c1ccc(CSc2nc3ccccc3[nH]2)cc1",
    ],
    "ring opening of an epoxide": ["C1OC1COc1ccccc1.CC(C)N>>CC(C)NCC(O)COc1ccccc1"],
    "conjugate addition": ["C=CC(=O)OC.C1COCCN1>>COC(=O)CCN1CCOCC1"],
    "olefination": [
        "O=Cc1ccccc1.CCOC(=O)CP(=O)(OCC)OCC>>CCOC(=O)C=Cc1ccccc1",
        "O=Cc1ccccc1.CC(=O)c1ccncc1>>O=C(C=Cc1ccccc1)c1ccncc1",
    ],
    "addition to a carbonyl": [
        "O=C1CCN(C)CC1.Br[Mg]c1ccccc1>>CN1CCC(O)(c2ccccc2)CC1",
        "O=Cc1ccccc1.CC(C)=O>>CC(=O)CC(O)c1ccccc1",
    ],
    "C-acylation": [
        "O=C(Cl)c1ccccc1.COc1ccccc1>>COc1ccc(C(=O)c2ccccc2)cc1",
        "CON(C)C(=O)c1ccncc1.Br[Mg]c1ccccc1>>O=C(c1ccccc1)c1ccncc1",
    ],
    "C-alkylation": ["CCOC(=O)CC(=O)OCC.BrCc1ccccc1>>CCOC(=O)C(Cc1ccccc1)C(=O)OCC"],
    "addition to a nitrile": ["N#Cc1ccccc1.NO>>N=C(NO)c1ccccc1"],
    "cyanation": ["COc1ccc(Br)cc1>>COc1ccc(C#N)cc1"],
    "borylation": ["COc1ccc(Br)cc1>>COc1ccc(B2OC(C)(C)C(C)(C)O2)cc1"],
    "deprotection": [
        "CC(C)(C)OC(=O)N1CCC(c2ccccc2)CC1>>c1ccc(C2CCNCC2)cc1",
        "CC(C)(C)OC(=O)n1ccc2ccccc21>>c1ccc2[nH]ccc2c1",
        "OC1CCN(Cc2ccccc2)CC1>>OC1CCNCC1",
        "CC(C)(C)[Si](C)(C)OCc1ccccc1>>OCc1ccccc1",
        "COc1ccc(Cl)cc1>>Oc1ccc(Cl)cc1",
        "O=C1N(Cc2ccccc2)C(=O)c2ccccc21>>NCc1ccccc1",
        "C1CCC2(CC1)OCCO2>>O=C1CCCCC1",
    ],
    "ester hydrolysis": [
        "CCOC(=O)c1ccccc1>>OC(=O)c1ccccc1",
        "CC(=O)Oc1ccccc1>>Oc1ccccc1",
        "COC(=O)CCC(=O)OC>>OC(=O)CCC(=O)O",  # twice
    ],
    "amide hydrolysis": [
        "CC(=O)Nc1ccccc1>>Nc1ccccc1",
        "CNC(=O)c1ccccc1>>OC(=O)c1ccccc1",
    ],
    "nitrile hydrolysis": ["N#Cc1ccccc1>>NC(=O)c1ccccc1", "N#Cc1ccccc1>>OC(=O)c1ccccc1"],
    "dehydration": ["NC(=O)c1ccccc1>>N#Cc1ccccc1"],
    "reduction": [
        "O=[N+]([O-])c1ccccc1>>Nc1ccccc1",
        "O=[N+]([O-])c1cccc([N+](=O)[O-])c1>>Nc1cccc(N)c1",  # twice
        "CC(=O)c1ccccc1>>CC(O)c1ccccc1",
        "COC(=O)c1ccccc1>>OCc1ccccc1",
        "CN(C)C(=O)Cc1ccccc1>>CN(C)CCc1ccccc1",
        "N#Cc1ccccc1>>NCc1ccccc1",
        "C(=Cc1ccccc1)c1ccccc1>>C(Cc1ccccc1)c1ccccc1",
    ],
    "oxidation": [
        "OC1CCOCC1>>O=C1CCOCC1",
        "OCc1ccccc1>>OC(=O)c1ccccc1",
        "CSc1ccccc1>>CS(=O)(=O)c1ccccc1",
    ],
    "azidation": ["BrCc1ccccc1>>[N-]=[N+]=NCc1ccccc1"],
    "nitration": ["COc1ccccc1>>COc1ccc([N+](=O)[O-])cc1"],
    "sulfonyl chloride formation": ["SCc1ccccc1>>O=S(=O)(Cl)Cc1ccccc1"],
    "isocyanate formation": ["Nc1ccccc1>>O=C=Nc1ccccc1"],
    "thionation": ["NC(=O)c1ccccc1>>NC(=S)c1ccccc1"],
    "halogenation": [
        "COc1ccccc1>>COc1ccc(Br)cc1",
        "OC(=O)c1ccccc1>>O=C(Cl)c1ccccc1",
        "O=c1[nH]cnc2ccccc12>>Clc1ncnc2ccccc12",
    ],
    HETEROCYCLE: [
        "C#Cc1ccccc1.[N-]=[N+]=NCc1ccccc1>>c1ccc(Cn2cc(-c3ccccc3)nn2)cc1",
        "Nc1ccccc1N.O=C(O)c1ccccc1>>c1ccc(-c2nc3ccccc3[nH]2)cc1",  # although of an acid and amine
        "CC(=O)CC(C)=O.NNc1ccccc1>>Cc1cc(C)n(-c2ccccc2)n1",
    ],
    OTHER: [
        "CC(=O)NCC>>CC(=O)NCC",  # nothing happens
        "CC(=O)NCC.CCO>>CC(=O)NCC",  # the amide was there
        "CC(=O)O.NCC>>CCCCC(=O)NCC",  # carbon from nowhere
        "CC(=O)O.CC(C)(C)OC(=O)NCCO>>CC(=O)NCCO",  # two kinds of changes
        "CC1NC(=O)OC1=O.CN>>CC1NC(=O)N(C)C1=O",  # an amide and a urea at once
    ],
}
ALL = [(name, reaction) for name, reactions in EXAMPLES.items() for reaction in reactions]


@pytest.mark.parametrize(("name", "reaction"), ALL)
def test_class(name, reaction):
    assert classify(reaction) == name
    assert is_amide(reaction) == (name in AMIDE)


def test_every_class_has_an_example():
    assert set(EXAMPLES) == {*RULES, HETEROCYCLE, OTHER}
    assert set(RULES) > AMIDE


@pytest.mark.parametrize(("name", "reaction"), ALL)
def test_the_class_is_that_of_the_molecules_not_of_the_text(name, reaction):
    before, reagents, after = reaction.split(">")
    parts = [part for side in (before, reagents) for part in side.split(".") if part]
    # Every molecule written anew from its last atom, in reverse order, with a spectator.
    anew = [Chem.MolFromSmiles(part) for part in reversed(parts)]
    written = [Chem.MolToSmiles(m, rootedAtAtom=m.GetNumAtoms() - 1) for m in anew]
    assert classify(f"O.{'.'.join(written)}>CN(C)C=O>{after}") == name


@pytest.mark.parametrize(("name", "reaction"), [pair for pair in ALL if pair[0] in AMIDE])
def test_the_way_back_from_an_amide_makes_none(name, reaction):
    before, _, after = reaction.split(">")
    assert not is_amide(f"{after}>>{before}")
