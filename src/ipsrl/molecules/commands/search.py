"""The commands of searches: `ipsrl train molecules` and `ipsrl molecules translate`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ipsrl.errors import RunError
from ipsrl.lazy import loader
from ipsrl.options import parse, say
from ipsrl.threads import one_thread


def train(argv: list[str]) -> int:
    from ipsrl.command import training
    from ipsrl.molecules.config import Config

    asked = training(argv, "ipsrl train molecules", Config)
    one_thread()

    from ipsrl.molecules import train

    with asked.running():
        result = train(asked.config, asked.out, resume=asked.resume)
    best = "none" if result.best is None else f"{result.best:.3f}"
    ob100 = f"{result.ob100} calls to 100 hits" if result.ob100 else "fewer than 100 hits"
    threshold = asked.config.threshold
    asked.say(
        f"{result.calls} oracle calls, {result.failed} failed, {result.timeouts} out of time; "
        f"best reward {best}\n"
        f"{result.hits} hits above {threshold:g}, {result.scaffolds} scaffolds; {ob100}",
        result,
    )
    if result.best is None:
        raise RunError("; ".join(
            ["no oracle call has a value, so nothing was learned",
             *(f"{count} times {reason}" for reason, count in result.reasons.items())]
        ))  # fmt: skip
    return 0


def translate(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Translate a configuration of Saturn or REINVENT4, and say what its keys became."""

        source: tyro.conf.Positional[Path]
        """JSON file of a goal-directed generation of Saturn, or TOML file of REINVENT4: a staged
        learning, a scoring, or components alone."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """TOML file to write."""
        json: bool = False
        """Print what became of each key as an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules translate")
    from ipsrl.runs import check_free

    home = {"translate": "reinvent4" if options.source.suffix == ".toml" else "saturn"}
    made = loader("ipsrl.molecules", home, extra="molecules")("translate")(options.source)
    check_free(options.out)
    options.out.write_text(made.toml())
    lines = [f"{key}\n    {became}" for key, became in made.told]
    lines.append(f"written to {options.out}; try:  ipsrl train molecules --config {options.out}")
    found = {"out": str(options.out), "translated": made.told, "lost": made.lost}
    say("\n".join(lines), found, options.json)
    for key, why in made.lost:
        print(f"NOT TRANSLATED: {key}: {why}", file=sys.stderr)
    return 0
