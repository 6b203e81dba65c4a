"""Molecules that score high and differ, within a budget of oracle calls, and how to make one.

The prior comes with ipsrl and the oracle is RDKit's, so nothing is downloaded.
"""

import csv
import tempfile
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from ipsrl.molecules import Config, Planner, Stock, TemplateModel, train


def sp3_share(smiles):
    """An oracle of your own: the share of carbon atoms that are sp3."""
    return [rdMolDescriptors.CalcFractionCSP3(Chem.MolFromSmiles(text)) for text in smiles]


CONFIG = Config(
    method="ips-grpo",
    outcome="scaffold",  # what to keep several of
    budget=200,
    batch=32,
    lr=5e-4,
    components=[
        {"kind": "qed"},
        {"kind": "hbd", "transform": {"kind": "step", "low": 0.0, "high": 3.0}},
        {
            "kind": "function",
            "name": "sp3",
            "function": f"{__file__}:sp3_share",
            "transform": {"kind": "step", "low": 0.4},
        },
    ],
)


def main():
    with tempfile.TemporaryDirectory() as folder:
        result = train(CONFIG, Path(folder) / "search")
        with (Path(folder) / "search" / "calls.csv").open() as file:
            calls = list(csv.DictReader(file))
    print(f"{result.calls} calls, {result.hits} hits, {result.scaffolds} scaffolds of hits")

    best = sorted(calls, key=lambda call: -float(call["reward"] or 0))
    print("\nreward    QED    sp3  molecule")
    for call in best[:5]:
        numbers = (float(call[key]) for key in ("reward", "qed", "sp3"))
        print(" ".join(f"{x:6.3f}" for x in numbers), "", call["smiles"])

    planner = Planner(TemplateModel(), Stock.load("common"), expansions=50)
    for place, call in enumerate(best, start=1):
        if route := planner(call["smiles"]):
            print(f"\nthe best molecule with a route is number {place}: {call['smiles']}")
            for reaction in route.reactions:
                print(" ", reaction.smiles)
            break


if __name__ == "__main__":
    main()
