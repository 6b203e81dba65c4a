"""Configurations of other programs, read as ours.

Each key of theirs is translated, with what it becomes, or named as one that cannot be; none is
passed over in silence.  A value that changes what is searched for, and has no counterpart, is an
entry of `Translation.lost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipsrl.config import toml
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.molecules.config import ComponentConfig, Config

_STRANGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass
class Translation:
    """A configuration of ours, and what became of each key of theirs.

    Attributes:
      program: whose configuration it was.
      values: keys of `Config`.
      told: key of theirs, and what it became, in order.
      lost: key of theirs, and why it cannot be translated.
    """

    program: str
    values: dict[str, Any] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def take(self, theirs: str, ours: str, value: Any, why: str = "") -> None:
        """Translate a key of theirs to a key of ours."""
        self.values[ours] = value
        self.told.append((theirs, f"{ours} = {toml(value)}" + (f"  ({why})" if why else "")))

    def left(self, where: str, given: Mapping[str, Any]) -> None:
        """Report the remaining keys of a table of theirs as unknown."""
        self.lost += [(f"{where}.{key}", "it is not known here") for key in given]

    def refuses(self, where: str, component: Mapping[str, Any]) -> bool:
        """Whether a component that was translated is refused here, which is reported."""
        try:
            values: dict[str, Any] = {"components": [ComponentConfig(**component)]}
            Config(**values)
        except ConfigError as error:
            self.lost.append((where, str(error).removesuffix(".")))
            return True
        return False

    def toml(self) -> str:
        """The configuration as a file, with what was lost as comments."""
        lines = [f"# Made of a configuration of {self.program} by `ipsrl molecules translate`.\n"]
        lines += [f"# Not translated: {key}: {why}.\n" for key, why in self.lost]
        tables = ("components", "stages")
        lines += [f"{k} = {toml(v)}\n" for k, v in self.values.items() if k not in tables]
        lines += _tables("components", self.values.get("components", ()))
        for stage in self.values.get("stages", ()):
            own = {key: value for key, value in stage.items() if key != "components"}
            lines += _tables("stages", [own]) + _tables("stages.components", stage["components"])
        return "".join(lines)


@contextmanager
def reading(path: Path, what: str, advice: str) -> Iterator[None]:
    """Say of whatever goes wrong that the file `path` is not `what`."""
    try:
        yield
    except InvalidInput:  # which says it all
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}). {advice}") from None
    except _STRANGE as error:
        raise InvalidInput(f"{path} is not {what} ({_words(error):.200}). {advice}") from None


@contextmanager
def at(where: str) -> Iterator[None]:
    """Say of whatever goes wrong at which place of the file it does."""
    try:
        yield
    except _STRANGE as error:
        raise ValueError(f"{where}: {_words(error)}") from None


def _words(error: Exception) -> str:
    match error:
        case KeyError():
            return f"the key {error.args[0]!r} is missing"
        case ValueError():
            return str(error)
    return "a table, list, text or number is missing or of another kind than it should be"


def check(made: Translation, path: Path) -> None:
    """See that the translation is a configuration.

    Raises:
      InvalidInput: if nothing of a reward in the file `path` was translated.
      ConfigError: if it is refused, naming the key.
    """
    parts = made.values.get("stages", [made.values])
    if not all(part["components"] for part in parts):
        reasons = "; ".join(f"{key}: {why}" for key, why in made.lost)
        raise InvalidInput(f"nothing of the reward in {path} can be translated: {reasons}.")
    try:
        Config(**made.values)
    except ConfigError as error:
        raise ConfigError(f"{path}: translated, {error}") from None


def _tables(name: str, tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """An array of tables as lines of TOML."""
    return [
        line
        for table in tables
        for line in (f"\n[[{name}]]\n", *(f"{key} = {toml(v)}\n" for key, v in table.items()))
    ]
