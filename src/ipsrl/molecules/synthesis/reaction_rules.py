"""Rules of reaction classes, as SMIRKS; `ipsrl.molecules.synthesis.reactions` applies them.

A rule takes all that stands before the product as one mixture, "(A.B)>>(C.D)", and so covers the
reaction within one molecule, too.  The first class with a rule that makes the product is the
reaction's: what is more special stands first.
"""

from __future__ import annotations

# --- parts of rules: what stands within the brackets of a SMARTS atom -----------------------------

_ACYL = "CX3;$(C(=O)[#6]),$([CH1]=O)"
_CARBONYL = "CX3;$([CH2]),$([CH1][#6]),$(C([#6])[#6])"  # aldehyde or ketone
_NH = "#7;!H0;+0"
_OH, _XH = "OX2H1", "#7,OX2,SX2;!H0;+0"
_HALIDE = "F,Cl,Br,I"
_SULFONATE = "$([OX2]S(=O)=O)"
_LEAVING = f"Cl,Br,I,{_SULFONATE}"
_SP2 = "c,$([CX3]=[#6])"
_EWG = "$(C=[O,N]),$(C#N),$(S(=O)=O),$([N+](=O)[O-])"
_POOR = ["C=O", "C#N", "S(=O)=O", "[N+](=O)[O-]", "C(F)(F)F"]
_ACTIVE = ",".join(  # aromatic carbon that nucleophiles attack: ortho or para to what draws
    f"$(c{path}{group})"
    for path in (":", ":c:c:")
    for group in ["[nX2,n+]", *(f"c-{poor}" for poor in _POOR)]
)
_ALPHA = f"CX4!H0$(C[{_EWG}])"


def _swap(centre: str, leaving: str, nucleophile: str) -> str:
    """Substitution: the nucleophile takes the place of what leaves, which may be a ring's end."""
    return f"([{centre}:1]-[{leaving}:2].[{nucleophile}:3])>>([*:1]-[*:3].[*:2])"


def _join(one: str, leaving: str, other: str, metal: str) -> str:
    """Coupling of two atoms that lose what they carry."""
    return f"([{one}:1]-[{leaving}].[{other}:2]-[{metal}])>>([*:1]-[*:2])"


def _turn(before: str, *after: str) -> list[str]:
    """One molecule changes; its reagents need not be written."""
    return [f"({before})>>({product})" for product in after]


# --- the rules ------------------------------------------------------------------------------------

