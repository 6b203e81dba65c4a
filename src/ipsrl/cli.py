"""The command `ipsrl`.  A command loads the libraries that it needs, so --help is instant.

Exit codes: 0 done; 1 it could not be done, such as without a library or on a full disk; 2 what was
given is wrong, whether a command, an option, a file, or code of the user; 130 stopped by Ctrl-C;
143, of the shell, ended by SIGTERM.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from ipsrl.errors import IpsrlError, nearest, words
from ipsrl.reproduce import ITEMS


@dataclass(frozen=True)
class Command:
    """A command, called with the words that follow it; it returns the exit code.

    Attributes:
      home: module below this package, and the function in it.
      what: one line for the usage.
      takes: what follows its name.
    """

    home: str
    what: str
    takes: str = ""

    def __call__(self, argv: list[str]) -> int:
        module, _, function = self.home.partition(":")
        return getattr(import_module(f"ipsrl.{module}"), function)(argv)


COMMANDS = {
    "train hypergrid": Command("grids.commands:train", "train policies on a hyper-grid"),
    "train env": Command(
        "grids.commands:train_env", "train policies in an environment of your own", "FILE.py:make"
    ),
    "train llm": Command("llm.commands:train", "post-train a language model on a task of your own"),
    "train hypospace": Command(
        "hypospace.commands:train", "post-train one on problems with many right answers"
    ),
    "train molecules": Command(
        "molecules.commands.search:train", "search for molecules that score high and differ"
    ),
    "reproduce": Command(
        "reproduce.commands:reproduce",
        f"run an item of the paper, or of ours, beside its numbers: {', '.join(ITEMS)}",
        "ITEM",
    ),
    "sweep": Command(
        "sweep.commands:sweep", "train many configurations and seeds, and compare", "FILE"
    ),
    "advise": Command(
        "theory.commands:advise", "will IPS-GRPO work with my group size, eps and rewards?"
    ),
    "diagnose": Command(
        "report.commands:diagnose",
        "did a language model collapse, and when? from its logged completions",
        "FILE...",
    ),
    "hypospace dataset": Command(
        "hypospace.commands:dataset",
        "observation sets of the domain D: causal, voxel or boolean",
        "D",
    ),
    "hypospace judge": Command(
        "hypospace.commands:judge", "judge responses, line by line, from standard input", "D"
    ),
    "hypospace evaluate": Command(
        "hypospace.commands:evaluate",
        "how many of all right answers do a model's responses recover?",
        "D",
    ),
    "molecules pretrain": Command(
        "molecules.commands.prior:pretrain", "teach a chemical language model a file of SMILES"
    ),
    "molecules sample": Command(
        "molecules.commands.prior:sample", "molecules of a prior: how many are valid and distinct?"
    ),
    "molecules import": Command(
        "molecules.commands.prior:import_", "a prior of the weights of Saturn or mamba-ssm"
    ),
    "molecules translate": Command(
        "molecules.commands.search:translate",
        "Saturn's or REINVENT4's configuration as ours",
        "FILE",
    ),
    "molecules receptor": Command(
        "molecules.commands.docking:receptor",
        "prepare a protein for docking: a PDB code or file",
        "S",
    ),
    "molecules redock": Command(
        "molecules.commands.docking:redock", "does docking find the pose that the crystal shows?"
    ),
    "molecules rank": Command(
        "molecules.commands.docking:rank",
        "does a docking budget rank molecules, and what does it cost?",
    ),
    "molecules route": Command(
        "molecules.commands.synthesis:route",
        "a synthesis of molecules from what can be bought, drawn",
    ),
    "report": Command(
        "report.commands:report", "one page that explains runs, running or not", "RUN..."
    ),
    "workers install": Command(
        "workers.commands:install",
        "build the environment of a tool whose requirements clash with ours",
        "NAME",
    ),
    "doctor": Command("doctor:doctor", "what is installed, and whether it works"),
    "completion": Command(
        "completion:completion",
        "a script for shells, to complete commands and options",
        "SHELL",
    ),
    "help": Command("cli:help_", "the help of a command", "COMMAND"),
    "version": Command("cli:version", "the version of ipsrl"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    os.environ["PYTHON_TYRO_ANSI_CODES"] = "False"  # what tyro says becomes a line of ours
    # It would read the metadata of every installed package, for plugins that ours do not need.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # While it is imported it asks for a package that only makes 4-bit weights faster on a CPU.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    before = sys.unraisablehook
    sys.unraisablehook = partial(_interrupt_again, before)
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        sys.unraisablehook = before


def _interrupt_again(before: Callable[[Any], object], lost: Any) -> None:
    """Python drops a Ctrl-C that falls into a destructor or a callback of the garbage collector."""
    if lost.exc_type is not KeyboardInterrupt:
        before(lost)
        return
    import _thread
    from threading import Timer

    Timer(0.01, _thread.interrupt_main).start()  # at once, it would fall into this function


def usage() -> str:
    """The text of `ipsrl --help`."""
    lines = "".join(map(_line, COMMANDS))
    return (
        "usage: ipsrl COMMAND [options]\n\n"
        "Reinforcement learning that keeps every good answer.\n\n"
        f"{lines}\n"
        "Options of a command:  ipsrl COMMAND --help\n"
    )


def _line(name: str) -> str:
    """The line, or lines, of a command."""
    import textwrap  # which compiles its patterns, for the usage only

    command, column = COMMANDS[name], 23
    text = f"  {name} {command.takes}".ljust(column - 1) + f" {command.what}"
    return textwrap.fill(text, 92, subsequent_indent=" " * column, break_on_hyphens=False) + "\n"


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        argv[0] = "version"
    for name, command in COMMANDS.items():
        parts = name.split()
        if argv[: len(parts)] == parts:
            try:
                return command(argv[len(parts) :])
            except IpsrlError as error:
                print(f"ipsrl {name}: {error}", file=sys.stderr)
                return 2 if isinstance(error, ValueError) else 1
            except KeyboardInterrupt as stop:
                print(f"\nipsrl {name}: {str(stop) or 'interrupted'}", file=sys.stderr)
                return 130
            except SystemExit as end:
                asked = any(word in ("-h", "--help") or "--tyro-" in word for word in argv)
                if asked or name == "help":
                    raise
                # The user's code has exited: its 0 would pass for success.
                print(f"ipsrl {name}: ended without a result ({words(end)})", file=sys.stderr)
                return 1
            except Exception as error:
                from ipsrl.functions import traceback_of_user

                if (told := traceback_of_user(error)) is None:
                    raise
                print(told, end="", file=sys.stderr)
                return 2
    of_family = [_line(name) for name in COMMANDS if name.startswith(f"{argv[0]} ")]
    if of_family and all(word.startswith("-") for word in argv[1:]):
        print(*of_family, sep="", end="")
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    said = [word for word in argv[:2] if not word.startswith("-")] or argv[:1]
    print(f"ipsrl: no command {' '.join(said)!r}{_nearest(said)}.", file=sys.stderr)
    print("All commands:  ipsrl --help", file=sys.stderr)
    return 2


def _nearest(said: Sequence[str]) -> str:
    """The command, or family of commands, that was probably meant, if one is near."""
    names = [*COMMANDS, *dict.fromkeys(name.partition(" ")[0] for name in COMMANDS)]
    return nearest(" ".join(said), names) or nearest(said[0], names)


def help_(argv: list[str]) -> int:
    return _run([*argv, "--help"])


def version(argv: list[str]) -> int:
    from ipsrl import __version__

    if argv not in ([], ["--json"]):
        print("usage: ipsrl version [--json]")
        return 0 if argv in (["-h"], ["--help"]) else 2
    print(f'{{"ipsrl": "{__version__}"}}' if argv else f"ipsrl {__version__}")
    return 0
