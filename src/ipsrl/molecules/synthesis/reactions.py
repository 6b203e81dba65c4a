"""Classes of reactions, and the rule ALL-AMIDE.

    classify("CC(=O)O.CNC>>CC(=O)N(C)C")      "amide coupling"
    is_amide("CC(=O)O.CNC>>CC(=O)N(C)C")      True
    route_is_all_amide([...])                 of all reactions of a route

A reaction is of a class if a rule of the class, applied to what stands before the product, makes
the product: nothing is guessed from names or from groups that the two sides merely contain.
`RxnInsight` is the classifier of Dobbelaere et al. 2024 (10.1186/s13321-024-00834-z), as a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from hashlib import sha256

from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions, rdMolDescriptors

from ipsrl.errors import InvalidInput, RunError
from ipsrl.molecules.molecule import neutral
from ipsrl.molecules.synthesis.reaction_rules import RULES
from ipsrl.workers import interpreter
from ipsrl.workers.lines import Lines

LONGEST = 1000  # characters of a reaction
OTHER = "other"
HETEROCYCLE = "heterocycle formation"
AMIDE = frozenset({"amide coupling", "ester aminolysis", "N-acylation"})
"""The classes that count for ALL-AMIDE: an acyl group (of carbon, or formyl) comes to a nitrogen.

