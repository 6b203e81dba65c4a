"""Share of molecules with a route, and time per molecule: `python bench/retrosynthesis.py`.

Molecules are drawn from ChEMBL (shared data) with a fixed seed, and looked for with the templates
of ipsrl in a stock of 20,000 building blocks.  Each answer is a line of `--out`, so a run that was
stopped goes on where it was; `--summary` prints what there is.  Seconds are the processor's.
"""

import argparse
import gzip
import json
import os
import random
import statistics
import time
from pathlib import Path

from scipy.stats import binomtest

from ipsrl.molecules.config import SynthesisConfig
from ipsrl.molecules.synthesis.planner import Synthesis

SHARED = Path(os.environ.get("IPSRL_SHARED", "../shared")) / "data" / "chem"


def drawn(n: int) -> list[str]:
    """Molecules of ChEMBL, by seed 0."""
    with gzip.open(SHARED / "chembl_78k.smi.gz", "rt") as file:
        return random.Random(0).sample([line.split()[0] for line in file], n)


def run(smiles: list[str], out: Path, config: SynthesisConfig) -> None:
    synthesis = Synthesis(config)
    done = len(out.read_text().splitlines()) if out.exists() else 0
    for text in smiles[done:]:
        start = time.process_time()
        route = synthesis.route(text)
        row = {
            "smiles": text,
            "steps": None if route is None else len(route.reactions),
            "templates": [] if route is None else [r.template for r in route.reactions],
            "seconds": round(time.process_time() - start, 3),
        }
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def summary(out: Path) -> str:
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    solved = [row["steps"] for row in rows if row["steps"] is not None]
    test = binomtest(len(solved), len(rows)).proportion_ci(method="wilson")
    seconds = [row["seconds"] for row in rows]
    return (
        f"{len(solved)} of {len(rows)} molecules solved: {len(solved) / len(rows):.1%}, "
        f"95 % interval {test.low:.1%} to {test.high:.1%}\n"
        f"{statistics.mean(solved):.1f} steps; {solved.count(0)} are in the stock\n"
        f"processor seconds per molecule: median {statistics.median(seconds):.2f}, "
        f"mean {statistics.mean(seconds):.2f}, most {max(seconds):.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--expansions", type=int, default=500)
    parser.add_argument("--search", default="retro-star")
    parser.add_argument("--out", type=Path, default=Path(".bench/retrosynthesis.jsonl"))
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    if not options.summary:
        config = SynthesisConfig(
            stock=str(SHARED / "bb_sigma_20k.smi.gz"),
            search=options.search,
            seconds=86_400.0,  # expansions are the limit, so that the share does not vary
            expansions=options.expansions,
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        run(drawn(options.n), options.out, config)
    print(summary(options.out))


if __name__ == "__main__":
    main()
