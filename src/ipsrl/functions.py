"""Functions of the user, found by "module:function", called, and checked in their results.

A function of the user can end the process: `sys.exit(0)` would end a run with the exit code of
success.  So whatever calls one goes through `call` or `calling`, which make an error of that.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ipsrl.errors import InvalidInput, nearest, words

_FILE = "_file_of_user"  # attribute of what a function of the user raised
_ALIKE = 0.5  # half of the letters: of two that are swapped, one is in its place


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
        with calling(place):  # a module may have a __getattr__
            known = hasattr(found, part)
        if not known:
            names = [known for known in dir(found) if not known.startswith("_")]
            raise InvalidInput(f"{place!r} has no {name!r}{nearest(part, names, alike=_ALIKE)}.")
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
    except (Exception, SystemExit):  # of a package above it; `load_function` says what is wrong
        return ""
    return found.origin if found and found.has_location and found.origin else ""


def check_file(spec: str) -> None:
    """Check that the file is there which "/folder/file.py:function" names; other text is let pass.

    Raises:
      InvalidInput: if it is not, with the nearest name.
    """
    place = Path(spec.rpartition(":")[0])
    if place.is_absolute() and place.suffix == ".py":
        _check_there(place)


def check_takes(function: Callable[..., Any], arguments: Iterable[str]) -> None:
    """Check that a function can be called with these keywords.

    Raises:
      InvalidInput: if it does not take them all, or wants others.
    """
    arguments = list(arguments)
    try:
        inspect.signature(function).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        gets = "It is called without arguments."
        if arguments:
            gets = f"It gets these by keyword: {', '.join(arguments)}. "
            gets += "Take what you do not need as **columns."
        raise InvalidInput(f"{name_of(function)} cannot be called: {error}. {gets}") from None
    except ValueError:  # it does not tell
        return


def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the user, and return its result.

    Raises:
      InvalidInput: if it ends the process, see `calling`; and whatever it raises.
    """
    with calling(name_of(function)):
        return function(*args, **kwargs)


@contextmanager
def calling(name: str) -> Iterator[None]:
    """A context in which code of the user runs and cannot end the process.

    The traceback of what it raises ends with a line that says whose code that was.

    Ctrl-C does; it reaches the main thread only.  In another thread KeyboardInterrupt, as
    SystemExit, would end an event loop that somebody waits for.

    Raises:
      InvalidInput: for sys.exit(), quit() or SystemExit, with their place, and GeneratorExit.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as end:
        in_main = threading.current_thread() is threading.main_thread()
        if isinstance(end, KeyboardInterrupt) and in_main:
            raise
        last = traceback.extract_tb(end.__traceback__)[-1]
        raise InvalidInput(
            f"{name} tried to end the process ({words(end)}, in {last.filename}, line "
            f"{last.lineno}), so it gave no result. Let it return, or raise an exception that "
            "says what is wrong."
        ) from end
    except Exception as error:
        frames, ours = traceback.extract_tb(error.__traceback__), str(Path(__file__).parent)
        of_user = (one for one in frames if not one.filename.startswith(ours))
        first = next(of_user, frames[-1])
        error.add_note(f"Your {name} raised this, in {first.filename}, line {first.lineno}.")
        setattr(error, _FILE, first.filename)
        raise


def traceback_of_user(error: Exception) -> str | None:
    """What a function of the user raised, from its own lines on; None for other errors."""
    if (file := getattr(error, _FILE, None)) is None:
        return None
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename != file:
        place = place.tb_next
    return "".join(traceback.format_exception(type(error), error, place))


def one_each(returned: Any, name: str, values: str, count: int, items: str) -> list[Any]:
    """The result of a function of the user, if it is one value for each item, in order.

    Args:
      returned: a list, a tuple, or a one-dimensional array of any library.
      name: of the function.
      values: their name in errors, such as "rewards".
      count: number of items.
      items: their name in errors, such as "completions".
    Returns:
      the values; elements of an array as Python numbers.
    Raises:
      InvalidInput: for anything else: of a dict or set the order is not that of the items, and a
        text would fall into characters.
    """
    ordered = hasattr(returned, "__len__") and hasattr(returned, "__getitem__")
    shape = getattr(returned, "shape", (count,))
    if isinstance(returned, str | bytes | bytearray | Mapping | Set) or not ordered:
        if inspect.iscoroutine(returned):
            returned.close()  # else Python warns that nobody awaited it
        found = f"a {type(returned).__name__}"
    elif len(shape) != 1:
        found = f"a {type(returned).__name__} of shape {list(shape)}"
    elif len(returned) != count:
        found = f"{len(returned)} {values}"
    else:
        return returned.tolist() if hasattr(returned, "tolist") else list(returned)
    raise InvalidInput(
        f"{name} returned {found} for {count} {items}. Return a list of {values}, one for each, "
        "in the same order."
    )


def number(value: Any) -> float:
    """A real number, also one in an array of any library.

    Raises:
      InvalidInput: for texts, complex numbers, and anything else that is not a number.
    """
    try:
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, str | bytes | bytearray | complex):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InvalidInput(f"the value is {value!r:.80}, not a number") from None


def name_of(function: Callable[..., Any]) -> str:
    inner = _inner(function)
    return getattr(inner, "__name__", type(inner).__name__)


def is_coroutine(function: Callable[..., Any]) -> bool:
    """True also for a partial of a coroutine, and an object whose __call__ is one."""
    inner = _inner(function)
    return any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))


@contextmanager
def printing_aside() -> Iterator[None]:
    """A context whose prints go to standard error, also those of programs and C libraries.

    For commands whose standard output is read by programs.
    """
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(output, 1)
        os.close(output)


def _inner(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _check_there(path: Path) -> None:
    if not path.is_file():
        # Without the ending, in which all names are alike.
        others = (other.stem for other in path.parent.glob("*.py"))
        near = nearest(path.stem, others, ending=".py", alike=_ALIKE)
        raise InvalidInput(f"there is no file {str(path.absolute())!r}{near}.")


def _load_module(name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return import_module(name)
    except (Exception, SystemExit, GeneratorExit) as error:
        # The module itself, or a package above it; not what it imports in turn.
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            others = (path.stem for path in Path.cwd().glob("*.py"))
            near = nearest(name, others, alike=_ALIKE)
            raise InvalidInput(
                f"there is no module {name!r}{near}. It must be installed, or lie in the current "
                "directory; or name a file: path/to/file.py:function."
            ) from None
        raise _failed(name, error) from error


def _load_file(path: Path) -> ModuleType:
    _check_there(path)
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
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, Exception | SystemExit | GeneratorExit):
            raise _failed(str(path), error) from error
        raise
    return module


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _failed(what: str, error: BaseException) -> InvalidInput:
    remedy = "Mend that."
    if isinstance(error, SystemExit):
        remedy = 'What a script does as a program belongs under: if __name__ == "__main__":'
    return InvalidInput(f"{what} was found, but importing it raised {words(error)}. {remedy}")