Not sulfonamides, ureas, carbamates; not the hydrolysis of an amide or a nitrile.
"""
IDENTITY = (
    f"rules {sha256(repr((RULES, sorted(AMIDE))).encode()).hexdigest()[:16]}, "
    f"rdkit {rdBase.rdkitVersion}"
)
"""On what the class of a reaction depends."""


@lru_cache(maxsize=2**14)  # a search takes the same steps in many routes
def classify(reaction: str) -> str:
    """Class of a reaction: a key of `RULES`, "heterocycle formation", or "other".

    A rule may apply twice (both nitro groups are reduced).  Two changes of different kinds in one
    step, as the removal of a Boc group with the coupling that follows, are "other".  Stereo is
    ignored, charges that protons make are removed, and what takes no part, such as a salt, may
    stand on either side.

    Args:
      reaction: SMILES, reactants>>product or reactants>reagents>product; with or without atom maps.
    Raises:
      InvalidInput: for what is not a reaction SMILES.
    """
    with rdBase.BlockLogs():
        parts, product = _read(reaction)
        target = Chem.MolToSmiles(product)
        if target in map(Chem.MolToSmiles, parts):
            return OTHER
        if _heterocycles([product]) > _heterocycles(parts):
            return HETEROCYCLE
        halfway: dict[str, dict[str, Chem.Mol]] = {}
        for name in RULES:
            made, halfway[name] = _apply(name, parts, product)
            if target in made:
                return name
        for name, molecules in halfway.items():
            for molecule in molecules.values():
                if target in _apply(name, [molecule, *parts], product)[0]:
                    return name
    return OTHER


def is_amide(reaction: str) -> bool:
    """True if the reaction makes an amide of an acyl group and a nitrogen, of any amine.

    Raises:
      InvalidInput: for what is not a reaction SMILES.
    """
    return classify(reaction) in AMIDE


def route_is_all_amide(
    reactions: Sequence[str], is_amide: Callable[[str], bool] = is_amide
) -> bool:
    """The rule ALL-AMIDE: each reaction is an amide coupling, ester aminolysis or N-acylation.

    A route without reactions is a molecule that can be bought.  It fulfils the rule, as it counts
    as synthesizable in SYNTH: the rule forbids other chemistry, and buying needs no chemistry.
    This does not bypass the reward, because docking and QED count for bought molecules as for
    others.  If only coupled molecules are wanted, count the reactions of the routes.  A search does
    not keep routes, but `ipsrl molecules route` finds the same ones again.

    Args:
      reactions: SMILES of each.
      is_amide: another classifier, as `RxnInsight.is_amide`.
    Raises:
      InvalidInput: for what is not a reaction SMILES.
    """
    return all(map(is_amide, reactions))


RXN_INSIGHT_AMIDES = frozenset(
    {
        "Acylation of Nitrogen Nucleophiles by Carboxylic Acids",
        "Acylation of Nitrogen Nucleophiles by Acyl/Thioacyl/Carbamoyl Halides and Analogs_OS",
        "Aminolysis of esters",
        "Acyl chloride with ammonia to amide",
        "Acyl chloride with primary amine to amide (Schotten-Baumann)",
        "Acyl chloride with primary amine to imide",
        "Acyl chloride with secondary amine to amide",
        "Carboxylic acid with primary amine to amide",
        "Carboxylic acid to amide conversion",
        "Ester with ammonia to amide",
        "Ester with primary amine to amide",
        "Ester with secondary amine to amide",
        "Acylation of secondary amines with anhydrides",
        "Acylation of secondary amines",
        "Acylation of primary amines",
        "Schotten-Baumann_amide",
        "Phthalic anhydride to phthalimide",
    }
)
"""Names that Rxn-INSIGHT 0.1.3 gives to amide formations."""


class RxnInsight:
    """Rxn-INSIGHT in its own environment: `ipsrl workers install rxn-insight`.

    Args:
      timeout: seconds for one reaction; for the first they include the start (about 20 s).
    Raises:
      RunError: if it is not installed.
    """

    identity = "rxn-insight 0.1.3"
    """On what its answers depend."""

    def __init__(self, timeout: float = 120.0) -> None:
        program = [interpreter("rxn-insight"), "-P", "-m", "ipsrl.workers.rxn_insight"]
        self._lines = Lines(program, timeout)
        self._known: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> RxnInsight:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._lines.close()

    def classify(self, reaction: str) -> tuple[str, str]:
        """Its class and its name of a reaction, as ("Acylation", "Aminolysis of esters").

        Raises:
          InvalidInput: for what is not a reaction SMILES.
          RunError: if the worker fails, or has no answer for this reaction.
        """
        if reaction not in self._known:
            _read(reaction)
            answer = self._lines.ask({"reaction": reaction})
            if "error" in answer:
                raise RunError(f"Rxn-INSIGHT has no class for {reaction}: {answer['error']}")
            self._known[reaction] = answer["class"], answer["name"]
        return self._known[reaction]

    def is_amide(self, reaction: str) -> bool:
        """True if the name is that of an amide formation.  Raises as `classify` does."""
        return self.classify(reaction)[1] in RXN_INSIGHT_AMIDES


def _apply(
    name: str, parts: Sequence[Chem.Mol], target: Chem.Mol
) -> tuple[dict[str, Chem.Mol], dict[str, Chem.Mol]]:
    """Products of the rules of a class that may be the target, or halfway to it.

    Halfway is as many atoms of each element from one of the parts as from the target.
    """
    mixture = parts[0]
    for part in parts[1:]:
        mixture = Chem.CombineMols(mixture, part)
    Chem.GetSymmSSSR(mixture)
    whole, doubles = _atoms(target), [_atoms(part) + _atoms(target) for part in parts]
    sizes = {whole.total(), *(double.total() / 2 for double in doubles)}
    made: dict[str, Chem.Mol] = {}
    half: dict[str, Chem.Mol] = {}
    for rule in _compiled(name):
        for outcome in rule.RunReactants((mixture,), maxProducts=1000):
            for fragment in Chem.GetMolFrags(outcome[0], asMols=True, sanitizeFrags=False):
                if fragment.GetNumAtoms() not in sizes:
                    continue
                atoms = _atoms(fragment)
                is_whole, is_half = atoms == whole, atoms + atoms in doubles
                if is_whole or is_half:
                    _protonate(fragment, mixture)
                    if Chem.SanitizeMol(fragment, catchErrors=True) == Chem.SANITIZE_NONE:
                        (made if is_whole else half)[Chem.MolToSmiles(fragment)] = fragment
    return made, half


def _atoms(molecule: Chem.Mol) -> Counter[int]:
    return Counter(atom.GetAtomicNum() for atom in molecule.GetAtoms())


def _protonate(fragment: Chem.Mol, mixture: Chem.Mol) -> None:
    """The hydrogen that an aromatic nitrogen gets for a substituent; RDKit leaves it out."""
    for atom in fragment.GetAtoms():
        if atom.GetIsAromatic() and atom.GetAtomicNum() == 7 and atom.HasProp("react_atom_idx"):
            before = mixture.GetAtomWithIdx(atom.GetIntProp("react_atom_idx"))
            if atom.GetDegree() == 2 and before.GetDegree() == 3 and not atom.GetFormalCharge():
                atom.SetNumExplicitHs(1)


def _heterocycles(molecules: Sequence[Chem.Mol]) -> int:
    """Aromatic rings with an atom other than carbon."""
    return sum(map(rdMolDescriptors.CalcNumAromaticHeterocycles, molecules))


@cache
def _compiled(name: str) -> list[rdChemReactions.ChemicalReaction]:
    reactions = list(map(rdChemReactions.ReactionFromSmarts, RULES[name]))
    for reaction in reactions:
        reaction.Initialize()
    return reactions


def _read(reaction: str) -> tuple[list[Chem.Mol], Chem.Mol]:
    """The part before the product, and the product: the largest molecule after it."""
    sides = [side.split(".") if side else [] for side in reaction.split(">")]
    is_text = reaction.isascii() and reaction.isprintable() and " " not in reaction
    if len(sides) != 3 or not sides[0] or not sides[2] or len(reaction) > LONGEST or not is_text:
        raise InvalidInput(
            f"{reaction[:80]!r} is not a reaction. Write SMILES: reactants>>product, or "
            f"reactants>reagents>product, of at most {LONGEST} characters without spaces."
        )
    with rdBase.BlockLogs():
        before = [_molecule(text) for side in sides[:2] for text in side]
        after = [_molecule(text) for text in sides[2]]
    return before, max(after, key=Chem.Mol.GetNumHeavyAtoms)


def _molecule(smiles: str) -> Chem.Mol:
    """Without atom maps, stereo, and charges that protons make."""
    molecule = Chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None:
        raise InvalidInput(f"{smiles[:80]!r} in a reaction is not a molecule. Correct its SMILES.")
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(0)
    Chem.RemoveStereochemistry(molecule)
    molecule = neutral(molecule)
    # Written and read, no hydrogen is left explicit that the new atoms of a rule would not have.
    return Chem.MolFromSmiles(Chem.MolToSmiles(molecule)) or molecule
