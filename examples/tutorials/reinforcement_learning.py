"""Collapse on a grid whose target is known, and how close each estimate of p comes to it.

The target is R / sum R over all cells.  Distances are exact: they are computed by dynamic
programming, so no sampling noise hides what a method does.
"""

import textwrap

from ipsrl.grids import Config, train
from ipsrl.theory import advise

GRID = {"dims": 2, "side": 8, "iterations": 300, "lr": 3e-3, "seeds": 3, "checkpoint_every": 300}
METHODS = {
    "GRPO": {"method": "grpo"},
    "IPS-GRPO, share of the group": {"method": "ips-grpo"},
    "IPS-GRPO, likelihood": {"estimator": "likelihood", "advantage_clip": 5.0},
    "trajectory balance": {"method": "tb"},
}


def main():
    print(f"{'three seeds':31}{'total L1 to the target':26}modes of 4")
    for name, options in METHODS.items():
        result = train(Config(**GRID, **options))
        distances = " ".join(f"{l1:.3f}" for l1 in result.total_l1)
        print(f"{name:30} {distances:25} {' '.join(map(str, result.modes_found))}")
        if result.floor_l1 is not None:
            print(f"{'  floor of this group size':30} {result.floor_l1:.3f}")

    print("\nRewards 1, 1 and 0.1 in groups of 16:")
    advice = advise([1.0, 1.0, 0.1], group_size=16)
    print(textwrap.fill(advice.recommendation, 90))


if __name__ == "__main__":
    main()
