"""Retrosynthesis: can a molecule be made of what can be bought, and how?

    Planner(model, stock, ...)(smiles) -> Route | None

searches with Syntheseus (Maziarz et al. 2024), Retro* (Chen et al. 2020) or breadth first, until
the first route is found or a limit is reached.  The model proposes the last step of a synthesis:
our templates, or MEGAN in an environment of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from rdkit import Chem
from syntheseus import BackwardReactionModel, Molecule
from syntheseus.search.algorithms.best_first.retro_star import RetroStarSearch
from syntheseus.search.algorithms.breadth_first import AndOr_BreadthFirstSearch
from syntheseus.search.graph.and_or import AndNode, OrNode
from syntheseus.search.node_evaluation.base import NoCacheNodeEvaluator
from syntheseus.search.node_evaluation.common import ReactionModelLogProbCost

from ipsrl.errors import InvalidInput, words
from ipsrl.molecules.component import Failure
from ipsrl.molecules.config import SynthesisConfig
from ipsrl.molecules.synthesis.route import Reaction, Route
from ipsrl.molecules.synthesis.steps import CACHE, TemplateModel
from ipsrl.molecules.synthesis.stock import Stock
from ipsrl.molecules.synthesis.templates import standard_form

DEPTH = 20  # nodes below the target: ten reactions in a row


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
          InvalidInput: for what is not a molecule.
        """
        target = standard_form(smiles)
        if target is None:
            raise InvalidInput(f"{smiles!r} is not a molecule. Correct the SMILES.")
        graph, _ = self._algorithm.run_from_mol(Molecule(target))
        if not graph.root_node.has_solution:
            return None
        return Route(target, tuple(_reactions(graph, graph.root_node, {}).values()))


def _reactions(graph: Any, node: Any, made: dict[str, Reaction]) -> dict[str, Reaction]:
    """Add the reactions of the cheapest route to a node to those made before.

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
    """The rule that decides whether the reactions of a route, as SMILES, count."""
    if name == "any":
        return lambda _: True
    from ipsrl.molecules.synthesis.reactions import route_is_all_amide

    return route_is_all_amide
