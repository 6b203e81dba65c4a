"""Retrosynthesis: can a molecule be made of what can be bought, and how?

    Planner(model, stock, ...)(smiles) -> Route | None

searches with Syntheseus (Maziarz et al. 2024), Retro* (Chen et al. 2020) or breadth first, until
the first route is found or a limit is reached.  The model proposes the last step of a synthesis:
our templates, or MEGAN in an environment of its own.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase
from syntheseus import BackwardReactionModel, Bag, Molecule, SingleProductReaction
from syntheseus.search.algorithms.best_first.retro_star import RetroStarSearch
from syntheseus.search.algorithms.breadth_first import AndOr_BreadthFirstSearch
from syntheseus.search.graph.and_or import AndNode, OrNode
from syntheseus.search.mol_inventory import BaseMolInventory
from syntheseus.search.node_evaluation.base import NoCacheNodeEvaluator
from syntheseus.search.node_evaluation.common import ReactionModelLogProbCost

from ipsrl.errors import InvalidInput, words
from ipsrl.molecules.config import SynthesisConfig
from ipsrl.molecules.scoring.aggregate import Failure
from ipsrl.molecules.synthesis.templates import Template, digest, standard_form, templates

STOCKS = Path(__file__).parents[1] / "stocks"  # NAME.smi for each that comes with ipsrl
DEPTH = 20  # nodes below the target: ten reactions in a row
CACHE = 10_000  # molecules whose last steps are remembered, at 90 kB each


@dataclass(frozen=True)
class Reaction:
    """One step: canonical SMILES, and the template or model that proposed it."""

    product: str
    reactants: tuple[str, ...]
    template: str

    @property
    def smiles(self) -> str:
        """reactant.reactant>>product"""
        return f"{'.'.join(self.reactants)}>>{self.product}"


@dataclass(frozen=True)
class Route:
    """A synthesis; without reactions the target itself can be bought.

    Attributes:
      target: canonical SMILES.
      reactions: last step first; each makes the target or a reactant of an earlier one, and no
        molecule is made twice.
    Raises:
      InvalidInput: if it is no such tree.
    """

    target: str
    reactions: tuple[Reaction, ...]

    def __post_init__(self) -> None:
        needed, made = {self.target}, set()
        for reaction in self.reactions:
            if reaction.product not in needed - made:
                raise InvalidInput(
                    f"the route to {self.target} makes {reaction.product}, which is made already "
                    "or which no later step needs. List each step once, the last one first."
                )
            made.add(reaction.product)
            needed.update(reaction.reactants)

    @property
    def bought(self) -> tuple[str, ...]:
        """Molecules that are bought, in the order in which they are needed."""
        made = {reaction.product for reaction in self.reactions}
        needed = [self.target, *(r for reaction in self.reactions for r in reaction.reactants)]
        return tuple(dict.fromkeys(smiles for smiles in needed if smiles not in made))

    @classmethod
    def from_json(cls, content: Any) -> Route:
        """The route of an object as `dataclasses.asdict` makes it, and `ipsrl molecules route`.

        Raises:
          InvalidInput: for anything else.
        """
        try:
            reactions = tuple(
                Reaction(
                    str(row["product"]), tuple(map(str, row["reactants"])), str(row["template"])
                )
                for row in content["reactions"]
            )
            return cls(str(content["target"]), reactions)
        except (KeyError, TypeError) as error:
            raise InvalidInput(
                f"this is no route ({type(error).__name__}: {error}). Give an object of target and "
                "reactions, each with product, reactants and template."
            ) from None


class Stock(BaseMolInventory):
    """What can be bought.

    Attributes:
      smiles: in `templates.standard_form`.
      skipped: lines that were left out, because they are no molecule or a polymer (`*`).
    """

    def __init__(self, smiles: Iterable[str]) -> None:
        with rdBase.BlockLogs():  # of some lines RDKit would say what it thinks
            found = [None if "*" in text else standard_form(text) for text in smiles]
        self.smiles = frozenset(filter(None, found))
        self.skipped = sum(text is None for text in found)

    @classmethod
    def load(cls, name: str | Path) -> Stock:
        """A stock that comes with ipsrl, or a file: a SMILES a line (further columns are names).

        Raises:
          InvalidInput: if the file cannot be read, or if most of its lines hold no molecule.
        """
        shipped = STOCKS / f"{name}.smi"
        path = shipped if shipped.is_file() else Path(name)
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            names = ", ".join(sorted(file.stem for file in STOCKS.glob("*.smi")))
            raise InvalidInput(
                f"the stock {str(name)!r} cannot be read ({error}). Give a file of SMILES (.smi or "
                f".smi.gz), or a stock that comes with ipsrl: {names}."
            ) from None
        rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
        stock = cls(row[0] for row in rows if row)
        if not stock.smiles or stock.skipped > len(stock.smiles):
            raise InvalidInput(
                f"the stock {str(path)!r} holds {len(stock.smiles)} molecules, and "
                f"{stock.skipped} lines that are none, so little can be made. Write one SMILES a "
                "line, and what else there is after a space."
            )
        return stock

    @property
    def digest(self) -> str:
        """Hash that two stocks share iff they hold the same molecules."""
        return sha256("\n".join(sorted(self.smiles)).encode()).hexdigest()[:16]

    def is_purchasable(self, mol: Molecule) -> bool:
        return mol.smiles in self.smiles


class TemplateModel(BackwardReactionModel):
    """Last steps by templates.

    The probability of a step is the confidence of its template times its selectivity; where two
    templates propose the same reactants, the more probable step counts.
    """

    name = "templates"

    def __init__(self, library: Sequence[Template] | None = None) -> None:
        super().__init__(use_cache=True, max_cache_size=CACHE)
        self.library = sorted(
            templates() if library is None else library, key=lambda t: -t.confidence
        )

    @property
    def identity(self) -> str:
        """Name and version."""
        return f"{self.name} {digest(self.library)}"

    def _get_reactions(
        self, inputs: list[Molecule], num_results: int
    ) -> list[Sequence[SingleProductReaction]]:
        return [self._steps(molecule)[:num_results] for molecule in inputs]

    def _steps(self, product: Molecule) -> list[SingleProductReaction]:
        found = [
            (template.confidence * template.selectivity(reactants), template.name, reactants)
            for template in self.library
            for reactants in template.reactants(product.smiles)
        ]
        found.sort(key=lambda row: -row[0])
        return [step(product, reactants, name, p) for p, name, reactants in found]


def step(
    product: Molecule, reactants: Iterable[str], source: str, probability: float
) -> SingleProductReaction:
    """A step as Syntheseus has it, of canonical SMILES."""
    molecules = (Molecule(text, canonicalize=False, make_rdkit_mol=False) for text in reactants)
    return SingleProductReaction(
        reactants=Bag(molecules),
        product=product,
        metadata={"template": source, "probability": probability, "confidence": probability},
    )


class _Reproducible:
    """New nodes in an order that is the same in every process.

    Syntheseus walks over sets, whose order changes with the hash seed and with memory addresses.
    """

    def expand_node(self, node: Any, graph: Any, force_expansion: bool = False) -> list[Any]:
        found = super().expand_node(node, graph, force_expansion)  # pyright: ignore
        ordered = []
        for reaction in (new for new in found if isinstance(new, AndNode)):
            ordered.append(reaction)
            ordered.extend(sorted(graph.successors(reaction), key=lambda child: child.mol.smiles))
        for number, new in enumerate(ordered, len(graph) - len(ordered)):
            new.data["order"] = number
        return ordered


class _RetroStar(_Reproducible, RetroStarSearch):
    def priority_function(self, node: Any, graph: Any) -> float:
        # Costs are often equal; then the older node comes first.
        return super().priority_function(node, graph) + 1e-6 * node.data.get("order", 0)


class _BreadthFirst(_Reproducible, AndOr_BreadthFirstSearch):
    pass


class _Size(NoCacheNodeEvaluator[OrNode]):
    """Retro*'s estimate of what a molecule that cannot be bought will cost: 0.2 nats for each heavy
    atom beyond eight.

    Without it (0) a search of 100 expansions solved 19 of 80 molecules of ChEMBL, with it 25.
    """

    def _evaluate_nodes(self, nodes: Sequence[OrNode], graph: Any = None) -> list[float]:
        return [0.2 * max(0, _heavy_atoms(node.mol.smiles) - 8) for node in nodes]


@lru_cache(CACHE)
def _heavy_atoms(smiles: str) -> int:
    # Not by node.mol.rdkit_mol, which would stay with the molecule: 170 kB for each remembered one.
    return Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()


class Planner:
    """Finds routes.

    Args:
      model: proposes last steps, each with a probability p; a step costs -log p.
      stock: what can be bought.
      search: "retro-star" or "breadth-first".
      seconds: limit, looked at between two expansions; what is found by then depends on the
        machine.
      expansions: limit, nodes of the tree that are taken apart; the same on every machine.
    Raises:
      InvalidInput: for another search, or limits that leave no time for one.
    """

    def __init__(
        self,
        model: BackwardReactionModel,
        stock: Stock,
        *,
        search: str = "retro-star",
        seconds: float = math.inf,
        expansions: int = 500,
    ) -> None:
        if search not in ("retro-star", "breadth-first"):
            raise InvalidInput(
                f"there is no search {search!r}. Write 'retro-star' or 'breadth-first'."
            )
        if not (seconds > 0 and expansions >= 1):
            raise InvalidInput(
                f"seconds = {seconds:g} and expansions = {expansions} leave nothing to search, and "
                "no molecule would have a route. Give positive numbers."
            )
        limits: dict[str, Any] = {
            "reaction_model": model,
            "mol_inventory": stock,
            "time_limit_s": seconds,
            "limit_iterations": expansions,
            "max_expansion_depth": DEPTH,
            "prevent_repeat_mol_in_trees": True,
            "stop_on_first_solution": True,
        }
        if search == "breadth-first":
            self._algorithm = _BreadthFirst(**limits)
        else:
            self._algorithm = _RetroStar(
                and_node_cost_fn=ReactionModelLogProbCost(), value_function=_Size(), **limits
            )

    def __call__(self, smiles: str) -> Route | None:
        """The first route to a molecule, or None where the limits end the search.

        It is made as its `templates.standard_form`: neutral, and an amine for an imine.

        Raises:
          InvalidInput: for what is no molecule.
        """
        target = standard_form(smiles)
        if target is None:
            raise InvalidInput(f"{smiles!r} is no molecule. Correct the SMILES.")
        graph, _ = self._algorithm.run_from_mol(Molecule(target))
        if not graph.root_node.has_solution:
            return None
        return Route(target, tuple(_reactions(graph, graph.root_node, {}).values()))


def _reactions(graph: Any, node: Any, made: dict[str, Reaction]) -> dict[str, Reaction]:
    """Of the cheapest route to a node that has one, added to those of molecules made before.

    Nothing goes round in circles: no branch of the tree holds a molecule twice, and what was made
    before was made without this node's molecule, for else that would have been made before, too.
    """
    smiles = node.mol.smiles
    if node.mol.metadata["is_purchasable"] or smiles in made:
        return made
    solved = [child for child in graph.successors(node) if child.has_solution]
    best = min(solved, key=lambda child: child.data.get("retro_star_min_cost", 0.0))
    reactants = tuple(molecule.smiles for molecule in best.reaction.reactants)
    made[smiles] = Reaction(smiles, reactants, best.reaction.metadata["template"])
    for child in sorted(graph.successors(best), key=lambda child: child.mol.smiles):
        _reactions(graph, child, made)
    return made


class Synthesis:
    """Component: 1 where a route is found and the rule holds for it, 0 where none is.

    A search that breaks, as when MEGAN's worker dies, is a `Failure`.

    Attributes:
      stock: what can be bought.
      identity: all on which a value depends.
    Raises:
      InvalidInput: if the stock cannot be read.
      RunError: if MEGAN is not installed.
    """

    def __init__(self, config: SynthesisConfig) -> None:
        self.stock = stock = Stock.load(config.stock)
        model = _model(config.model)
        self._planner = Planner(
            model,
            stock,
            search=config.search,
            seconds=config.seconds,
            expansions=config.expansions,
        )
        self._rule = _rule(config.rule)
        settings = config.model_dump() | {"stock": stock.digest, "model": model.identity}
        libraries = {name: version(name) for name in ("ipsrl", "syntheseus", "rdkit")}
        if config.rule == "all-amide":
            from ipsrl.molecules.synthesis.reactions import IDENTITY

            settings["rule"] = f"all-amide {IDENTITY}"
        self.identity = "synthesis " + json.dumps(settings | libraries, sort_keys=True)

    def __call__(self, smiles: Sequence[str]) -> list[float | Failure]:
        return [self._value(text) for text in smiles]

    def route(self, smiles: str) -> Route | None:
        """The first route that the search finds; the rule is not asked."""
        return self._planner(smiles)

    def _value(self, smiles: str) -> float | Failure:
        try:
            route = self.route(smiles)
            return float(route is not None and self._rule([r.smiles for r in route.reactions]))
        except Exception as error:
            return Failure(words(error))


def _model(name: str) -> Any:
    if name == "templates":
        return TemplateModel()
    from ipsrl.molecules.synthesis.megan import Megan

    return Megan()


def _rule(name: str) -> Callable[[Sequence[str]], bool]:
    """Of the reactions of a route, as SMILES."""
    if name == "any":
        return lambda _: True
    from ipsrl.molecules.synthesis.reactions import route_is_all_amide

    return route_is_all_amide
