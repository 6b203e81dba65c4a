"""One writer per run directory, and per folder of runs that a command makes.

The lock is the kernel's, on the file `lock.json`, so that it ends with its process, however that
ends, and holds while the process is stopped.  The file says who writes: process, machine, since.
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

_held: set[Path] = set()  # by this process, which the kernel would let lock twice


class Lock:
    """The right to write to a directory, from its making to `release`.

    Raises:
      RunError: if another process holds it, or a process of another machine left it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._path = self._directory / NAME
        if self._directory in _held:
            raise RunError(
                f"{directory} is being written by this process already. "
                "Wait until that run has ended, or choose another --out."
            )
        self._descriptor = self._locked(directory)
        content = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        _held.add(self._directory)
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(content).encode() + b"\n", 0)
        except OSError:  # a full disk
            self.release()
            raise

    def release(self) -> None:
        """Let others write.  Twice is once."""
        if self._directory not in _held:
            return
        try:
            with suppress(OSError):  # a disk that became read-only: the kernel's lock ends anyway
                self._path.unlink()
        finally:
            os.close(self._descriptor)
            _held.discard(self._directory)

    def _locked(self, directory: Path) -> int:
        """Descriptor of the locked file."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _who(descriptor)
                os.close(descriptor)
                raise RunError(
                    f"{directory} is being written by {holder}. Wait until it has ended, stop it, "
                    "or choose another --out."
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            if not self._is_at_path(descriptor):  # its holder has just released and removed it
                os.close(descriptor)
                continue
            if _machine(descriptor) not in (None, platform.node()):
                holder = _who(descriptor)
                os.close(descriptor)
                raise RunError(
                    f"{directory} was left locked by {holder}, where this machine cannot see "
                    f"whether it still runs. If it has ended, delete {self._path} and try again."
                )
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

    The kernel is not asked, because a lock of ours, however short, could refuse a writer.  Of
    another machine, whose processes cannot be seen, a lock that was left behind counts as held.
    """
    try:
        found = json.loads((directory / NAME).read_bytes())
        process, machine = int(found["process"]), found["machine"]
        if machine == platform.node():
            os.kill(process, 0)
    except PermissionError:  # somebody else's process
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _content(descriptor: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # its holder died, or is about to write it
        return {}
    return found if isinstance(found, dict) else {}


def _machine(descriptor: int) -> object:
    return _content(descriptor).get("machine")


def _who(descriptor: int) -> str:
    found = _content(descriptor)
    if not found:
        return "another process"
    return "process {process} on {machine}, since {since}".format_map(
        {key: found.get(key, "?") for key in ("process", "machine", "since")}
    )
