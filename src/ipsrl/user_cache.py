"""The user's cache folder, for files that take long to make and may be deleted at any time."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROGRAMS = 1000
"""Compiled programs that are kept, about 100 kB each; a training of a grid compiles five."""


def user_cache() -> Path:
    """$XDG_CACHE_HOME/ipsrl, or ~/.cache/ipsrl."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ipsrl"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder if it does not exist yet, as a whole or not at all.

    Args:
      folder: in the cache.
      make: makes a folder of this name, next to which it may leave files that are then removed.
    Returns:
      the folder.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            unfinished = Path(place) / "unfinished"
            make(unfinished)
            if not folder.is_dir():  # another process may have been faster
                unfinished.replace(folder)
    return folder


def keep_compiled() -> None:
    """Let JAX, if it is imported later, keep compiled programs in `user_cache()`/jax.

    For commands: a library leaves the settings of JAX to whoever imports it.  Nothing is done where
    JAX's own variables JAX_COMPILATION_CACHE_DIR or JAX_ENABLE_COMPILATION_CACHE are set, nor where
    the folder cannot be written, or might be written by others: programs in it are executed.
    """
    if os.environ.keys() & {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"}:
        return
    try:
        # Before 0.10.2, XLA takes hints to the compiler for missing features of the processor.
        if [int(part) for part in re.findall(r"\d+", version("jaxlib"))] < [0, 10, 2]:
            return
        folder = user_cache() / "jax"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022 or not os.access(folder, os.W_OK):
            return
        programs = sorted(folder.glob("*-cache"), key=lambda path: path.stat().st_mtime)
        for oldest in programs[:-PROGRAMS]:
            oldest.unlink(missing_ok=True)
    except (PackageNotFoundError, OSError, RuntimeError):  # the last: there is no home
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # The default leaves out what compiles within a second: half of the time of a small grid.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
