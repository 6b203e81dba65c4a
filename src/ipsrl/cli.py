"""The command `ipsrl`.  A command loads the libraries that it needs, so --help is instant."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from ipsrl.errors import ConfigError, IpsrlError, words

if TYPE_CHECKING:
    from ipsrl.config import StrictConfig

C = TypeVar("C", bound="StrictConfig")

USAGE = """\
usage: ipsrl COMMAND [options]

Reinforcement learning that keeps every good answer.

  train hypergrid      train policies on a hyper-grid
  train llm            post-train a language model on a task of your own
  train hypospace      post-train one on problems with many right answers
  train molecules      search for molecules that score high and differ
  reproduce ITEM       run an item of the paper beside its numbers: table-1, figure-1,
                       table-2, figure-2, figure-3, figures-4-5, table-3, table-4, theory,
                       or of ours: group-size, estimators, molecule-keys
  advise               will IPS-GRPO work with my group size, eps and rewards?
  diagnose FILE...     did a language model collapse, and when? from its logged completions
  hypospace dataset D  observation sets of the domain D: causal, voxel or boolean
  hypospace judge D    judge responses, line by line, from standard input
  hypospace evaluate D how many of all right answers do a model's responses recover?
  molecules pretrain   teach a chemical language model a file of SMILES
  molecules sample     molecules of a prior: valid, unique, new and different?
  molecules import     a prior of the weights of Saturn or mamba-ssm
  molecules receptor S prepare a protein for docking: a PDB code or file
  molecules redock     does docking find the pose that the crystal shows?
  molecules route      a synthesis of molecules from what can be bought, drawn
  report RUN...        figures and a page of finished runs
  workers install NAME build the environment of a tool whose requirements clash with ours
  doctor               what is installed, and whether it works

