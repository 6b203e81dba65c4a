"""The command `ipsrl completion`: a script that makes a shell complete commands and options.

The script holds what every command's --help says when it is made, so that a shell need not start
Python for a Tab.
"""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from typing import Literal

import tyro

from ipsrl.options import parse

_OPTION = re.compile(r"^ +(?:-\w, )?(--[\w-]+)(?: \{([^}]*)\})?", re.MULTILINE)
_BASH = """\
_ipsrl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    local said="${{COMP_WORDS[*]:1:COMP_CWORD-1}} "
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
        page = StringIO()
        with redirect_stdout(page), suppress(SystemExit):
            main([*name.split(), "--help"])
        found = dict(_OPTION.findall(page.getvalue()))
        places = re.findall(r"One of: ([\w, -]+)\.", " ".join(page.getvalue().split()))
        values = "".join(
            f"            {option}) words={shlex.quote(choices.replace(',', ' '))} ;;\n"
            for option, choices in found.items()
            if choices
        )
        cases.append(
            f"    {name.replace(' ', chr(92) + ' ')}\\ *)\n"
            f"        words={shlex.quote(' '.join([*places, *found]).replace(',', ''))}\n"
            + (f"        case $before in\n{values}        esac\n" if values else "")
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
