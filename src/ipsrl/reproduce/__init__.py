"""Items of the paper (and ours): their configurations, and our numbers beside its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One item that can be reproduced.

    Attributes:
      what: one line for the help.
      home: module below this package, and what in it is called with (name, preset, out).
      presets: how much of it can be run.
    """

    what: str
    home: str
    presets: tuple[str, ...] = ("quick", "paper")


_HOURS = ("quick", "cpu", "paper")
ITEMS = {
    "table-1": Item("distance to the target on hyper-grids of 2 and 4 dimensions", "grids:TABLE_1"),
    "figure-1": Item("where policies end on the 8x8 hyper-grid", "grids:FIGURE_1"),
    "table-2": Item("right answers that language models recover", "hypospace:reproduce", _HOURS),
    "figure-2": Item("table-2, drawn over training", "hypospace:reproduce", _HOURS),
    "figure-3": Item("two outcomes that 35 and 7 paths lead to", "lattice:reproduce"),
    "figures-4-5": Item("the structures of one voxel view", "hypospace:reproduce", _HOURS),
    "table-3": Item("molecules that bind and can be made", "table_3:reproduce", _HOURS),
    "table-3-settings": Item(
        "ours: table-3 at the paper's budgets, by settings that could explain it",
        "table_3_settings:reproduce",
        ("quick", "cpu"),
    ),
    "table-4": Item("recovery by group size and eps", "hypospace:reproduce", _HOURS),
    "theory": Item("the theorems, and the floor of finite groups", "theory:reproduce"),
    "group-size": Item("ours: the floor of the group frequency", "grids:GROUP_SIZE"),
    "estimators": Item(
        "ours: better estimates of p, beside trajectory balance", "grids:ESTIMATORS"
    ),
    "choosing": Item(
        "ours: which estimator of p, by right answers per member of a group",
        "choosing:reproduce",
        ("quick", "cpu"),
    ),
    "critic": Item("ours: what a critic of r / p adds, and one that does not move", "grids:CRITIC"),
    "grid-bars": Item(
        "ours: published figures on hyper-grids, beside what we reach",
        "bars:reproduce",
        ("quick", "cpu"),
    ),
    "open-questions": Item(
        "ours: a real language model, and questions with many right answers",
        "open_questions:reproduce",
        ("quick", "cpu"),
    ),
    "rivals": Item(
        "ours: who keeps what is good, at what price", "rivals:reproduce", ("quick", "cpu")
    ),
    "molecule-keys": Item(
        "ours: which outcome makes IPS act on molecules", "molecules:reproduce", ("quick", "cpu")
    ),
    "molecule-modes": Item(
        "ours: who keeps several kinds of molecules, at what price in hits",
        "modes:reproduce",
        ("quick", "cpu"),
    ),
}
"""Every item, by the name that the command takes: there is no other list of them."""


def reproduce(name: str, preset: str, out: Path) -> None:
    """Train every cell of an item, print the table, and write figures and a page to `out`.

    Runs in `out` that have ended are used again, and interrupted ones continue.

    Args:
      name: one of `ITEMS`.
      preset: one of its presets.
      out: folder to write.
    Raises:
      ConfigError: for a preset that the item has not.
      MissingExtra: without the libraries of `ipsrl[report]`.
    """
    from ipsrl.errors import ConfigError
    from ipsrl.report.page import check_libraries
    from ipsrl.runs import Folder

    check_libraries()
    item = ITEMS[name]
    if preset not in item.presets:
        why = "paper runs on a CPU" if preset == "cpu" else "it is not in the paper"
        raise ConfigError(
            f"{name} has no preset {preset}: {why}. Choose {' or '.join(item.presets)}."
        )
    # Before hours of training.
    Folder.make(out).claim("table.json", "index.html")
    module, _, run = item.home.partition(":")
    getattr(import_module(f"{__name__}.{module}"), run)(name, preset, out)
    print(f"figures and page: {out / 'index.html'}")
