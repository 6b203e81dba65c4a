"""The command `ipsrl reproduce`."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ipsrl import reproduce as items
from ipsrl.functions import printing_aside
from ipsrl.options import loudness_of, parse


def reproduce(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        item: tyro.conf.Positional[Literal[tuple(items.ITEMS)]]  # type: ignore[valid-type]
        """Item to reproduce."""
        preset: Literal["quick", "cpu", "paper"] = "quick"
        """quick: minutes on two cores; paper: the full budget; cpu: hours or days, for language
        models, molecules and comparisons."""
        out: Path | None = None
        """Where to write; runs/ITEM-PRESET if not given.  Finished runs there are used again."""
        json: bool = False
        """Print the rows of the table as JSON instead of text."""
        quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
        """Print no progress."""
        verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
        """Print a line for every step."""

    listed = "\n".join(f"  {name:14} {item.what}" for name, item in items.ITEMS.items())
    options = parse(
        Options, argv, "ipsrl reproduce",
        description=f"Run an item of the paper, or of ours, beside its numbers.\n\n{listed}",
    )  # fmt: skip
    out = options.out or Path("runs") / f"{options.item}-{options.preset}"

    loudness = loudness_of(options.quiet, options.verbose)

    from ipsrl.runs import speaking
    from ipsrl.user_cache import keep_compiled

    keep_compiled()
    with speaking(loudness), printing_aside() if options.json else nullcontext():
        items.reproduce(options.item, options.preset, out)
    if options.json:
        found = ("table.json", "structures.json")  # the second of figures-4-5
        print(next(out / name for name in found if (out / name).exists()).read_text(), end="")
    return 0
