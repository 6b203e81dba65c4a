"""The command `ipsrl workers install`."""

from dataclasses import dataclass
from typing import Literal

import tyro

from ipsrl import workers


def install(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Build an environment of its own for a tool whose requirements clash with ours."""

        name: tyro.conf.Positional[Literal[tuple(workers.names())]]  # type: ignore[valid-type]
        """Which."""

    options = tyro.cli(Options, args=argv, prog="ipsrl workers install")
    print(workers.install(options.name))
    return 0
