"""Options of a command: read from the command line, and shown in groups by --help.

tyro reads the command line.  The help is made from the same declarations without tyro's parser,
which takes as long as all the rest of it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import IO, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

_COLUMN = 26  # where the text of an option begins
_WIDEST = 100
O = TypeVar("O")  # noqa: E741
_NEEDED, _OPTIONS = "must be given", "options"


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, as it is shown.

    Attributes:
      names: as they are written, such as ("-o", "--out"); none where its place says which it is.
      value: what follows them; "" for a switch.
      text: its help, with its default.
      group: heading that it stands under.
    """

    names: tuple[str, ...]
    value: str
    text: str
    group: str

    @property
    def written(self) -> str:
        return " ".join(part for part in (", ".join(self.names), self.value) if part)


def parse(
    kind: type[O], argv: Sequence[str], prog: str, *, description: str = "", default: Any = None
) -> O:
    """The options of a command, or its help, which ends it.

    Args:
      kind: dataclass of them.
      argv: words after the command.
      prog: the command.
      description: help of the command, if that is not the docstring of `kind`.
      default: its options where they are not given.
    """
    if {"-h", "--help"} & set(argv):
        print(page(kind, prog, description or inspect.getdoc(kind) or ""), end="")
        raise SystemExit(0)
    return tyro.cli(
        kind, args=list(argv), prog=prog, default=default, config=(tyro.conf.AvoidSubcommands,)
    )


def say(text: str, found: Mapping[str, Any], as_json: bool) -> None:
    """Print what a command found, as text or as an object that programs read."""
    print(json.dumps(found, indent=2) if as_json else text)


def page(command: type, prog: str, description: str) -> str:
    """The help text of a command.

    Args:
      command: dataclass of its options.
      prog: its name.
      description: help of the command, in paragraphs; one that is indented is a list.
    """
    options = [*_options_of(command)]
    last = options[-1].group if options[-1:] and options[-1].group != _NEEDED else _OPTIONS
    options.append(Option(("-h", "--help"), "", "Show this.", last))
    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    groups = sorted(dict.fromkeys(one.group for one in options), key=lambda name: name != _NEEDED)
    needed = (f"{one.names[-1]} {one.value}" if one.names else one.value
              for one in options if one.group == _NEEDED)  # fmt: skip
    usage = " ".join(["usage:", prog, *needed, "[options]"])
    parts = [textwrap.fill(usage, width, subsequent_indent=" " * 7, break_on_hyphens=False)]
    for paragraph in description.split("\n\n"):
        is_list = paragraph.startswith("  ")
        parts.append(paragraph if is_list else textwrap.fill(" ".join(paragraph.split()), width))
    for group in groups:
        lines = [_line(one, width) for one in options if one.group == group]
        parts.append("\n".join([_bold(f"{group}:"), *lines]))
    return "\n\n".join(parts) + "\n"


def coloured(stream: IO[str]) -> bool:
    """True if a stream gets colours: a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _options_of(command: type) -> Iterator[Option]:
    """Every option of a command; a nested configuration is replaced by its options."""
    for name, kind, marks, default, text, group in _fields(command):
        if tyro.conf.Suppress in marks:
            continue
        if inspect.isclass(kind) and hasattr(kind, "model_fields"):
            yield from _options_of(kind)
            continue
        told = next((mark for mark in marks if hasattr(mark, "help_behavior_hint")), None)
        value = _value(kind, marks)
        text = " ".join(((told and told.help) or text).split())
        if told and told.help_behavior_hint:
            text += f" {told.help_behavior_hint}"
        elif shown := _shown(default):
            text += f" (default: {shown})"
        option = f"--{name.replace('_', '-')}"
        if tyro.conf.Positional in marks:
            if get_origin(kind) is Literal:
                text += f" One of: {', '.join(get_args(kind))}."
            dots = " ..." if value.endswith(" ...") else ""
            yield Option((), name.upper() + dots, text, _NEEDED)
            continue
        if default is True:
            option = f"--no-{name.replace('_', '-')}"
        names = (*((told and told.aliases) or ()), option)
        yield Option(names, value, text, _NEEDED if default is dataclasses.MISSING else group)


def _fields(command: type) -> Iterator[tuple[str, Any, list[Any], Any, str, str]]:
    """Name, type, marks, default (MISSING if there is none), text and group of each field."""
    if hasattr(command, "model_fields"):
        for name, field in command.model_fields.items():
            default = dataclasses.MISSING if field.is_required() else field.default
            owner = next(c for c in command.__mro__ if name in inspect.get_annotations(c))
            group = getattr(owner, "heading", _OPTIONS)
            yield name, field.annotation, field.metadata, default, field.description or "", group
        return
    hints, texts = get_type_hints(command, include_extras=True), _docstrings(command)
    for field in dataclasses.fields(command):
        kind, marks = hints[field.name], []
        if get_origin(kind) is Annotated:
            kind, *marks = get_args(kind)
        group = getattr(command, "heading", _OPTIONS)
        yield field.name, kind, marks, field.default, texts.get(field.name, ""), group


def _docstrings(command: type) -> dict[str, str]:
    """The text below each field of a class."""
    source = textwrap.dedent(inspect.getsource(command))
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: str(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _value(kind: Any, marks: Sequence[Any] = ()) -> str:
    """The placeholder that is written after an option of this type."""
    for mark in marks:
        if metavar := getattr(mark, "metavar", None):
            return metavar
    arguments = [one for one in get_args(kind) if one not in (type(None), ...)]
    match get_origin(kind):
        case origin if origin is Literal:
            return f"{{{','.join(map(str, arguments))}}}"
        case origin if origin in (Union, UnionType, Annotated):
            return _value(arguments[0])
        case origin if origin in (tuple, list):
            return f"{_value(arguments[0])} ..."
    names = {bool: "", str: "TEXT", Path: "PATH"}
    return names[kind] if kind in names else kind.__name__.upper()


def _shown(default: Any) -> str:
    """A default as text; "" for one that carries no information."""
    match default:
        case None | bool() | dict() | dataclasses.MISSING:
            return ""
        case list() | tuple():
            return " ".join(map(str, default))
    return str(default)


def _line(option: Option, width: int) -> str:
    """An option and its text, beside it or below."""
    written = f"  {option.written}"
    text = textwrap.fill(
        option.text, width, initial_indent=" " * _COLUMN, subsequent_indent=" " * _COLUMN,
        break_on_hyphens=False,
    )  # fmt: skip
    if len(written) <= _COLUMN - 2:
        return written.ljust(_COLUMN) + text[_COLUMN:]
    return f"{written}\n{text}"


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if coloured(sys.stdout) else text
