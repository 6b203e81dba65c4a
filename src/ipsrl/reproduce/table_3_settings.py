"""Table 3 at the paper's budgets, by settings of the loop that could explain it.  Ours.

    as it is       our reading: two rounds of random SMILES, a full bucket is purged
    saturn         as Saturn purges, whose loop the paper runs: each scaffold with a reward of 0
    plain          no rounds of random SMILES
    prior inside   REINVENT's sigma and prior in the advantage, instead of the KL term

Each setting changes the same keys of all methods that it is for.
"""

from __future__ import annotations

from pathlib import Path

from ipsrl.reproduce.molecules import (
    METHODS,
    Methods,
    Preset,
    cells,
    hits_figures,
    records,
    write_table,
)
from ipsrl.reproduce.table_3 import (
    FOLDER,
    LITERAL,
    NOTE,
    THRESHOLDS,
    at_thresholds,
    check_files,
    row,
)

_COMPARED = {name: METHODS[name] for name in ("reinvent", "grpo", LITERAL)}
_SATURN = {"purge": "zero", "bucket": 11}  # 11 is its 10: docs/molecules.md
_INSIDE = {"prior_in_advantage": True, "kl": 0.0}
COMPARED: Methods = {
    **_COMPARED,
    **{f"{name} saturn": {**keys, **_SATURN} for name, keys in _COMPARED.items()},
    **{f"{name} plain": {**keys, "augmentations": 0} for name, keys in _COMPARED.items()},
    **{f"{name} prior inside": {**_COMPARED[name], **_INSIDE} for name in ("grpo", LITERAL)},
}
# Most molecules of one search are in no other, but those that are need not be docked again.
_CACHE = {"cache": "table-3.sqlite"}
_ONE_OF_EACH = ("reinvent saturn", "grpo prior inside", f"{LITERAL} plain")
PRESETS = {
    "quick": (
        Preset(
            1, ("all-amide",), {name: COMPARED[name] for name in _ONE_OF_EACH},
            {"budget": 64, **_CACHE},
        ),
    ),
    "cpu": (
        Preset(3, ("all-amide",), COMPARED, {"budget": 5000, **_CACHE}),
        Preset(3, ("synth",), COMPARED, {"budget": 10_000, **_CACHE}),
    ),
}  # fmt: skip


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Run every cell with every seed, print the table, draw the figures to `out`.

    Raises:
      InvalidInput: if the stock or the receptor is not there.
    """
    presets = PRESETS[preset_name]
    configs = {cell: each for one in presets for cell, each in cells(one, FOLDER).items()}
    check_files([seeds[0] for seeds in configs.values()])
    found = records(out, configs, at_thresholds)
    rows = [
        row(task, threshold, method, found[f"{task} {method}"])
        for preset in presets for task in preset.objectives
        for threshold in THRESHOLDS for method in preset.methods
    ]  # fmt: skip
    figures = {title: drawn for one in presets for title, drawn in hits_figures(one, found).items()}
    write_table(out, f"{name}, {preset_name} preset", rows, figures, NOTE)
