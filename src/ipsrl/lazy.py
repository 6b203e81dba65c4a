"""Packages whose modules are loaded when their names are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ipsrl.errors import MissingExtra


def loader(package: str, home: Mapping[str, str], extra: str = "") -> Callable[[str], Any]:
    """The `__getattr__` of a package; importing NumPy takes a tenth of a second, TRL several.

    Args:
      package: its name.
      home: for each name, the module in the package that defines it.  No module may have the name
        of what it defines: Python puts a module that was loaded over it.
      extra: the extra that installs the libraries of these modules.
    """

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"{package}.{home[name]}"), name)
        except ModuleNotFoundError as error:
            if not extra:
                raise
            raise MissingExtra(extra, error.name or extra) from None

    return load
