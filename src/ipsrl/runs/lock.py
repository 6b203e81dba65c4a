"""One writer per run directory, and per folder of runs that a command makes.

The lock is the kernel's, on the file `lock.json`, so that it ends with its process, however that
ends, and holds while the process is stopped.  It is one of flock, which belongs to our descriptor:
a record lock would end when anything in the process closed the file, as a copy of the folder does.
The file says who writes: process, machine, since.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ipsrl.errors import RunError

NAME = "lock.json"

_held: set[Lock] = set()  # by this process


class Lock:
    """The right to write to a directory, from its making to `release`.

    Raises:
      RunError: if another process holds it, or a process of another machine left it.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory.resolve() / NAME
        self._descriptor = self._locked(directory)
        _held.add(self)
        content = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(content).encode() + b"\n", 0)
        except OSError:  # a full disk
            self.release()
            raise

    def release(self) -> None:
        """Let others write.  Twice is once."""
        if self not in _held:
            return
        try:
            with suppress(OSError):  # a disk that became read-only: the kernel's lock ends anyway
                self._path.unlink()
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        _held.discard(self)

    def _locked(self, directory: Path) -> int:
        """Descriptor of the locked file."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                if not _granted(descriptor, fcntl.LOCK_EX):
                    if _granted(descriptor, fcntl.LOCK_SH):  # only readers had it, for a moment
                        os.close(descriptor)
                        continue
                    raise RunError(
                        f"{directory} is being written by {_who(descriptor)}. Wait until it has "
                        "ended, stop it, or choose another --out."
                    )
                if not self._is_at_path(descriptor):  # its holder has just released and removed it
                    os.close(descriptor)
                    continue
                if _is_foreign(descriptor):
                    raise RunError(
                        f"{directory} was left locked by {_who(descriptor)}, where this machine "
                        "cannot see whether it still runs. If it has ended, delete "
                        f"{self._path} and try again."
                    )
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, this process alone writes to a folder of runs, each of which has its own lock.

    Raises:
      RunError: if another process holds it, or it cannot be written.
    """
    try:
        lock = Lock(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error}). Choose another --out.") from None
    try:
        yield
    finally:
        lock.release()


def is_held(directory: Path) -> bool:
    """True if a run or a folder of runs is being written; for readers only.

    Of another machine, whose processes cannot be seen, a lock that was left behind counts as held.
    """
    try:
        descriptor = os.open(directory / NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return _is_foreign(descriptor) or not _granted(descriptor, fcntl.LOCK_SH)
    except OSError:  # a file system without locks, where no run begins
        return False
    finally:
        os.close(descriptor)


def _granted(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(descriptor: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # its holder died, or is about to write it
        return {}
    return found if isinstance(found, dict) else {}


def _is_foreign(descriptor: int) -> bool:
    return _content(descriptor).get("machine") not in (None, platform.node())


def _who(descriptor: int) -> str:
    found = _content(descriptor)
    if not found:
        return "another process"
    if (found.get("process"), found.get("machine")) == (os.getpid(), platform.node()):
        return "this process already"
    return "process {process} on {machine}, since {since}".format_map(
        {key: found.get(key, "?") for key in ("process", "machine", "since")}
    )


def _leave_to_parent() -> None:
    """A forked child would hold the locks of its parent, and longer than that."""
    for lock in [*_held]:
        lock._close()


os.register_at_fork(after_in_child=_leave_to_parent)
