"""The command of syntheses: `ipsrl molecules route`."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.options import parse


def route(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Find a synthesis of each molecule from what can be bought, and draw it."""

        smiles: tyro.conf.Positional[tuple[str, ...]]
        """Molecules."""
        stock: str = "common"
        """What can be bought: a stock that comes with ipsrl, or a file of SMILES, .smi or
        .smi.gz."""
        model: Literal["templates", "megan"] = "templates"
        """What proposes the last step; megan needs `ipsrl workers install megan`."""
        search: Literal["retro-star", "breadth-first"] = "retro-star"
        """How the molecule that is taken apart next is chosen."""
        seconds: float = 180.0
        """Limit for each molecule."""
        expansions: int = 500
        """Limit for each molecule: molecules that are taken apart."""
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
        """Folder for routes.json and a picture of each route, route-1.svg ..."""
        json: bool = False
        """Print the routes as JSON instead of text."""

    options = parse(Options, argv, "ipsrl molecules route")
    if not options.smiles:
        raise ConfigError("there is no molecule to make. Give at least one SMILES.")
    from ipsrl.runs import Folder, check_folder

    if options.out is not None:
        check_folder(options.out)
    from ipsrl.molecules.config import SynthesisConfig

    config = SynthesisConfig(
        model=options.model, stock=options.stock, search=options.search, seconds=options.seconds,
        expansions=options.expansions,
    )  # fmt: skip
    from ipsrl.molecules import Synthesis

    synthesis = Synthesis(config)
    if left_out := synthesis.stock.skipped:
        print(
            f"{left_out} lines of the stock are not molecules, and were left out", file=sys.stderr
        )
    targets = [_molecule(text) for text in options.smiles]
    folder = None if options.out is None else Folder.make(options.out)
    if folder is not None:
        pictures = (f"route-{number}.svg" for number in range(1, len(targets) + 1))
        folder.claim("routes.json", *pictures)
    rows: list[dict[str, Any]] = []
    for number, target in enumerate(targets, 1):
        found = synthesis.route(target)
        rows.append({"smiles": target, "route": None if found is None else asdict(found)})
        if folder is not None:
            folder.write("routes.json", json.dumps(rows, indent=2).encode() + b"\n")
            if found is not None:
                from ipsrl.molecules.synthesis.picture import route_svg

                folder.write(f"route-{number}.svg", route_svg(found).encode())
        if not options.json:
            print(f"{target}\n{_steps(found)}", flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))
    if options.out is not None:
        print(f"written to {options.out}", file=sys.stderr)
    return 0


def _molecule(text: str) -> str:
    from ipsrl.molecules.molecule import canonical

    if (smiles := canonical(text)) is None:
        raise InvalidInput(f"{text!r} is not a molecule. Correct the SMILES.")
    return smiles


def _steps(route: Any) -> str:
    if route is None:
        return "  no route within the limits"
    if not route.reactions:
        return "  in stock"
    return "\n".join(f"  {r.smiles}  {r.template}" for r in route.reactions)