Options of a command:  ipsrl COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for an error, 2 for a wrong call, 130 for Ctrl-C."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from ipsrl import __version__

        print(f"ipsrl {__version__}")
        return 0
    for name, command in COMMANDS.items():
        parts = name.split()
        if argv[: len(parts)] == parts:
            try:
                return command(argv[len(parts) :])
            except IpsrlError as error:
                print(f"ipsrl {name}: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt as stop:
                print(f"\nipsrl {name}: {str(stop) or 'interrupted'}", file=sys.stderr)
                return 130
            except SystemExit as end:
                asked = any(word in ("-h", "--help") or "--tyro-" in word for word in argv)
                if asked or end.code == 2:  # of tyro, which has said why
                    raise
                # Of code that is not ours: its 0 would pass for success.
                print(f"ipsrl {name}: ended without a result ({words(end)})", file=sys.stderr)
                return 1
    lines = [line for line in USAGE.splitlines() if line.startswith(f"  {argv[0]} ")]
    if lines and argv[1:] in ([], ["-h"], ["--help"]):
        print("\n".join(lines))
        return 0 if argv[1:] else 2
    print(f"ipsrl: no command {' '.join(argv[:2])!r}.\n\n{USAGE}", end="", file=sys.stderr)
    return 2


def train_hypergrid(argv: list[str]) -> int:
    from ipsrl.grids.config import Config

    config, out, resume = _training(argv, "hypergrid", Config)

    from ipsrl.grids.training import train

    with _stoppable("hypergrid", out):
        result = train(config, out, resume=resume)
    for seed, (l1, modes) in enumerate(zip(result.total_l1, result.modes_found, strict=True)):
        distance = "unknown" if l1 is None else f"{l1:.4f}"
        print(f"seed {config.seed + seed}: total L1 {distance}, modes {modes}/{result.modes_total}")
    if result.floor_l1 is not None:
        print(f"floor of the group frequency at this group size: total L1 {result.floor_l1:.4f}")
    print(f"written to {out}")
    return 0


def train_llm(argv: list[str]) -> int:
    from ipsrl.llm.config import Config

    config, out, resume = _training(argv, "llm", Config)

    from ipsrl.llm import train

    with _stoppable("llm", out):
        result = train(config, out, resume=resume)
    if os.environ.get("RANK", "0") != "0":  # torchrun starts this once per process
        return 0
    line = f"{result.steps} steps: reward {result.reward:.3f}"
    if result.effective is not None:
        line += f", {result.effective:.2f} effective of {result.distinct:.2f} outcomes per group"
    print(f"{line}\nwritten to {out}")
    return 0


def train_hypospace(argv: list[str]) -> int:
    from ipsrl.hypospace.config import Config

    config, out, resume = _training(argv, "hypospace", Config)

    from ipsrl.hypospace.training import train

    with _stoppable("hypospace", out):
        result = train(config, out, resume=resume)
    for half, found in (("train", result.train), ("test", result.test)):
        print(f"{half}: {found.text()}\n")
    print(f"written to {out}")
    return 0


def train_molecules(argv: list[str]) -> int:
    from ipsrl.molecules.config import Config

    config, out, resume = _training(argv, "molecules", Config)

    from ipsrl.molecules import train

    with _stoppable("molecules", out):
        result = train(config, out, resume=resume)
    best = "none" if result.best is None else f"{result.best:.3f}"
    ob100 = f"{result.ob100} calls to 100 hits" if result.ob100 else "fewer than 100 hits"
    print(
        f"{result.calls} oracle calls, {result.failed} failed, {result.timeouts} out of time; "
        f"best reward {best}\n"
        f"{result.hits} hits above {config.threshold:g}, {result.scaffolds} scaffolds; {ob100}\n"
        f"written to {out}"
    )
    return 1 if result.best is None else 0  # nothing has a value, so nothing was learned


@contextmanager
def _stoppable(family: str, out: Path) -> Iterator[None]:
    """Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        began = (out / "config.toml").exists()
        go_on = f"continue with: ipsrl train {family} --resume {shlex.quote(str(out))}"
        raise KeyboardInterrupt(f"stopped; {go_on if began else 'nothing had begun'}") from None


def _training(argv: list[str], family: str, model: type[C]) -> tuple[C, Path, bool]:
    """Configuration, run directory, and whether to resume, of a `train` command."""
    import tyro

    from ipsrl.config import read, toml

    prog = f"ipsrl train {family}"
    tables = [
        key for key, field in model.model_fields.items() if field.annotation == dict[str, Any]
    ]
    # The files must be known before the options are read, because they set their defaults.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument("--resume", type=Path)
    for key in tables:
        early.add_argument(f"--{key}", nargs="*", action="append")
    known, others = early.parse_known_args(argv)
    given = {key: getattr(known, key) or [] for key in tables}
    if known.resume is not None:
        if others or known.config or any(given.values()):
            raise ConfigError(
                "--resume continues a run as it was configured, so other options would be ignored. "
                "Leave them out, or start a new run with --out."
            )
        from ipsrl.runs import Run

        return Run.open(known.resume).config(model), known.resume, True

    @dataclass(frozen=True)
    class Options:
        """Train.  Every option is also a key of the TOML file.

        For a docstring of a field tyro would parse this whole file, a tenth of the time of --help.
        """

        options: Annotated[model, tyro.conf.arg(name="", help="")]  # type: ignore[valid-type]
        config: Annotated[
            Path | None, tyro.conf.arg(help="TOML file; options on the command line win.")
        ] = None
        out: Annotated[
            Path | None,
            tyro.conf.arg(help="Run directory to write; runs/FAMILY-DIGEST if not given."),
        ] = None
        resume: Annotated[
            Path | None,
            tyro.conf.arg(help="Run directory to continue; its configuration is used as it is."),
        ] = None

    for key, lists in given.items():
        if len(lists) > 1:
            raise ConfigError(
                f"--{key} is given twice. Write all KEY=VALUE pairs after one --{key}."
            )
    defaults = model.load(known.config) if known.config else None
    if defaults:  # a table on the command line adds to that of the file
        in_file = read(known.config)
        argv = others
        for key in tables:
            added = [pair for pairs in given[key] for pair in pairs]
            names = {pair.partition("=")[0] for pair in added}
            table = {n: v for n, v in getattr(defaults, key).items() if n in in_file.get(key, {})}
            kept = [f"{name}={toml(value)}" for name, value in table.items() if name not in names]
            argv += [f"--{key}", *kept, *added]
    parsed: Any = tyro.cli(
        Options, args=argv, prog=prog, description=model.__doc__,
        default=Options(defaults) if defaults else None,
        config=(tyro.conf.AvoidSubcommands,),
    )  # fmt: skip
    config = parsed.options
    # The name is that of the configuration, wherever the working directory lies.
    return config, parsed.out or Path("runs") / f"{family}-{config.digest(Path.cwd())}", False


def reproduce(argv: list[str]) -> int:
    import tyro

    @dataclass(frozen=True)
    class Options:
        """Run an item of the paper, and print our numbers beside the paper's."""

        item: tyro.conf.Positional[
            Literal[
                "table-1", "figure-1", "table-2", "figure-2", "figures-4-5", "table-3", "table-4",
                "figure-3", "theory", "group-size", "estimators", "molecule-keys",
            ]
        ]  # fmt: skip
        """What to reproduce."""
        preset: Literal["quick", "cpu", "paper"] = "quick"
        """quick: minutes on two cores; paper: the full budget; cpu: hours, for language models and
        molecules."""
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
        success_above: float | None = None
        """Outcomes with a reward above this are right, and only they are scaled.  For wrong answers
        that earn something, such as a format reward: as published IPS keeps them in proportion,
        and their rewards alone do not tell them from right ones."""
        json: bool = False
        """Print an object instead of text."""

    options = tyro.cli(Options, args=argv, prog="ipsrl advise")
    rewards = groups.parse_rewards(options.rewards, options.outcomes, options.reward_ratio)
    advice = groups.advise(
        rewards,
        options.group_size,
        eps=options.eps,
        target_l1=options.target_l1,
        success_above=options.success_above,
    )
    if options.json:
        print(json.dumps(asdict(advice), indent=2))
        return 0
    print("outcome   reward   target   predicted")
    shown = range(len(rewards)) if len(rewards) <= 20 else [*range(10), *range(-10, 0)]
    for i in shown:
        dies = "  dies out" if i % len(rewards) in advice.extinct else ""
        print(
            f"{i % len(rewards):7} {rewards[i]:8.4g} {advice.target[i]:8.4f} "
            f"{advice.distribution[i]:11.4f}{dies}"
        )
    print(f"total L1 {advice.floor_l1:.4f}; needed group size {advice.needed_group_size or 'none'}")
    print(advice.recommendation)
    return 0


def diagnose(argv: list[str]) -> int:
    import tyro

    @dataclass(frozen=True)
    class Options:
        """Did a run collapse onto few outcomes, and when?  From the completions that it logged."""

        files: tyro.conf.Positional[tuple[Path, ...]]
        """Parquet or JSON lines of prompt, completion, reward; or the output directory of a run."""
        outcome: str | None = None
        """module:function or file.py:function (prompts, completions, **columns) -> a key for each;
        the column `outcome` if not given."""
        reward: str | None = None
        """Column of the rewards; raw_reward, reward or the sum of TRL's columns if not given."""
        group_size: int | None = None
        """Samples per prompt, G; needed where a step holds several groups of one prompt."""
        success_above: float | None = None
        """Rewards above this are right: how much would IPS as published leave wrong answers?"""
        out: Path | None = None
        """Directory for diagnosis.json and the figure diagnosis.png."""
        json: bool = False
        """Print an object instead of text."""

    options = tyro.cli(Options, args=argv, prog="ipsrl diagnose")
    if not options.files:
        print("ipsrl diagnose: name at least one file of completions", file=sys.stderr)
        return 2
    from ipsrl.functions import load_function, printing_aside
    from ipsrl.llm.collapse import diagnose_completions
    from ipsrl.llm.completions import outcome_keys, read_completions
    from ipsrl.llm.summary import summary

    if options.out is not None:
        from ipsrl.report.page import check_libraries

        check_libraries()
    with printing_aside():
        outcome_fn = load_function(options.outcome) if options.outcome else None
        rows = read_completions(options.files, reward=options.reward, texts=outcome_fn is not None)
        keys = outcome_keys(rows, outcome_fn)
    rows = replace(rows, completions=[], columns={})  # most of the memory
    diagnosis = diagnose_completions(
        rows, keys, group_size=options.group_size, success_above=options.success_above
    )
    print(diagnosis.json() if options.json else summary(diagnosis))
    if options.out is not None:
        from ipsrl.report.collapse import write_figure

        write_figure(diagnosis.json(), options.out)
        print(f"written to {options.out}", file=sys.stderr)
    return 0


def within(family: str, command: str) -> Callable[[list[str]], int]:
    """`ipsrl FAMILY COMMAND`, which the family's own module `commands` defines."""

    def run(argv: list[str]) -> int:
        return getattr(import_module(f"ipsrl.{family}.commands"), command)(argv)

    return run


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


def workers_install(argv: list[str]) -> int:
    import tyro

    from ipsrl import workers

    @dataclass(frozen=True)
    class Options:
        """Build an environment of its own for a tool whose requirements clash with ours."""

        name: tyro.conf.Positional[Literal[tuple(workers.names())]]  # type: ignore[valid-type]
        """Which."""

    options = tyro.cli(Options, args=argv, prog="ipsrl workers install")
    print(workers.install(options.name))
    return 0


def doctor(argv: list[str]) -> int:
    if argv:
        print("usage: ipsrl doctor\n\nPrints what is installed, and whether it works.")
        return 0 if argv in (["-h"], ["--help"]) else 2
    from ipsrl.doctor import examine

    return examine()


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train hypergrid": train_hypergrid,
    "train llm": train_llm,
    "train hypospace": train_hypospace,
    "train molecules": train_molecules,
    "reproduce": reproduce,
    "advise": advise,
    "diagnose": diagnose,
    "hypospace dataset": within("hypospace", "dataset"),
    "hypospace judge": within("hypospace", "judge"),
    "hypospace evaluate": within("hypospace", "evaluate"),
    "molecules pretrain": within("molecules", "pretrain"),
    "molecules sample": within("molecules", "sample"),
    "molecules import": within("molecules", "import_"),
    "molecules receptor": within("molecules", "receptor"),
    "molecules redock": within("molecules", "redock"),
    "molecules route": within("molecules", "route"),
    "report": report,
    "workers install": workers_install,
    "doctor": doctor,
}
