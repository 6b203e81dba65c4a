"""Items of the paper (and ours): their configurations, and our numbers beside its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One item that can be reproduced.

    Attributes:
      extras: that install its libraries, beside `report`.
      what: one line for the help.
      home: module below this package, and what in it is called with (name, preset, out).
      presets: how much of it can be run.
    """

    extras: str
    what: str
    home: str
    presets: tuple[str, ...] = ("quick", "paper")


_HOURS = ("quick", "cpu", "paper")
ITEMS = {
    "table-1": Item(
        "grids", "distance to the target on hyper-grids of 2 and 4 dimensions", "grids:TABLE_1"
    ),
    "figure-1": Item("grids", "where policies end on the 8x8 hyper-grid", "grids:FIGURE_1"),
    "table-2": Item(
        "llm", "right answers that language models recover", "hypospace:reproduce", _HOURS
    ),
    "figure-2": Item("llm", "table-2, drawn over training", "hypospace:reproduce", _HOURS),
    "figure-3": Item("grids", "two outcomes that 35 and 7 paths lead to", "lattice:reproduce"),
    "figures-4-5": Item("llm", "the structures of one voxel view", "hypospace:reproduce", _HOURS),
    "table-3": Item(
        "docking,molecules", "molecules that bind and can be made", "table_3:reproduce", _HOURS
    ),
    "table-3-settings": Item(
        "docking,molecules",
        "ours: table-3 at the paper's budgets, by settings that could explain it",
        "table_3_settings:reproduce",
        ("quick", "cpu"),
    ),
    "table-4": Item("llm", "recovery by group size and eps", "hypospace:reproduce", _HOURS),
    "theory": Item("grids", "the theorems, and the floor of finite groups", "theory:reproduce"),
    "group-size": Item("grids", "ours: the floor of the group frequency", "grids:GROUP_SIZE"),
    "estimators": Item(
        "grids", "ours: better estimates of p, beside trajectory balance", "grids:ESTIMATORS"
    ),
    "choosing": Item(
        "grids",
        "ours: which estimator of p, by right answers per member of a group",
        "choosing:reproduce",
        ("quick", "cpu"),
    ),
    "critic": Item(
        "grids", "ours: what a critic adds, of r / p or of the regularised return", "grids:CRITIC"
    ),
    "grid-bars": Item(
        "grids",
        "ours: published figures on hyper-grids, beside what we reach",
        "bars:reproduce",
        ("quick", "cpu"),
    ),
    "open-questions": Item(
        "llm",
        "ours: a real language model, and questions with many right answers",
        "open_questions:reproduce",
        ("quick", "cpu"),
    ),
    "rivals": Item(
        "grids,llm,molecules",
        "ours: who keeps what is good, at what price",
        "rivals:reproduce",
        _HOURS,
    ),
    "molecule-keys": Item(
        "molecules",
        "ours: which outcome makes IPS act on molecules",
        "molecules:reproduce",
        ("quick", "cpu"),
    ),
    "molecule-modes": Item(
        "molecules",
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
      RunError: for a folder of a sweep.
      MissingExtra: naming all extras that the item needs.
    """
    from ipsrl.errors import ConfigError, MissingExtra
    from ipsrl.lazy import loader
    from ipsrl.report.page import check_libraries
    from ipsrl.runs import Folder
    from ipsrl.runs.lock import locked
    from ipsrl.sweep.results import check_unmixed
    from ipsrl.threads import one_thread

    item = ITEMS[name]
    if preset not in item.presets:
        why = "paper runs on a CPU" if preset == "cpu" else "it is not in the paper"
        raise ConfigError(
            f"{name} has no preset {preset}: {why}. Choose {' or '.join(item.presets)}."
        )
    if preset != "paper":
        one_thread()
    module, _, run = item.home.partition(":")
    try:
        check_libraries()
        run_item = loader(__name__, {run: module}, extra="report")(run)
        # Before hours of training.
        check_unmixed(out, sweep=False)
        Folder.make(out).claim("table.json", "index.html")
        with locked(out):
            run_item(name, preset, out)
    except MissingExtra as error:
        extra, missing = error.args  # which may be one more, such as docking
        extras = {*item.extras.split(","), "report", extra}
        raise MissingExtra(",".join(sorted(extras)), missing) from error
    print(f"figures and page: {out / 'index.html'}")
