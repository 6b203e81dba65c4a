"""Strict configuration: a typo is an error that names the file, the key and the nearest key."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from importlib.resources import files
from itertools import chain, islice
from pathlib import Path
from reprlib import Repr
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ipsrl.errors import ConfigError, nearest
from ipsrl.paths import below, counted_from

__all__ = ["StrictConfig"]

_LARGEST = 1_000_000  # bytes of a file, which are read in less than a second
_DEEPEST = 32  # tables and lists within one another
_TOLD = 4  # problems in one message
_NAMED = 8  # names of a folder in one message
# So many parts of a dotted key cost Python's parser a time that grows with their square.
_DOTTED = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_DEEPEST}}}"""
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_repr = Repr()
_repr.maxstring = _repr.maxother = 120
brief = _repr.repr
"""Text of a value, of which the middle is left out where it is long."""


class StrictConfig(BaseModel):
    """Base of every `Config`: frozen, no unknown key, no silent conversion, no NaN or infinity.

    Paths count from the working directory, or in `load` from the folder of the file.

    Raises:
      ConfigError: naming every key that is unknown (with the nearest known one) or out of range.
    """

    heading: ClassVar[str] = "options"
    """Heading of the keys of this class in the help of a command."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __init__(self, /, **values: Any) -> None:  # a key may be called self
        problems = [f"{key}{fault}" for key, fault in islice(_not_toml(values), _TOLD + 1)]
        unknown = [key for key in values if key not in type(self).model_fields]
        if not problems and len(unknown) > _TOLD and self.model_config.get("extra") == "forbid":
            # pydantic's own list of very many takes seconds.
            problems = [_unknown(type(self), key) for key in unknown[:_TOLD]]
            problems += [""] * (len(unknown) - _TOLD)
        if not problems:
            try:
                return super().__init__(**values)
            except ValidationError as error:
                found = error.errors(include_url=False, include_context=False)
                problems = [_explain(type(self), one) for one in found[:_TOLD]]
                problems += [""] * (len(found) - len(problems))
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise ConfigError("; ".join(problems[:_TOLD]) + more)

    @classmethod
    def load(cls, path: Path, folder: Path | None = None) -> Self:
        """Load a configuration from a TOML file.

        Args:
          path: of the file.
          folder: from which the paths in it count; that of the file if not given.
        Raises:
          ConfigError: if the file cannot be read, is not TOML, or has a wrong key or value.
        """
        values = read(path)
        try:
            with counted_from(folder or path.parent):
                return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @property
    def run_name(self) -> str:
        """The word that names its runs; empty for that of the command."""
        return ""

    def dump(self) -> str:
        """The resolved configuration as TOML, with every key that has a value."""
        return _dump(self.model_dump())

    def digest(self, folder: Path | None = None) -> str:
        """A hash that is equal for two configurations iff they are equal.

        Args:
          folder: whose place does not count: paths below it are hashed as they count from it.
        """
        values = self.model_dump()
        text = _dump(values if folder is None else below(folder, values))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(path: Path) -> dict[str, Any]:
    """Read the keys and values of a TOML file.

    Raises:
      ConfigError: if it cannot be read, or `parse` refuses its content.
    """
    try:
        return parse(_text(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(text: str) -> dict[str, Any]:
    """Parse the keys and values of a TOML text.

    Raises:
      ConfigError: if it is not TOML, or nested too deeply, or has a number of too many digits.
    """
    deep = f"lists or tables are nested more than {_DEEPEST} deep, which no configuration needs"
    if _DOTTED.search(text):
        raise ConfigError(f"{deep}. Shorten the dotted key")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not valid TOML: {_short(str(error))}.") from None
    except ValueError:  # from Python, whose advice would be to convert it nevertheless
        raise ConfigError(
            "an integer has thousands of digits, but may have 64 bits at most."
        ) from None
    except RecursionError:
        raise ConfigError(f"{deep}.") from None


def shipped_configs(folder: str) -> list[Path]:
    """Configurations that come with ipsrl, such as `hypergrid/table-1`, sorted by name."""
    return sorted((_shipped() / folder).glob("*.toml"))


def config_file(path: Path) -> Path:
    """The file at a path, else the configuration with that name that comes with ipsrl.

    Args:
      path: of a file, or a name such as `hypergrid/table-1/2d-grpo`.
    Returns:
      path of the file; the one that was given, if no name is near and it has an ending.
    Raises:
      ConfigError: with the nearest names, or the first of the folder that was named, if there is
        neither.
    """
    if path.exists():
        return path
    root, asked = _shipped(), path.as_posix().removesuffix(".toml")
    names = {
        file.relative_to(root).as_posix().removesuffix(".toml") for file in root.rglob("*.toml")
    }
    if asked in names:
        return root / f"{asked}.toml"
    inside = sorted(name for name in names if name.startswith(f"{asked}/"))
    near = inside[:_NAMED] or _nearest_names(asked, names)
    if not near and path.suffix:
        return path
    folders = ", ".join(sorted({f"{name.rpartition('/')[0]}/" for name in names}))
    raise ConfigError(
        f"{path}: there is no such file, and no configuration with this name comes with ipsrl. "
        + (f"The nearest names are {', '.join(near)}." if near else f"Names begin with {folders}.")
    )


def check_has_effect(config: BaseModel, only_with: Mapping[str, Sequence[str]]) -> None:
    """Refuse an option that the chosen `method` does not read.

    Args:
      config: a configuration with the key `method`.
      only_with: for each such option, the methods that read it.
    Raises:
      ValueError: naming the first option that was given and has no effect.
    """
    method = config.method  # type: ignore[attr-defined]
    for key, methods in only_with.items():
        if method not in methods and not is_default(config, key):
            raise ValueError(
                f"{key} has no effect with method {method}, only with {', '.join(methods)}. "
                "Leave it out"
            )


def is_default(config: BaseModel, key: str) -> bool:
    """True if the key has the value that it would have if it were left out."""
    return getattr(config, key) == type(config).model_fields[key].default


def _shipped() -> Path:
    """Folder of the configurations: in ipsrl where it is installed, beside `src` in a clone."""
    installed = Path(str(files("ipsrl"))) / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def _nearest_names(asked: str, names: Iterable[str]) -> list[str]:
    """Up to three; of `table-1/2d-grpo` the last two parts of each name are compared."""
    parts = asked.count("/") + 1

    def likeness(name: str) -> float:
        end = "/".join(name.split("/")[-parts:])
        return difflib.SequenceMatcher(None, asked, end).ratio()

    return [name for name in nlargest(3, sorted(names), likeness) if likeness(name) > 0.6]


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise OSError("it is a folder")
        if not path.is_file():  # a pipe may never end
            there = "it is not a file"
            raise OSError(there if path.exists() else f"there is none in {path.absolute().parent}")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise OSError("it has more than 1 MB, but a configuration has a few kB")
        return content.decode("utf-8-sig")  # some editors of Windows begin with this mark
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the file cannot be read ({error}). Pass the path of a TOML file in UTF-8."
        ) from None


def _not_toml(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The key and fault of a value that cannot be written as TOML and read again."""
    match value:
        case str():
            if "\0" in value or (not value.isascii() and _SURROGATE.search(value)):
                yield "", f" = {brief(value)}: a NUL or half a character is not text"
        case None | bool() | float() | BaseModel():
            pass
        case int():
            if not -(2**63) <= value < 2**63:
                yield "", ": the integer does not fit 64 bits"
        case dict() | list() | tuple():
            if depth == _DEEPEST:
                yield "", f": lists or tables are nested more than {_DEEPEST} deep"
                return
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for name, part in parts:
                for key, fault in chain(_not_toml(name, depth), _not_toml(part, depth + 1)):
                    yield f"{name!s:.60}{key and '.'}{key}", fault
        case _:
            kind = type(value).__name__
            yield "", f": a {kind} is not text, a number, true, false, a list or a table"


