"""The command `ipsrl workers install`."""

from dataclasses import dataclass
from typing import Literal

import tyro

from ipsrl import workers
from ipsrl.options import parse, say


def install(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Build an environment of its own for a tool whose requirements clash with ours."""

        name: tyro.conf.Positional[Literal[tuple(workers.names())]]  # type: ignore[valid-type]
        """Which."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl workers install")
    folder = str(workers.install(options.name))
    say(folder, {"name": options.name, "folder": folder}, options.json)
    return 0
