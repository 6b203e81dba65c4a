"""Last steps of a synthesis, as Syntheseus has them, and the model that takes them of templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syntheseus import BackwardReactionModel, Bag, Molecule, SingleProductReaction

from ipsrl.molecules.synthesis.templates import Template, digest, templates

CACHE = 10_000  # molecules whose last steps are remembered, at 90 kB each


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