RULES: dict[str, list[str]] = {
    "amide coupling": [
        _swap(_ACYL, _OH, _NH),
        *_turn(f"[{_ACYL}:1]-[{_OH}]", "[*:1]-N"),
    ],
    "ester aminolysis": [
        _swap(_ACYL, "OX2;H0;$(O[CX4])", _NH),
        *_turn(f"[{_ACYL}:1]-[OX2;H0;$(O[CX4])]", "[*:1]-N", "[*:1]-NN"),
    ],
    "N-acylation": [
        _swap(
            _ACYL, f"{_HALIDE},n,SX2,$([OX2;H0]),$(N=[N+]=[N-]),$(N(C=O)C=O),$(C(Cl)(Cl)Cl)", _NH
        ),
        f"([{_ACYL}:1]-O-[{_ACYL}:2].[#7;H2,H3:3])>>([*:1]-[*:3]-[*:2])",
        *_turn(f"[{_ACYL}:1]-[{_HALIDE}]", "[*:1]-N"),
    ],
    "sulfonamide formation": [
        _swap("SX4;$(S(=O)=O)", f"{_HALIDE},n,$(OS(=O)=O)", _NH),
        *_turn(f"[SX4;$(S(=O)=O):1]-[{_HALIDE}]", "[*:1]-N"),
    ],
    "urea formation": [  # thioureas, too
        f"([NX2:1]=[C:2]=[O,S:3].[{_NH}:4])>>([*:1]-[*:2](=[*:3])-[*:4])",
        _swap("CX3;$(C(=[O,S])[#7])", f"{_HALIDE},n,SX2,$([OX2;H0])", _NH),
        *_turn(f"[{_NH}:1].[{_NH}:2]", "[*:1]-C(=O)-[*:2]", "[*:1]-C(=S)-[*:2]"),
    ],
    "protection": [
        *_turn(
            f"[{_NH}:1]",
            "[*:1]-C(=O)OC(C)(C)C",
            "[*:1]-C(=O)OCc1ccccc1",
            "[*:1]-C(=O)OCC1c2ccccc2-c2ccccc12",
        ),
        _swap("Si", f"{_HALIDE},{_SULFONATE}", _XH),
        f"([{_CARBONYL}:1]=O.[{_OH}:2].[{_OH}:3])>>([*:1](-[*:2])-[*:3])",
    ],
    "carbamate formation": [
        "([NX2:1]=[C:2]=[O,S:3].[OX2,SX2;H1:4])>>([*:1]-[*:2](=[*:3])-[*:4])",
        _swap("CX3;$(C(=O)[OX2])", f"{_HALIDE},n,$([OX2;H0])", _NH),
        _swap("CX3;$(C(=O)[#7])", f"{_HALIDE},n", _OH),
        *_turn(f"[{_OH}:1].[{_NH}:2]", "[*:1]-C(=O)-[*:2]"),
    ],
    "esterification": [
        _swap(_ACYL, f"{_HALIDE},n,OX2", "OX2,SX2;H1"),
        _swap("CX4", _LEAVING, "OX2;H1;$(OC=O)"),
        *_turn("[OX2;H1;$(OC=O):1]", "[*:1]-C", "[*:1]-CC"),
    ],
    "sulfonate formation": [_swap("SX4;$(S(=O)=O)", f"{_HALIDE},n,$(OS(=O)=O)", _OH)],
    "Suzuki coupling": [_join("#6", f"{_LEAVING},$([N+]#N)", "#6", "#5")],
    "Chan-Lam coupling": [_swap("c,$([CX3]=C)", "#5", _XH)],
    "Sonogashira coupling": [
        f"([{_SP2},$(C=O):1]-[{_LEAVING}].[CX2;H1:2])>>([*:1]-[*:2])",
    ],
    "Heck reaction": [
        f"([{_SP2}:1]-[{_LEAVING}].[CX3;!H0;$(C=C):2])>>([*:1]-[*:2])",
    ],
    "cross-coupling": [  # Negishi, Stille, Kumada, Hiyama; of two halides
        _join(_SP2, _LEAVING, "#6", "Zn,Sn,Mg,Si,Li"),
        _join(_SP2, _LEAVING, "CX4", "Cl,Br,I"),
    ],
    "SNAr": [
        _swap(f"c;{_ACTIVE}", f"{_LEAVING},F,$(S(=O)[#6])", _XH),
        _swap("c", "F", _XH),  # palladium and copper leave fluorides alone
    ],
    "N-arylation": [_swap(_SP2, _LEAVING, _NH)],  # Buchwald-Hartwig, Ullmann-Goldberg
    "O- or S-arylation": [_swap(_SP2, _LEAVING, "OX2,SX2;H1")],
    "reductive amination": [f"([{_CARBONYL}:1]=O.[{_NH}:2])>>([*:1]-[*:2])"],
    "condensation to C=N": [f"([{_CARBONYL}:1]=O.[#7;H2,H3:2])>>([*:1]=[*:2])"],
    "N-alkylation": [_swap("CX4", f"{_LEAVING},{_OH}", _NH)],
    "O-alkylation": [_swap("CX4", f"{_LEAVING},{_OH}", _OH)],
    "S-alkylation": [
        _swap("CX4", _LEAVING, "SX2;H1"),
        f"([CX4:1]-[{_LEAVING}].[SX1:2]=[C:3]-[N;!H0:4])>>([*:1]-[*:2]-[*:3]=[*:4])",
        f"([CX4:1]-[{_LEAVING}].[SX1:2]=[c:3]:[nH:4])>>([*:1]-[*:2]-[*:3]:[nH0:4])",
    ],
    "ring opening of an epoxide": [  # or aziridine
        f"([CX4:1]1-[O,N:2]-[C:3]1.[{_XH}:4])>>([*:4]-[*:1]-[*:3]-[*:2])",
    ],
    "reduction": [
        *_turn("[#6:1]-[N+](=O)[O-]", "[*:1]-N"),
        *_turn("[#6:1]-N=[N+]=[N-]", "[*:1]-N"),
        *_turn(f"[{_CARBONYL}:1]=[O:2]", "[*:1]-[*:2]", "[*:1]"),
        *_turn("[CX3;$(C[#6]):1](=[O:2])-[OX2,Cl,N]", "[*:1]-[*:2]", "[*:1]=[*:2]"),
        *_turn("[CX3:1](=O)-[#7:2]", "[*:1]-[*:2]"),
        *_turn("[C:1]#[N:2]", "[*:1]-[*:2]", "[*:1]=O"),
        *_turn("[C:1]=[C,N:2]", "[*:1]-[*:2]"),
        *_turn("[C:1]#[C:2]", "[*:1]=[*:2]", "[*:1]-[*:2]"),
        *_turn(f"[#6:1]-[{_HALIDE},$([OX2H1][CX4]c)]", "[*:1]"),
        *_turn("[n+:1]-[O-]", "[n+0:1]"),
        *_turn("[SX3:1]=O", "[*:1]"),
        *_turn("[#7,SX2:1]-[#7,OX2,SX2:2]", "[*:1].[*:2]"),
    ],
    "oxidation": [
        *_turn("[CX4;!H0:1]-[OX2;H1:2]", "[*:1]=[*:2]", "[*:1](=[*:2])-O"),
        *_turn("[CX3;H1:1]=[O:2]", "[*:1](=[*:2])-O"),
        *_turn("[SX2:1]", "[*:1]=O", "[*:1](=O)=O"),
        *_turn("[SX3:1]=[O:2]", "[*:1](=[*:2])=O"),
        *_turn("[nX2:1]", "[n+:1]-[O-]"),
        *_turn("[CX4;H2,H3;$(C[c,$(C=C)]):1]", "[*:1]=O", "[*:1](=O)-O"),
        *_turn("[C:1]=[C:2]", "[*:1]1O[*:2]1", "[*:1](O)-[*:2]-O"),
        *_turn("[#6:1]-[#5]", "[*:1]-O"),
    ],
    "conjugate addition": [
        f"([CX3:1]=[CX3:2]-[{_EWG}:3].[{_XH}:4])>>([*:4]-[*:1]-[*:2]-[*:3])",
        f"([CX3:1]=[CX3:2]-[{_EWG}:3].[{_ALPHA}:4])>>([*:4]-[*:1]-[*:2]-[*:3])",
    ],
    "olefination": [  # Wittig, Horner, aldol and Knoevenagel condensation
        f"([{_CARBONYL}:1]=O.[#6:2]-,=[P,S,Cl,Br,I])>>([*:1]=[*:2])",
        f"([{_CARBONYL}:1]=O.[{_ALPHA}!H1:2])>>([*:1]=[*:2])",
    ],
    "addition to a carbonyl": [  # Grignard, aldol
        f"([{_CARBONYL}:1]=[O:2].[#6:3]-[Mg,Li,Zn,Si,#5,Cl,Br,I])>>([*:1](-[*:2])-[*:3])",
        f"([{_CARBONYL}:1]=[O:2].[{_ALPHA}:3])>>([*:1](-[*:2])-[*:3])",
    ],
    "C-acylation": [  # Friedel-Crafts, Claisen, Weinreb; formylation and carboxylation
        f"([{_ACYL}:1]-[{_HALIDE},OX2].[cH1,{_ALPHA}:2])>>([*:1]-[*:2])",
        _join(_ACYL, "Cl,$(N(C)OC)", "#6", "Mg,Li,Zn,Cl,Br,I"),
        *_turn("[c;H1:1]", "[*:1]-C=O"),
        *_turn("[c:1]-[Br,I]", "[*:1]-C=O", "[*:1]-C(=O)O"),
    ],
    "C-alkylation": [_swap("CX4", _LEAVING, _ALPHA)],
    "addition to a nitrile": [
        f"([C:1]#[N:2].[{_NH}:3])>>([*:1](=[*:2])-[*:3])",
        *_turn("[C:1]#[N:2]", "[*:1](-[*:2])=NO"),
    ],
    "cyanation": _turn(f"[#6:1]-[{_LEAVING},F]", "[*:1]-C#N"),
    "borylation": [
        *_turn(f"[#6:1]-[{_LEAVING}]", "[*:1]-B(O)O", "[*:1]-B1OC(C)(C)C(C)(C)O1"),
        *_turn("[c;H1:1]", "[*:1]-B(O)O", "[*:1]-B1OC(C)(C)C(C)(C)O1"),
    ],
    "deprotection": [
        *_turn("[#7:1]-C(=O)O[#6]", "[*:1]"),  # Boc, Cbz, Fmoc
        *_turn("[#7,OX2;!$(OC=O):1]-[Si,$([CX4]c),$([CX4]O[#6])]", "[*:1]"),
        *_turn("[#7:1]-[$(C([CH3])([CH3])[CH3]),$(S(=O)(=O)c)]", "[*:1]"),
        *_turn("[#7:1]1C(=O)ccC1=O", "[*:1]"),
        *_turn("[#7:1]=C(c)c", "[*:1]"),
        *_turn("[OX2;$(Oc):1]-[CX4]", "[*:1]"),
        *_turn("[CX4:1](-[OX2;$(O[#6])])-[OX2;$(O[#6])]", "[*:1]=O"),
    ],
    "ester hydrolysis": _turn(f"[{_ACYL}:1]-[OX2:2]-[#6:3]", "[*:1]-O.[*:2]-[*:3]"),
    "amide hydrolysis": _turn(f"[{_ACYL}:1]-[#7:2]", "[*:1]-O.[*:2]"),
    "nitrile hydrolysis": _turn("[C:1]#[N:2]", "[*:1](=O)-[*:2]", "[*:1](=O)O"),
    "dehydration": [
        *_turn("[CX3:1](=O)-[NX3;H2:2]", "[*:1]#[*:2]"),
        *_turn("[CX4;!H0:1]-[CX4:2]-[OX2;H1]", "[*:1]=[*:2]"),
    ],
    "azidation": _turn(f"[#6:1]-[{_LEAVING},F,$([NX3H2]c),OX2H1]", "[*:1]-N=[N+]=[N-]"),
    "nitration": _turn("[c;H1:1]", "[*:1]-[N+](=O)[O-]"),
    "sulfonyl chloride formation": [
        *_turn("[c;H1:1]", "[*:1]-S(=O)(=O)Cl"),
        *_turn("[#6:1]-[NX3H2,SX2H1,$(S(=O)(=O)[OX2H1])]", "[*:1]-S(=O)(=O)Cl"),
    ],
    "isocyanate formation": [
        *_turn("[#6:1]-[NX3H2,$(C(=O)[OX2H1]),$(C(=O)N=[N+]=[N-])]", "[*:1]-N=C=O"),
        *_turn("[#6:1]-[NX3;H2]", "[*:1]-N=C=S"),
    ],
    "thionation": _turn("[#6:1]=O", "[*:1]=S"),
    "halogenation": [
        rule
        for halogen in ("F", "Cl", "Br", "I")
        for rule in (
            *_turn("[#6;!H0:1]", f"[*:1]-{halogen}"),
            *_turn(f"[#6:1]-[OX2H1,NX3H2,#5,{_LEAVING},F]", f"[*:1]-{halogen}"),
            *_turn("[c:1](=O):[nH:2]", f"[*:1](-{halogen}):[nH0:2]"),
        )
    ],
}
"""SMIRKS of each class."""
