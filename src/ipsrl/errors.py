"""Every error that ipsrl raises on purpose.

    IpsrlError
    ├── InvalidInput    a value passed to a function is not valid there (also ValueError)
    ├── ConfigError     a configuration has an unknown key or impossible value (also ValueError)
    ├── MissingExtra    a family was used whose libraries are not installed (also ImportError)
    └── RunError        a run directory cannot be created, read or resumed; or a worker cannot run
        ├── NoRun          what was named is not a run, or cannot be read as one (also ValueError)
        ├── WorkerDied     in ipsrl.workers.lines: its program ended or answered garbage
        └── WorkerTimeout  in ipsrl.workers.lines: its program did not answer in time

Each message says what is wrong, why it matters, and what to write instead.  An error that is made
of several values keeps them as its arguments, of which pickle makes it again in another process.
"""

import shlex
import sys
from collections.abc import Iterable

__all__ = ["ConfigError", "InvalidInput", "IpsrlError", "MissingExtra", "RunError"]


class IpsrlError(Exception):
    """Root of the tree: `except IpsrlError` catches whatever ipsrl raises on purpose."""


class InvalidInput(IpsrlError, ValueError):
    """An argument has the wrong shape, range or kind."""


class ConfigError(IpsrlError, ValueError):
    """A configuration has an unknown key or an impossible value."""


class MissingExtra(IpsrlError, ImportError):
    """A family of ipsrl needs libraries that are not installed."""

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(extra, missing)

    def __str__(self) -> str:
        extra, missing = self.args
        return (
            f"{missing!r} is not installed, and this part of ipsrl needs it. "
            f"Install it with:  {pip_line(extra)}"
        )


class RunError(IpsrlError):
    """A run directory cannot be created, read or resumed."""


class NoRun(RunError, ValueError):
    """A path that was named is not that of a run, or what is there cannot be read as one."""


def pip_line(extra: str) -> str:
    """What installs an extra beside this very ipsrl, whether a clone or a wheel."""
    return f'{shlex.quote(sys.executable)} -m pip install "ipsrl[{extra}]"'


def nearest(name: str, names: Iterable[str], *, ending: str = "", alike: float = 0.6) -> str:
    """The name that was probably meant, as the end of a clause; "" if none is near.

    Args:
      name: that is not one of them.
      names: that there are.
      ending: that all names have, and that is not compared.
      alike: how alike the two must be, from 0 to 1 (difflib).
    """
    from difflib import get_close_matches  # for an error only

    near = get_close_matches(name[:60], list(names), n=1, cutoff=alike)
    return f"; the nearest is {near[0] + ending!r}" if near else ""


def words(error: BaseException) -> str:
    """The kind and text of any exception; its text may itself raise another.

    The text alone of one of ours, which is a sentence.
    """
    if isinstance(error, IpsrlError):
        return str(error)
    try:
        return f"{type(error).__name__}: {error}"[:200].removesuffix(": ")
    except Exception:
        return type(error).__name__
