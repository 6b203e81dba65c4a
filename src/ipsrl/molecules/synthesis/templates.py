"""Reaction templates: which reactants make a molecule, and what reactants make.

A template is one reaction as SMIRKS, in both directions.  The forward pattern states where the
reaction is believed to work; a backward step counts only if the forward reaction makes the very
molecule of it again.  So a backward pattern may be loose, and no step loses a stereo centre that
the molecule has.  The templates themselves stand in templates.toml.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions

from ipsrl.errors import InvalidInput
from ipsrl.molecules.molecule import canonical, neutral

LIBRARY = Path(__file__).with_suffix(".toml")
_pattern = cache(Chem.MolFromSmarts)
MATCHES = 200  # ways in which a template is applied to one molecule, at most


@dataclass(frozen=True)
class Template:
    """One reaction.

    Attributes:
      name: of the reaction, such as "amide from an acid".
      reaction_class: of which kind it is, such as "amide coupling".
      forward: SMIRKS, reactants >> product.
      backward: SMIRKS, product >> reactants in the order of `forward`; one for each kind of
        precursor (bromide, iodide ...).
      example: SMILES, reactants >> product.
      confidence: in (0, 1), how readily a search takes this step.
      without: SMARTS for each reactant of `forward`, of which its molecule must have none, because
        they would react first; "" for nothing.
    Raises:
      InvalidInput: for what is not a SMIRKS with one product, a confidence out of range, or a
        `without` that is not one SMARTS for each reactant.
    """

    name: str
    reaction_class: str
    forward: str
    backward: tuple[str, ...]
    example: str
    confidence: float = 0.5
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise InvalidInput(
                f"template {self.name!r}: confidence {self.confidence:g} is not between 0 and 1, "
                "so a step has no cost. Give a number between them."
            )
        for smirks, reaction in zip(
            (self.forward, *self.backward), (self._forward, *self._backward), strict=True
        ):
            sides = reaction.GetNumReactantTemplates(), reaction.GetNumProductTemplates()
            if sides[smirks == self.forward] != 1:
                raise InvalidInput(
                    f"template {self.name!r}: {smirks} has not one product. Write "
                    "reactants>>product forward, and product>>reactants backward."
                )

        count = self._forward.GetNumReactantTemplates()
        wrong = [text for text in self.without if _pattern(text) is None]
        if wrong or len(self.without) not in (0, count):
            raise InvalidInput(
                f"template {self.name!r}: without = {list(self.without)} is not one SMARTS for "
                f"each of its {count} reactants. Write '' where nothing is excluded."
            )

    def reactants(self, product: str) -> list[tuple[str, ...]]:
        """Reactants that make the molecule by this reaction; canonical, without repeats.

        A reaction that changes what is bound to a stereo centre does nothing, in both directions.
        No reaction but the one that makes it leaves an acid chloride or an isocyanate as it is, and
        none makes what would react with itself, such as an alkyl bromide with a free amine.
        """
        target = _canonical(product)
        if target is None:
            return []
        molecule = _molecule(target)
        if _activated(target) != self._activates or _reacts_with_itself(target):
            return []
        found: dict[tuple[str, ...], None] = {}
        with rdBase.BlockLogs():
            for reaction in self._backward:
                seen: set[tuple[str, ...]] = set()
                for outcome in reaction.RunReactants((molecule,), maxProducts=MATCHES):
                    raw = tuple(map(Chem.MolToSmiles, outcome))
                    if raw in seen or ("@" in target and not _keeps_centres([molecule], outcome)):
                        continue
                    seen.add(raw)
                    clean = tuple(filter(None, map(_canonical, raw)))
                    whole = len(clean) == len(outcome) and not self._is_excluded(clean)
                    if whole and target in self._products(clean):
                        found[clean] = None
        return list(found)

    def products(self, reactants: Sequence[str]) -> list[str]:
        """The products of the reactants, in any order; canonical, without repeats."""
        orders = itertools.permutations(reactants)
        return self._all_products(order for order in orders if not self._is_excluded(order))

    def selectivity(self, reactants: Sequence[str]) -> float:
        """1 / n, where the reaction makes n different products in a flask with these reactants.

        Products of a molecule with itself count, as of an amino acid that is to form an amide.
        """
        return 1 / len(self._all_products(itertools.product(reactants, repeat=len(reactants))))

    def _is_excluded(self, reactants: Sequence[str]) -> bool:
        return any(
            pattern and _molecule(text).HasSubstructMatch(_pattern(pattern))
            for text, pattern in zip(reactants, self.without, strict=False)
        )

    def _all_products(self, orders: Iterable[Sequence[str]]) -> list[str]:
        with rdBase.BlockLogs():
            return list(dict.fromkeys(p for order in orders for p in self._products(order)))

    def _products(self, reactants: Sequence[str]) -> Iterator[str]:
        """The products, in the order of the pattern."""
        if len(reactants) != self._forward.GetNumReactantTemplates():
            return
        molecules, centres = tuple(map(_molecule, reactants)), "@" in "".join(reactants)
        for outcome in self._forward.RunReactants(molecules, maxProducts=MATCHES):
            if centres and not _keeps_centres(molecules, outcome):
                continue
            if product := _canonical(Chem.MolToSmiles(outcome[0])):
                yield product

    @cached_property
    def _activates(self) -> bool:
        """True if the reaction makes an acid chloride or an isocyanate."""
        return _activated(self.example.rpartition(">")[2]) > 0

    @cached_property
    def _forward(self) -> rdChemReactions.ChemicalReaction:
        return _reaction(self.name, self.forward)

    @cached_property
    def _backward(self) -> tuple[rdChemReactions.ChemicalReaction, ...]:
        return tuple(_reaction(self.name, smirks) for smirks in self.backward)


@cache
def templates() -> tuple[Template, ...]:
    """The templates that come with ipsrl."""
    return read_templates(LIBRARY)


def read_templates(path: Path) -> tuple[Template, ...]:
    """Templates of a TOML file as templates.toml is, with [patterns] of its own.

    Raises:
      InvalidInput: if it cannot be read, or a template is wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        patterns = content.get("patterns", {})

        def filled(smirks: str) -> str:
            for name, condition in patterns.items():
                smirks = smirks.replace(f"{{{name}}}", condition)
            return smirks

        return tuple(
            Template(
                name=row["name"],
                reaction_class=row["class"],
                forward=filled(row["forward"]),
                backward=tuple(map(filled, row["backward"])),
                example=row["example"],
                confidence=row.get("confidence", 0.5),
                without=tuple(map(filled, row.get("without", ()))),
            )
            for row in content["template"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{path} is not a file of templates ({type(error).__name__}: {error}). Write tables "
            "[[template]] with name, class, forward, backward and example."
        ) from None


_ACTIVATED = "[$([C,S](=O)[Cl,Br]),$([NX2]=C=[O,S])]"  # acid chlorides, iso(thio)cyanates
_ALIPHATIC_AMINE = "[NX3;!H0;!$(N~[!$([CX4]);!#1])]"
_AT_ODDS = (  # groups that no molecule keeps side by side
    (_ACTIVATED, "[$([NX3;!H0;!$(N-[C,S]=[O,S,N])]),$([OX2;H1][CX4,c,$(C=O)]),$([SX2;H1])]"),
    ("[CX4][Br,I]", _ALIPHATIC_AMINE),
    ("[CX3;H1](=O)[#6]", _ALIPHATIC_AMINE),
    ("[NX3;!$(N-[C,S]=[O,S,N])]-[CX4]-[Cl,Br,I]",),  # a nitrogen and a halogen on one carbon
)
_IMINES = tuple(
    rdChemReactions.ReactionFromSmarts(smirks)
    for smirks in (
        "[NX2;!R;+0:1]=[c:2]:[nH:3]>>[N:1]-[c:2]:[nH0:3]",
        "[NX2;!R;+0:1]=[c:2]:[c:3]:[c:4]:[nH:5]>>[N:1]-[c:2]:[c:3]:[c:4]:[nH0:5]",
    )
)


def standard_form(smiles: str) -> str | None:
    """The molecule as its seller writes it and as it reacts; canonical, None for what is none.

    Neutral: [NH3+]CC is NCC.  Of ZINC's molecules, which are written as they are in water, 28 % are
    charged, and no template takes them.  The tautomer whose exocyclic imines are amines:
    N=c1[nH]ccs1, one of ChEMBL's many, is Nc1nccs1.
    """
    given = canonical(smiles)
    if given is None:
        return None
    if "+" in given or "-" in given:
        given = canonical(Chem.MolToSmiles(neutral(Chem.MolFromSmiles(given)))) or given
    return _amino_form(given)


def _amino_form(smiles: str) -> str:
    with rdBase.BlockLogs():
        for reaction in _IMINES:
            while outcomes := reaction.RunReactants((_molecule(smiles),), maxProducts=1):
                amine = _canonical(Chem.MolToSmiles(outcomes[0][0]))
                if amine is None or amine == smiles:
                    break
                smiles = amine
    return smiles


def digest(library: Sequence[Template]) -> str:
    """Hash that two lists of templates share iff they are equal, and so is what applies them."""
    code = Path(__file__).read_text()
    return sha256("\n".join([*map(repr, library), code]).encode()).hexdigest()[:16]


def _reaction(name: str, smirks: str) -> rdChemReactions.ChemicalReaction:
    with rdBase.BlockLogs():
        try:
            reaction = rdChemReactions.ReactionFromSmarts(smirks)
            reaction.Initialize()
        except ValueError as error:
            raise InvalidInput(
                f"template {name!r}: {smirks!r} is not a SMIRKS ({error}). Correct it."
            ) from None
    return reaction


# Every template asks for the same molecules, and most of what they make has been made before.
_canonical = lru_cache(maxsize=2**14)(canonical)
_molecule = lru_cache(maxsize=2**12)(Chem.MolFromSmiles)


@lru_cache(maxsize=2**10)
def _activated(smiles: str) -> int:
    """Number of acid chlorides and isocyanates; 0 for text that is not a molecule."""
    molecule = _molecule(smiles)
    return 0 if molecule is None else len(molecule.GetSubstructMatches(_pattern(_ACTIVATED)))


@lru_cache(maxsize=2**10)
def _reacts_with_itself(smiles: str) -> bool:
    molecule = _molecule(smiles)
    return any(
        all(molecule.HasSubstructMatch(_pattern(group)) for group in groups) for groups in _AT_ODDS
    )


def _keeps_centres(before: Sequence[Chem.Mol], after: Sequence[Chem.Mol]) -> bool:
    """True if each tetrahedral centre keeps its neighbours; else it may be inverted or not."""
    centres = {
        (number, atom.GetIdx()): {(number, other.GetIdx()) for other in atom.GetNeighbors()}
        for number, molecule in enumerate(before)
        for atom in molecule.GetAtoms()
        if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
    }
    neighbours = {
        _origin(atom): set(map(_origin, atom.GetNeighbors()))
        for molecule in after
        for atom in molecule.GetAtoms()
    }
    return all(neighbours.get(centre, bound) == bound for centre, bound in centres.items())


def _origin(atom: Chem.Atom) -> tuple[int, int] | None:
    """The molecule and the index that the atom had; None for a new one."""
    if not atom.HasProp("react_atom_idx"):
        return None
    return atom.GetIntProp("react_idx"), atom.GetIntProp("react_atom_idx")
