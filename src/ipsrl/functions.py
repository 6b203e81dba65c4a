"""A function that a command line or a configuration names: "module:function"."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ipsrl.errors import InvalidInput


def load_function(spec: str) -> Callable[..., Any]:
    """The function that "package.module:function" or "path/to/file.py:function" names.

    The current directory is importable, and so is the folder of a file, as it is for a script.
    After the colon, dots reach into a class or object: "module:Checker.outcome".

    Args:
      spec: module or file, a colon, and a name in it.
    Returns:
      whatever callable has that name.
    Raises:
      InvalidInput: without a colon; if the module or file is not found, or fails while it is
        imported; if it has no such name (with the nearest); if that is not callable.
    """
    place, colon, name = spec.rpartition(":")
    if not (colon and place and name) or (place[0] == "." and not place.endswith(".py")):
        raise InvalidInput(
            f"{spec!r} does not name a function. "
            "Write module:function, or path/to/file.py:function."
        )
    found: Any = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [known for known in dir(found) if not known.startswith("_")]
            raise InvalidInput(f"{place!r} has no {name!r}{_nearest(part, names)}.")
        found = getattr(found, part)
    if not callable(found):
        raise InvalidInput(
            f"{spec!r} is a {type(found).__name__}, which cannot be called. Name a function."
        )
    return found


def source_file(spec: str) -> str:
    """The file that "module:function" or "file.py:function" names; "" if none is found."""
    place = spec.rpartition(":")[0]
    if place.endswith(".py"):
        return place
    _make_importable(Path.cwd())
    try:
        found = find_spec(place)
    except (ImportError, ValueError):  # of a package above it; `load_function` says what is wrong
        return ""
    return found.origin if found and found.has_location and found.origin else ""


def check_takes(function: Callable[..., Any], arguments: Iterable[str]) -> None:
    """See that a function can be called with these keywords.

    Raises:
      InvalidInput: if it does not take them all, or wants others.
    """
    arguments = list(arguments)
    try:
        inspect.signature(function).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        raise InvalidInput(
            f"{name_of(function)} cannot be called: {error}. It gets these by keyword: "
            f"{', '.join(arguments)}. Take what you do not need as **columns."
        ) from None
    except ValueError:  # it does not tell
        return


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _load_module(name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return import_module(name)
    except Exception as error:
        # The module itself, or a package above it; not what it imports in turn.
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            near = _nearest(name, (path.stem for path in Path.cwd().glob("*.py")))
            raise InvalidInput(
                f"there is no module {name!r}{near}. It must be installed, or lie in the current "
                "directory; or name a file: path/to/file.py:function."
            ) from None
        raise _failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = _nearest(path.name, (other.name for other in path.parent.glob("*.py")))
        raise InvalidInput(f"there is no file {str(path)!r}{near}.")
    path = path.resolve()
    # Another module may have the name of the file, and must stay what it is.
    for name in (path.stem, str(path)):
        loaded = sys.modules.get(name)
        if loaded is None:
            break
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
    _make_importable(path.parent)
    spec = spec_from_file_location(name, path)
    assert spec is not None  # for the type checker: a path that ends in .py has a loader
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _failed(what: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"{what} was found, but importing it raised {type(error).__name__}: {error}. Mend that."
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; the nearest is {near[0]!r}" if near else ""
