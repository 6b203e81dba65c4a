"""The program of MEGAN's worker, with a toy in the model's place: MEGAN needs TensorFlow."""

from syntheseus import Bag, Molecule, SingleProductReaction

from ipsrl.workers import megan


def cuts(products: list[Molecule], num_results: int) -> list[list[SingleProductReaction]]:
    """Every cut of a chain of carbons in two; the n-th has probability 2^-n."""
    return [
        [
            SingleProductReaction(
                product=product,
                reactants=Bag([Molecule("C" * n), Molecule(product.smiles[n:])]),
                metadata={"probability": 2.0**-n},
            )
            for n in range(1, len(product.smiles))
        ][:num_results]
        for product in products
    ]


def test_the_protocol_by_hand(monkeypatch):
    monkeypatch.setattr(megan, "_model", lambda: cuts)
    assert megan._answer({"smiles": "CCCC", "results": 2}) == {
        "steps": [
            {"reactants": ["C", "CCC"], "probability": 0.5},
            {"reactants": ["CC", "CC"], "probability": 0.25},
        ]
    }
    assert megan._answer({"smiles": "C", "results": 2}) == {"steps": []}
