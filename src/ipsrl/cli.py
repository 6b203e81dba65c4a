"""The command `ipsrl`.  A command loads the libraries that it needs, so --help is instant."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from ipsrl.errors import IpsrlError

USAGE = """\
usage: ipsrl COMMAND [options]

Reinforcement learning that keeps every good answer.

  train hypergrid      train policies on a hyper-grid
  reproduce ITEM       run an item of the paper beside its numbers: table-1, figure-1,
                       figure-3, theory, or of ours: group-size, estimators
  advise               will IPS-GRPO work with my group size, eps and rewards?
  report RUN...        figures and a page of finished runs
  doctor               what is installed, and whether it works

Options of a command:  ipsrl COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for an error, 2 for a wrong call, 130 for Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from ipsrl import __version__

        print(f"ipsrl {__version__}")
        return 0
    for name, command in COMMANDS.items():
        words = name.split()
        if argv[: len(words)] == words:
            try:
                return command(argv[len(words) :])
            except IpsrlError as error:
                print(f"ipsrl {name}: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                print(f"\nipsrl {name}: interrupted", file=sys.stderr)
                return 130
    print(f"ipsrl: no command {' '.join(argv[:2])!r}.\n\n{USAGE}", end="", file=sys.stderr)
    return 2


def train_hypergrid(argv: list[str]) -> int:
    import tyro

    from ipsrl.grids.config import Config

    @dataclass(frozen=True)
    class Options:
        """Train policies on a hyper-grid.  Every option is also a key of the TOML file."""

        options: Annotated[Config, tyro.conf.arg(name="")]
        config: Path | None = None
        """TOML file; options on the command line win."""
        out: Path | None = None
        """Run directory to write; runs/hypergrid-DIGEST if not given."""
        resume: Path | None = None
        """Run directory to continue; its configuration is used as it is."""

    # The file must be known before the options are read, because it sets their defaults.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    path = early.parse_known_args(argv)[0].config
    defaults = Config.load(path) if path else Config()
    parsed = tyro.cli(
        Options, args=argv, prog="ipsrl train hypergrid", default=Options(defaults),
        config=(tyro.conf.AvoidSubcommands,),
    )  # fmt: skip

    from ipsrl.grids.train import train
    from ipsrl.runs import Run

    if parsed.resume is not None:
        if len(argv) != (1 if argv[0].startswith("--resume=") else 2):
            from ipsrl.errors import ConfigError

            raise ConfigError(
                "--resume continues a run as it was configured, so other options would be ignored. "
                "Leave them out, or start a new run with --out."
            )
        config, out = Run.open(parsed.resume).config(Config), parsed.resume
    else:
        config = parsed.options
        out = parsed.out or Path("runs") / f"hypergrid-{config.digest()}"
    try:
        result = train(config, out, resume=parsed.resume is not None)
    except KeyboardInterrupt:
        print(f"\nstopped; continue with: ipsrl train hypergrid --resume {out}", file=sys.stderr)
        return 130
    for seed, (l1, modes) in enumerate(zip(result.total_l1, result.modes_found, strict=True)):
        distance = "unknown" if l1 is None else f"{l1:.4f}"
        print(f"seed {config.seed + seed}: total L1 {distance}, modes {modes}/{result.modes_total}")
    if result.floor_l1 is not None:
        print(f"floor of the group frequency at this group size: total L1 {result.floor_l1:.4f}")
    print(f"written to {out}")
    return 0


def reproduce(argv: list[str]) -> int:
    import tyro

    @dataclass(frozen=True)
    class Options:
        """Run an item of the paper, and print our numbers beside the paper's."""

        item: tyro.conf.Positional[
            Literal["table-1", "figure-1", "figure-3", "theory", "group-size", "estimators"]
        ]
        """What to reproduce."""
        preset: Literal["quick", "paper"] = "quick"
        """quick: minutes on two cores; paper: the full budget."""
        out: Path | None = None
        """Where to write; runs/ITEM-PRESET if not given.  Finished runs there are used again."""

    options = tyro.cli(Options, args=argv, prog="ipsrl reproduce")
    out = options.out or Path("runs") / f"{options.item}-{options.preset}"
    from ipsrl import reproduce as items

    items.reproduce(options.item, options.preset, out)
    return 0


def advise(argv: list[str]) -> int:
    import tyro

    from ipsrl.theory import groups

    @dataclass(frozen=True)
    class Options:
        """Predict what IPS-GRPO with group frequency will do to the outcomes of one prompt.

        Name the rewards of all outcomes, or how many there are and how far their rewards differ.
        """

        rewards: str | None = None
        """Rewards of all outcomes, such as 1,1,0.1."""
        outcomes: int | None = None
        """Number of outcomes; their rewards are spread evenly in log between 1 and 1/ratio."""
        reward_ratio: float = 1.0
        """Largest reward over smallest, with --outcomes."""
        group_size: int = 8
        """Samples per prompt, G (TRL: num_generations)."""
        eps: float = 0.0
        """Clip of the share."""
        target_l1: float = 0.1
        """Total L1 to the reward-proportional distribution that is good enough."""
        json: bool = False
        """Print an object instead of text."""

    options = tyro.cli(Options, args=argv, prog="ipsrl advise")
    rewards = groups.parse_rewards(options.rewards, options.outcomes, options.reward_ratio)
    advice = groups.advise(
        rewards, options.group_size, eps=options.eps, target_l1=options.target_l1
    )
    if options.json:
        print(json.dumps(asdict(advice), indent=2))
        return 0
    target = rewards / rewards.sum()
    print("outcome   reward   target   predicted")
    shown = range(len(rewards)) if len(rewards) <= 20 else [*range(10), *range(-10, 0)]
    for i in shown:
        dies = "  dies out" if i % len(rewards) in advice.extinct else ""
        print(
            f"{i % len(rewards):7} {rewards[i]:8.4g} {target[i]:8.4f} "
            f"{advice.distribution[i]:11.4f}{dies}"
        )
    print(f"total L1 {advice.floor_l1:.4f}; needed group size {advice.needed_group_size or 'none'}")
    print(advice.recommendation)
    return 0


def report(argv: list[str]) -> int:
    import tyro

    @dataclass(frozen=True)
    class Options:
        """Figures and a self-contained page of finished runs."""

        runs: tyro.conf.Positional[tuple[Path, ...]]
        """Run directories."""
        out: Path | None = None
        """File to write; report.html in the first run if not given."""

    options = tyro.cli(Options, args=argv, prog="ipsrl report")
    if not options.runs:
        print("ipsrl report: name at least one run directory", file=sys.stderr)
        return 2
    from ipsrl.report.page import write_report

    out = options.out or options.runs[0] / "report.html"
    names = [run.resolve().name for run in options.runs]
    labels = names if len(set(names)) == len(names) else map(str, options.runs)
    write_report(dict(zip(labels, options.runs, strict=True)), out)
    print(f"written to {out}")
    return 0


def doctor(argv: list[str]) -> int:
    from ipsrl.doctor import examine

    if argv:
        print("usage: ipsrl doctor\n\nPrints what is installed, and whether it works.")
        return 0 if argv in (["-h"], ["--help"]) else 2
    return examine()


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train hypergrid": train_hypergrid,
    "reproduce": reproduce,
    "advise": advise,
    "report": report,
    "doctor": doctor,
}
