"""The command `ipsrl completion`: a script that makes a shell complete commands and options.

The script holds what every command's --help says when it is made, so that a shell need not start
Python for a Tab.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Literal

import tyro

from ipsrl.options import Option, collected, parse

_BASH = """\
_ipsrl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    local said="${{COMP_WORDS[*]:1:COMP_CWORD-1}} " option= one
    for one in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $one == --* ]] && option=$one
    done
    case "$said" in
{cases}
    esac
    if [[ $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}}
complete -o default -F _ipsrl ipsrl
"""


def completion(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Print a script that makes a shell complete commands, options and their values.

        For bash:  eval "$(ipsrl completion bash)"  in ~/.bashrc; for zsh likewise in ~/.zshrc.
        """

        shell: tyro.conf.Positional[Literal["bash", "zsh"]]
        """The shell."""

    options = parse(Options, argv, "ipsrl completion")
    if options.shell == "zsh":  # which can run what is written for bash
        print("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit")
    print(script(), end="")
    return 0


def script() -> str:
    """A function of bash that completes, and the line that registers it."""
    from ipsrl.cli import COMMANDS, main

    cases = []
    for name in COMMANDS:
        if name == "help":
            continue
        with redirect_stdout(StringIO()), collected() as options, suppress(SystemExit):
            main([*name.split(), "--help"])
        places = [word for one in options if not one.names for word in one.choices]
        names = [one.names[-1] for one in options if one.names]
        cases.append(
            f"    {name.replace(' ', chr(92) + ' ')}\\ *)\n"
            f"        words={shlex.quote(' '.join([*places, *names, '--help']))}\n"
            # After one value of several, another may follow, or an option.
            + _values("$option", (one for one in options if one.many), " $words")
            + _values("$before", options)
            + "        ;;"
        )
    seconds: dict[str, list[str]] = {}
    for first, _, second in (name.partition(" ") for name in COMMANDS):
        seconds.setdefault(first, []).append(second)
    for first, those in seconds.items():
        if those != [""]:
            cases.append(f"    {first}\\ ) words={shlex.quote(' '.join(those))} ;;")
    cases.append(f"    ' ' | 'help ') words={shlex.quote(' '.join(seconds))} ;;")
    return _BASH.format(cases="\n".join(cases))


def _values(of: str, options: Iterable[Option], more: str = "") -> str:
    """Cases of the option in a variable, with the values that it takes."""
    lines = [
        f'            {one.names[-1]}) words={shlex.quote(" ".join(one.choices))}"{more}" ;;\n'
        for one in options
        if one.names and one.choices
    ]
    return "".join([f"        case {of} in\n", *lines, "        esac\n"]) if lines else ""
