"""A synthesis as data."""

from __future__ import annotations

from dataclasses import dataclass

from ipsrl.errors import InvalidInput


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
      InvalidInput: if it is not such a tree.
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
