"""Our classes of reactions beside Rxn-INSIGHT's, on reactions that the templates make.

    ipsrl workers install rxn-insight
    python bench/reactions.py ../shared/data/chem/chembl_78k.smi.gz docs/results/reactions
    python bench/reactions.py ... docs/results/reactions/unseen --seed 1 --each 3 --more 8

Each template is applied backwards to molecules in the order of the seed, and gives one reaction for
each of the first molecules that it can make.  Two samples: of every template equally many; and
more of those that make amides, or what is taken for them.  On reactions of the second line no rule
was corrected.
"""

import argparse
import gzip
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from rdkit import rdBase
from scipy.stats import binomtest

from ipsrl.errors import RunError
from ipsrl.molecules.molecule import canonical
from ipsrl.molecules.synthesis.reactions import AMIDE, RxnInsight, classify
from ipsrl.molecules.synthesis.templates import Template, templates

TRIED = 4000  # molecules
NEAR = AMIDE | {
    "sulfonamide formation", "urea formation", "carbamate formation", "protection",
    "amide hydrolysis", "nitrile hydrolysis", "dehydration", "isocyanate formation",
}  # fmt: skip


OF_TEMPLATE = {
    "amide coupling", "imide formation", "acylsulfonamide formation", "hydrazinolysis",
}  # fmt: skip
"""Classes of templates, given by hand to each, that make an amide: a third opinion."""


def read(path: Path, seed: int) -> list[str]:
    with gzip.open(path, "rt") as lines:
        molecules = [line.split()[0] for line in lines if line.strip()]
    random.Random(seed).shuffle(molecules)
    return molecules


def make(template: Template, molecules: Iterable[str], count: int, seed: int) -> list[str]:
    """Reactions of a template, one for a molecule; fewer than asked for if it is rare."""
    choice, made = random.Random(f"{seed} {template.name}"), []
    for text in molecules:
        product = canonical(text)
        if product and (found := template.reactants(product)):
            made.append(f"{'.'.join(choice.choice(found))}>>{product}")
            if len(made) == count:
                break
    return made


def interval(successes: int, count: int) -> dict[str, float | int]:
    """A share with its 95 % interval (Wilson), as if the reactions were independent."""
    ends = binomtest(successes, count).proportion_ci(method="wilson")
    return {
        "agree": successes,
        "of": count,
        "share": round(successes / count, 4),
        "low": round(ends.low, 4),
        "high": round(ends.high, 4),
    }


def agreement(rows: list[dict[str, str]]) -> dict[str, object]:
    """Amide or not, by both; a reaction for which Rxn-INSIGHT has no answer is told apart."""
    rows = [row for row in rows if row["rxn_insight_class"]]
    both = Counter((row["amide"], row["rxn_insight_amide"]) for row in rows)
    equal = both["yes", "yes"] + both["no", "no"]
    either = len(rows) - both["no", "no"]
    return {
        "both amide": both["yes", "yes"],
        "only ours": both["yes", "no"],
        "only Rxn-INSIGHT": both["no", "yes"],
        "neither": both["no", "no"],
        "all": interval(equal, len(rows)),
        "where either says amide": interval(both["yes", "yes"], either),
        "amide by class Acylation alone": interval(
            sum(
                (row["amide"] == "yes") == (row["rxn_insight_class"] == "Acylation") for row in rows
            ),
            len(rows),
        ),
    }


def table(rows: list[dict[str, str]]) -> str:
    """Disagreements on amides by classes, then all classes beside one another."""
    apart, classes = defaultdict(list), Counter()
    for row in rows:
        if row["amide"] != row["rxn_insight_amide"]:
            key = row["class"], row["rxn_insight_class"], row["rxn_insight_name"]
            apart[key].append(row["reaction"])
        classes[row["class"], row["rxn_insight_class"]] += 1
    text = [
        "Amide or not: where the two differ",
        "",
        "| ours | Rxn-INSIGHT's class | its name | reactions | the first |",
        "|---|---|---|---|---|",
    ]
    for (ours, theirs, name), reactions in sorted(apart.items(), key=lambda x: (-len(x[1]), x[0])):
        text.append(f"| {ours} | {theirs} | {name} | {len(reactions)} | `{reactions[0]}` |")
    text += ["", "All classes", "", "| ours | Rxn-INSIGHT's | reactions |", "|---|---|---|"]
    text += [f"| {ours} | {theirs} | {n} |" for (ours, theirs), n in sorted(classes.items())]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("smiles", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=4, help="reactions of every template")
    parser.add_argument("--more", type=int, default=16, help="of those near amides")
    options = parser.parse_args()
    molecules, out = read(options.smiles, options.seed)[:TRIED], options.out
    seconds = Counter()
    rows: dict[str, list[dict[str, str]]] = {"every template": [], "amides and what is near": []}
    with rdBase.BlockLogs(), RxnInsight() as rxn_insight:
        rxn_insight.classify("CC(=O)O.CN>>CNC(C)=O")  # the start is not counted
        for template in templates():
            count = options.each + (options.more if classify(template.example) in NEAR else 0)
            for i, reaction in enumerate(make(template, molecules, count, options.seed)):
                start = time.perf_counter()
                ours = classify(reaction)
                middle = time.perf_counter()
                try:
                    kind, name = rxn_insight.classify(reaction)
                    amide = "yes" if rxn_insight.is_amide(reaction) else "no"
                except RunError as error:
                    kind, name, amide = "", str(error), ""
                seconds["ours"] += middle - start
                seconds["Rxn-INSIGHT"] += time.perf_counter() - middle
                rows["every template" if i < options.each else "amides and what is near"].append(
                    {
                        "reaction": reaction,
                        "template": template.name,
                        "template_amide": "yes" if template.reaction_class in OF_TEMPLATE else "no",
                        "class": ours,
                        "amide": "yes" if ours in AMIDE else "no",
                        "rxn_insight_class": kind,
                        "rxn_insight_name": name,
                        "rxn_insight_amide": amide,
                    }
                )
            print(f"{template.name}: {sum(map(len, rows.values()))} reactions", flush=True)
    together = [row for sample in rows.values() for row in sample]
    result = {
        "seed": options.seed,
        "rdkit": rdBase.rdkitVersion,
        "rxn-insight": RxnInsight.identity,
        "templates": len({row["template"] for row in together}),
        "no answer of Rxn-INSIGHT": sum(not row["rxn_insight_class"] for row in together),
        "other, by our classes": sum(row["class"] == "other" for row in together),
        "OtherReaction, by Rxn-INSIGHT": sum(
            row["rxn_insight_name"] == "OtherReaction" for row in together
        ),
        "ours as the template's": interval(
            sum(row["amide"] == row["template_amide"] for row in together), len(together)
        ),
        "Rxn-INSIGHT's as the template's": interval(
            sum(row["rxn_insight_amide"] == row["template_amide"] for row in together),
            len(together),
        ),
        **{name: agreement(sample) for name, sample in rows.items()},
        "together": agreement(together),
        "reactions": rows,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "agreement.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "table.md").write_text(table(together))
    print({name: f"{span / len(together) * 1000:.0f} ms" for name, span in seconds.items()})
    print(json.dumps({key: result[key] for key in result if key != "reactions"}, indent=1))


if __name__ == "__main__":
    main()
