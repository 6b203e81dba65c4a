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
from contextlib import contextmanager, redirect_stderr
from contextvars import ContextVar
from difflib import get_close_matches
from functools import partial
from io import StringIO
from itertools import islice, pairwise, takewhile
from pathlib import Path
from types import UnionType
from typing import IO, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ipsrl.errors import ConfigError, nearest

_COLUMN = 26  # where the text of an option begins
_WIDEST = 100
_LISTED = 8  # most choices that are all listed with an option
O = TypeVar("O")  # noqa: E741
_NUMBERS = {"INT": (int, "an integer"), "FLOAT": (float, "a number")}
_NEEDED, _OPTIONS = "must be given", "options"
_collected: ContextVar[list[Option] | None] = ContextVar("collected", default=None)


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, as it is shown.

    Attributes:
      names: as they are written, such as ("-o", "--out"); none where its place says which it is.
      value: what follows them; "" for a switch.
      text: its help, with its default.
      group: heading that it stands under.
      choices: all values that it takes; empty for any.
      many: whether several values may follow it.
    """

    names: tuple[str, ...]
    value: str
    text: str
    group: str
    choices: tuple[str, ...] = ()
    many: bool = False

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
        if (found := _collected.get()) is not None:
            found.extend(options_of(kind))
            raise SystemExit(0)
        print(page(kind, prog, description or inspect.getdoc(kind) or ""), end="")
        raise SystemExit(0)
    said = StringIO()
    paths, refused = ConstructorRegistry(), []  # of which tyro would not say why
    paths.primitive_rule(partial(_path_rule, refused))
    try:
        with redirect_stderr(said), paths:
            return tyro.cli(
                kind, args=list(argv), prog=prog, default=default,
                config=(tyro.conf.AvoidSubcommands,),
            )  # fmt: skip
    except SystemExit as end:
        if not end.code:
            raise
        if refused:
            raise refused[0] from None
        options = list(options_of(kind))
        trouble = _mistake(options, argv) or _as_line(said.getvalue(), options)
        raise ConfigError(f"{trouble} All options:  {prog} --help") from None


def path_of(text: str) -> Path:
    """The path that a word of the command line is; "" would be the working directory.

    Raises:
      ConfigError: if it is empty.
    """
    if not text:
        raise ConfigError(
            "a path is empty, as a shell variable without a value is. Write the path."
        )
    return Path(text)


def loudness_of(quiet: bool, verbose: bool) -> Literal["quiet", "usual", "verbose"]:
    """How loud progress is by --quiet and --verbose.

    Raises:
      ConfigError: if both are given.
    """
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose contradict each other. Choose one.")
    return "quiet" if quiet else "verbose" if verbose else "usual"


def _path_rule(
    refused: list[ConfigError], info: PrimitiveTypeInfo
) -> PrimitiveConstructorSpec[Path] | None:
    """How tyro reads a path; what is refused is put into the list."""
    if info.type is not Path:
        return None

    def read(words: list[str]) -> Path:
        try:
            return path_of(words[0])
        except ConfigError as error:
            refused.append(error)
            raise

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _as_line(box: str, options: Sequence[Option]) -> str:
    """What tyro says between the title of a box and its next rule, on one line."""
    lines = [line.strip("│╰╯─- ") for line in box.splitlines()[1:]]  # "" for a rule
    said = " ".join(takewhile(bool, lines if lines[0] else lines[1:]))
    if said.startswith("Missing from "):
        needed = (one.names[-1] if one.names else one.value
                  for one in options if one.group == _NEEDED)  # fmt: skip
        return f"it needs {', '.join(needed)}."
    return f"{said.removeprefix('Error parsing ').removesuffix('.')}."


def _mistake(options: Sequence[Option], argv: Sequence[str]) -> str:
    """What is wrong with the first option that there is not, or that has a wrong value, or none."""
    named = {name: one for one in options for name in one.names}
    named |= {f"--no-{name[2:]}": one for name, one in named.items() if not one.value}
    takes = [one for one in options if not one.names]  # words before the first option, in turn
    for i, word in enumerate(argv):
        name, is_set, given = word.partition("=")
        if not _is_option(word):
            if takes and not any(map(_is_option, argv[:i])):
                one = takes[0] if takes[0].many else takes.pop(0)
                if trouble := _wrong(one, one.value, [word]):
                    return trouble
            continue
        name = name.replace("_", "-")
        if name not in named:
            names = [*(one.names[-1] for one in options if one.names), "--help"]
            # Without the hyphens, in which all are alike.
            near = get_close_matches(name.lstrip("-"), [known[2:] for known in names], n=1)
            return f"there is no option {name}{f'; the nearest is --{near[0]}' if near else ''}."
        one = named[name]
        values = takewhile(lambda word: not _is_option(word), argv[i + 1 :])
        following = [given] if is_set else list(islice(values, None if one.many else 1))
        is_last = i + 1 == len(argv) or _is_option(argv[i + 1])
        if one.value and not one.many and is_last and not is_set:
            return f"{name} has no value. Write {name} {one.value}."
        if trouble := _wrong(one, name, following):
            return trouble
    return ""


def _is_option(word: str) -> bool:
    """True for -o and --out, and not for a number below 0."""
    return word.startswith("--") or (word[:1] == "-" and word[1:2].isalpha())


def _wrong(one: Option, name: str, values: Sequence[str]) -> str:
    number, what = _NUMBERS.get(one.value.partition(" ")[0], (str, ""))
    for value in values:
        try:
            number(value)
        except ValueError:
            return f"{name} must be {what}, but is {value!r}."
        if one.choices and value not in one.choices:
            among = f" Choose among {', '.join(one.choices)}." if len(one.choices) > 1 else ""
            return f"{name} has no choice {value!r}{nearest(value, one.choices)}.{among}"
    return ""


@contextmanager
def collected() -> Iterator[list[Option]]:
    """Within, a help that is asked for is not printed: its options come into this list."""
    found: list[Option] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


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
    options = [*options_of(command)]
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


def options_of(command: type) -> Iterator[Option]:
    """Every option of a command; a nested configuration is replaced by its options."""
    for name, kind, marks, default, text, group in _fields(command):
        if tyro.conf.Suppress in marks:
            continue
        if inspect.isclass(kind) and hasattr(kind, "model_fields"):
            yield from options_of(kind)
            continue
        told = next((mark for mark in marks if hasattr(mark, "help_behavior_hint")), None)
        value = _value(kind, marks)
        text = " ".join(((told and told.help) or text).split())
        if told and told.help_behavior_hint:
            text += f" {told.help_behavior_hint}"
        elif shown := _shown(default):
            text += f" (default: {shown})"
        name = (told and told.name) or name
        option = f"--{name.replace('_', '-')}"
        choices, many = _choices(kind), value.endswith(" ...")
        if tyro.conf.Positional in marks:
            if choices:
                text += f" One of: {', '.join(choices)}."
            written = name.upper() + (" ..." if many else "")
            yield Option((), written, text, _NEEDED, choices, many)
            continue
        if default is True:
            option = f"--no-{name.replace('_', '-')}"
        names = (*((told and told.aliases) or ()), option)
        group = _NEEDED if default is dataclasses.MISSING else group
        yield Option(names, value, text, group, choices, many)


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
            more = ("...",) if len(arguments) > _LISTED else ()
            return f"{{{','.join(map(str, (*arguments[: 3 if more else None], *more)))}}}"
        case origin if origin in (Union, UnionType, Annotated):
            return _value(arguments[0])
        case origin if origin in (tuple, list):
            return f"{_value(arguments[0])} ..."
    names = {bool: "", str: "TEXT", Path: "PATH"}
    return names[kind] if kind in names else kind.__name__.upper()


def _choices(kind: Any) -> tuple[str, ...]:
    """All values of an option of this type, where they are few enough to be listed in it."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    inside = [one for one in get_args(kind) if one not in (type(None), ...)]
    return _choices(inside[0]) if inside and not isinstance(inside[0], str) else ()


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
