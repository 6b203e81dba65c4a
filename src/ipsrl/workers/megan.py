"""The program of the worker megan: one-step retrosynthesis by MEGAN, as Syntheseus runs it.

    {"smiles": ..., "results": n} in, {"steps": [{"reactants": [...], "probability": p}, ...]} out

Syntheseus downloads the weights (Figshare) when they are not in its cache, which is
~/.cache/torch/syntheseus or $SYNTHESEUS_CACHE_DIR.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from ipsrl.workers.lines import serve


@cache
def _model() -> Any:
    inference = importlib.import_module("syntheseus.reaction_prediction.inference")
    return inference.MEGANModel()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    syntheseus = importlib.import_module("syntheseus")
    product = syntheseus.Molecule(request["smiles"])
    [found] = _model()([product], num_results=request["results"])
    return {
        "steps": [
            {
                "reactants": [molecule.smiles for molecule in step.reactants],
                "probability": step.metadata["probability"],
            }
            for step in found
        ]
    }


if __name__ == "__main__":
    serve(_answer)
