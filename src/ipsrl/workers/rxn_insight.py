"""Program of the worker rxn-insight: {"reaction": SMILES} in, {"class": ..., "name": ...} out."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

from ipsrl.workers.lines import serve


@cache
def _mapper() -> Any:
    """RXNMapper, whose weights are in its package."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    return importlib.import_module("rxnmapper").RXNMapper()


def _answer(request: dict[str, Any]) -> dict[str, str]:
    mapper = _mapper()
    rxn_insight = importlib.import_module("rxn_insight.reaction")
    reaction = rxn_insight.Reaction(request["reaction"], rxn_mapper=mapper, search_template=False)
    return {"class": reaction.get_class(), "name": reaction.get_name()}


if __name__ == "__main__":
    serve(_answer)
