"""Strict configuration: a typo is an error that names the file, the key and the nearest key."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ipsrl.errors import ConfigError


class StrictConfig(BaseModel):
    """Base of every `Config`: frozen, no unknown key, no silent conversion, no NaN or infinity.

    Raises:
      ConfigError: naming every key that is unknown (with the nearest known one) or out of range.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = (_explain(type(self), problem) for problem in error.errors())
            raise ConfigError("; ".join(problems)) from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Config of a TOML file.

        Raises:
          ConfigError: if the file cannot be read, is not TOML, or has a wrong key or value.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path} cannot be read ({error}). Pass the path of a TOML file."
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not valid TOML: {error}.") from None
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    def dump(self) -> str:
        """The resolved configuration as TOML, every key that has a value written out."""
        values = self.model_dump().items()
        return "".join(f"{key} = {_toml(value)}\n" for key, value in values if value is not None)

    def digest(self) -> str:
        """Hash that two configurations share iff they are equal."""
        return hashlib.sha256(self.dump().encode()).hexdigest()[:16]


def shipped_configs(folder: str) -> list[Path]:
    """Configurations that come with ipsrl, such as `hypergrid/table-1`, sorted by name."""
    installed = Path(str(files("ipsrl"))) / "configs"
    root = installed if installed.is_dir() else Path(__file__).parents[2] / "configs"
    return sorted((root / folder).glob("*.toml"))


def check_has_effect(config: BaseModel, only_with: Mapping[str, Sequence[str]]) -> None:
    """An option that the chosen `method` does not read is a mistake, not a wish.

    Args:
      config: a configuration with the key `method`.
      only_with: for each such option, the methods that read it.
    Raises:
      ValueError: naming the first option that was given and has no effect.
    """
    method = config.method  # type: ignore[attr-defined]
    for key, methods in only_with.items():
        default = type(config).model_fields[key].default
        if method not in methods and getattr(config, key) != default:
            raise ValueError(
                f"{key} has no effect with method {method}, only with {', '.join(methods)}. "
                "Leave it out"
            )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        parts = (
            f"{_toml(key)} = {_toml(part)}"
            for key, part in sorted(value.items())
            if part is not None  # which TOML cannot say, and is the default
        )
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # A JSON number, boolean or string is one in TOML too, but for the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key.lower(), model.model_fields, n=1, cutoff=0.0)
        return f"unknown key {key!r}; the nearest key is {near[0]!r}"
    if not key:  # a check across several keys
        return problem["msg"].removeprefix("Value error, ")
    # A whole table would hide what is said of it.
    given = "" if isinstance(problem["input"], dict) else f" = {problem['input']!r}"
    return f"{key}{given}: {problem['msg'].removeprefix('Value error, ')}"
