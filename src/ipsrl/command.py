"""Shared parts of the commands that train: options, configuration files, and --resume."""

import argparse
import inspect
import os
import shlex
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

import tyro

from ipsrl.config import StrictConfig, config_file, read, toml
from ipsrl.errors import ConfigError
from ipsrl.options import loudness_of, parse, path_of, say

if TYPE_CHECKING:
    from ipsrl.runs.loudness import Loudness

SinkName = Literal["tensorboard", "trackio", "wandb", "mlflow"]
C = TypeVar("C", bound=StrictConfig)

CONFIGURATIONS = {
    "hypergrid": "grids.config:Config",
    "env": "grids.config:EnvConfig",
    "llm": "llm.config:Config",
    "hypospace": "hypospace.config:Config",
    "molecules": "molecules.config:Config",
}
"""Module below ipsrl, and the configuration in it, by the word that follows `ipsrl train`."""


def configuration(word: str) -> type[StrictConfig]:
    """The configuration of the command `ipsrl train WORD`."""
    module, _, name = CONFIGURATIONS[word].partition(":")
    return getattr(import_module(f"ipsrl.{module}"), name)


@dataclass(frozen=True)
class Training(Generic[C]):
    """The request to a command that trains.

    Attributes:
      config: the configuration.
      out: run directory.
      resume: True to continue the run there.
      json: whether the result is printed as an object.
      loudness: of progress.
      log_to: sinks that watch the run.
      prog: the command.
    """

    config: C
    out: Path
    resume: bool
    json: bool
    loudness: "Loudness"
    log_to: Sequence[str]
    prog: str

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM print how to continue the run.

        With --json standard output holds nothing but the result.
        """
        from ipsrl.functions import printing_aside
        from ipsrl.runs import logging_to, speaking

        aside = printing_aside() if self.json else nullcontext()
        before = signal.signal(signal.SIGTERM, partial(self._end, os.getpid()))
        try:
            with aside, speaking(self.loudness), logging_to(self.log_to):
                yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._stopped) from None
        finally:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: set outside Python

    @property
    def _stopped(self) -> str:
        began = (self.out / "config.toml").exists()
        go_on = f"continue with: {self.prog} --resume {shlex.quote(str(self.out))}"
        return f"stopped; {go_on if began else 'nothing had begun'}"

    def _end(self, process: int, *_: Any) -> None:
        """End by SIGTERM, as without this; a process that was forked says nothing."""
        if os.getpid() == process:
            os.write(2, f"\n{self.prog}: {self._stopped}\n".encode())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def say(self, text: str, result: Any) -> None:
        """Print the result, a dataclass, and its folder."""
        found = {"out": str(self.out), **asdict(result)}
        say(f"{text}\nwritten to {self.out}", found, self.json)


def training(argv: Sequence[str], prog: str, model: type[C]) -> Training[C]:
    """Read the request to a command that trains.

    Args:
      argv: words after the command.
      prog: the command, of which the last word names the runs that have no --out.
      model: of the configuration; each of its keys is an option.
    Raises:
      ConfigError: for a configuration that cannot be, or options that would be ignored.
      RunError: for --resume of a folder that is not a run, or a run of another family.
    """
    name = prog.split()[-1]
    tables = [
        key for key, field in model.model_fields.items() if field.annotation == dict[str, Any]
    ]
    # The files must be known before the options are read, because they set their defaults.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--config")
    early.add_argument("--resume")
    early.add_argument("--json", action="store_true")
    early.add_argument("--log-to", nargs="*", default=[])
    early.add_argument("-q", "--quiet", action="store_true")
    early.add_argument("-v", "--verbose", action="store_true")
    for key in tables:
        early.add_argument(f"--{key}", nargs="*", action="append")
    try:
        known, others = early.parse_known_args(argv)
    except argparse.ArgumentError as error:
        what = f"{error.argument_name} has no value"
        if "expected one argument" not in str(error):
            what = str(error)
        raise ConfigError(f"{what}. All options:  {prog} --help") from None
    loudness = loudness_of(known.quiet, known.verbose)
    given = {key: getattr(known, key) or [] for key in tables}
    if known.resume is not None:
        if others or known.config or any(given.values()):
            raise ConfigError(
                "--resume continues a run as it was configured, so other options would be ignored. "
                "Leave them out, or start a new run with --out."
            )
        from ipsrl.runs import Run

        directory = path_of(known.resume)
        run = Run.open(directory)
        run.check_family(model)
        return Training(
            run.config(model), directory, True, known.json, loudness, known.log_to, prog
        )

    @dataclass(frozen=True)
    class Options:
        heading: ClassVar[str] = "run"

        options: Annotated[model, tyro.conf.arg(name="", help="")]  # type: ignore[valid-type]
        config: Path | None = None
        """TOML file with these options as keys, or the name of one that comes with ipsrl, such as
        hypergrid/table-1/2d-grpo; options on the command line take precedence."""
        out: Path | None = None
        """Run directory to write; runs/NAME-DIGEST if not given, with the name of the command or
        environment."""
        resume: Path | None = None
        """Run directory to continue; its configuration is used as it is."""
        json: bool = False
        """Print the result as an object instead of text."""
        log_to: tuple[SinkName, ...] = ()
        """Sinks that also get the numbers, tables and pictures of the run."""
        quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
        """Print no progress."""
        verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
        """Print a line for every step."""

    for key, lists in given.items():
        if len(lists) > 1:
            raise ConfigError(
                f"--{key} is given twice. Write all KEY=VALUE pairs after one --{key}."
            )
    words = list(argv)
    defaults = None
    if known.config is not None:
        named = path_of(known.config)
        file = config_file(named)
        # What a configuration of ours names is the user's, so it lies where the command is given.
        in_file = read(file)  # a table on the command line adds to that of the file
        _check_command(file, in_file, model, prog)
        defaults = model.load(file, file.parent if file == named else Path.cwd())
        words = others
        for key in tables:
            added = [pair for pairs in given[key] for pair in pairs]
            names = {pair.partition("=")[0] for pair in added}
            table = {n: v for n, v in getattr(defaults, key).items() if n in in_file.get(key, {})}
            kept = [f"{name}={toml(value)}" for name, value in table.items() if name not in names]
            words += [f"--{key}", *kept, *added]
    parsed: Any = parse(
        Options, words, prog, description=inspect.getdoc(model) or "",
        default=Options(defaults) if defaults else None,
    )  # fmt: skip
    config = parsed.options
    # The name is that of the configuration, wherever the working directory lies.
    out = parsed.out or Path("runs") / f"{config.run_name or name}-{config.digest(Path.cwd())}"
    return Training(config, out, False, known.json, loudness, known.log_to, prog)


def _check_command(file: Path, keys: Iterable[str], model: type[StrictConfig], prog: str) -> None:
    """Refuse a configuration of another command, whose keys would be called typos of ours."""
    unknown = [key for key in keys if key not in model.model_fields]
    for word in CONFIGURATIONS if unknown else ():
        if set(keys) <= set(configuration(word).model_fields):
            raise ConfigError(
                f"{file} is a configuration of `ipsrl train {word}`, and {prog} has no "
                f"{', '.join(unknown)}. Use that command."
            )
