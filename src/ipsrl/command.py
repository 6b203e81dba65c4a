"""What the commands that train share: options and files that make a configuration, and --resume."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from ipsrl.config import StrictConfig, read, toml
from ipsrl.errors import ConfigError

C = TypeVar("C", bound=StrictConfig)


def training(argv: Sequence[str], prog: str, model: type[C]) -> tuple[C, Path, bool]:
    """Configuration, run directory, and whether to resume, of a command that trains.

    Args:
      argv: words after the command.
      prog: the command, of which the last word names the runs that have no --out.
      model: of the configuration; each of its keys is an option.
    Raises:
      ConfigError: for a configuration that cannot be, or options that would be ignored.
      RunError: for --resume of what is not a run, or a run of another family.
    """
    name = prog.split()[-1]
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

        run = Run.open(known.resume)
        run.check_family(model)
        return run.config(model), known.resume, True

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
            tyro.conf.arg(help=f"Run directory to write; runs/{name}-DIGEST if not given."),
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
    words = list(argv)
    defaults = model.load(known.config) if known.config else None
    if defaults:  # a table on the command line adds to that of the file
        in_file = read(known.config)
        words = others
        for key in tables:
            added = [pair for pairs in given[key] for pair in pairs]
            names = {pair.partition("=")[0] for pair in added}
            table = {n: v for n, v in getattr(defaults, key).items() if n in in_file.get(key, {})}
            kept = [f"{name}={toml(value)}" for name, value in table.items() if name not in names]
            words += [f"--{key}", *kept, *added]
    parsed: Any = tyro.cli(
        Options, args=words, prog=prog, description=model.__doc__,
        default=Options(defaults) if defaults else None,
        config=(tyro.conf.AvoidSubcommands,),
    )  # fmt: skip
    config = parsed.options
    # The name is that of the configuration, wherever the working directory lies.
    return config, parsed.out or Path("runs") / f"{name}-{config.digest(Path.cwd())}", False


@contextmanager
def stoppable(prog: str, out: Path) -> Iterator[None]:
    """Ctrl-C says how to go on with the run of a command."""
    try:
        yield
    except KeyboardInterrupt:
        began = (out / "config.toml").exists()
        go_on = f"continue with: {prog} --resume {shlex.quote(str(out))}"
        raise KeyboardInterrupt(f"stopped; {go_on if began else 'nothing had begun'}") from None