def _dump(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in values.items() if value is not None)


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        parts = (
            f"{toml(key)} = {toml(part)}"
            for key, part in sorted(value.items())
            if part is not None  # which TOML cannot say, and is the default
        )
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    # A JSON number, boolean or string is one in TOML too, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part)[:60] for part in problem["loc"])
    message = _short(problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "extra_forbidden":
        return _unknown(model, key)
    if problem["type"] == "missing":
        return f"the key {key!r} must be given"
    choices = re.findall(r"'([^']*)'", message) if problem["type"] == "literal_error" else []
    if choices and isinstance(problem["input"], str):
        near = nearest(problem["input"], choices)
        message = f"there is no such choice{near}. Choose among {', '.join(choices)}"
    if not key:  # a check across several keys
        return message
    if problem["input"] == "" and problem["type"].endswith("too_short"):
        message = "it is empty. Give it a value"
    # A whole table would hide what is said of it.
    given = "" if isinstance(problem["input"], dict) else f" = {brief(problem['input'])}"
    return f"{key}{given}: {message}"


def _unknown(model: type[BaseModel], key: str) -> str:
    # Half of the letters: of two that are swapped, one is in its place.
    names = {name.lower(): name for name in model.model_fields}
    near = difflib.get_close_matches(key[:60].lower(), names, n=1, cutoff=0.5)
    told = (
        f"the nearest key is {names[near[0]]!r}" if near else "no key is like it, so leave it out"
    )
    return f"unknown key {key[:60]!r}; {told}"


def _short(text: str) -> str:
    return text if len(text) <= 320 else f"{text[:220]} ... {text[-90:]}"
