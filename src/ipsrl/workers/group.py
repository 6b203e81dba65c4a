"""Programs that do not outlive their purpose."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import IO


class ProcessGroup:
    """A process group for `subprocess.Popen(..., process_group=group.id)`.

    Its processes and their children are killed when it is closed, as a context at its end, and when
    this process ends, however it dies.

    Attributes:
      id: of the group.
    """

    def __init__(self) -> None:
        # The guard waits for a line that never comes; its input ends when this process does.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", "read line; kill -KILL 0"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            process_group=0,
        )  # fmt: skip
        self.id = self._guard.pid  # of nobody else until the guard is reaped

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self) -> None:
        """Kill what is in it, from any thread."""
        if self._guard.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.id, signal.SIGKILL)

    def close(self) -> None:
        """Kill what is in it, once and for all."""
        self.kill()
        self._guard.communicate()


def run(
    command: Sequence[str],
    *,
    timeout: float,
    longest: int,
    stdin: bytes = b"",
    stderr: int = subprocess.DEVNULL,
    cwd: Path | None = None,
) -> tuple[bytes, int | None]:
    """Run a program to its end, or to the end of its time; nothing of it goes on after that.

    Args:
      command: the program and its arguments.
      timeout: seconds.
      longest: bytes of its output that are kept, of the end of it: it may print without end.
      stdin: what it reads.
      stderr: as of `subprocess.Popen`.
      cwd: where it runs.
    Returns:
      its output, and its exit code; None if its time ran out.
    Raises:
      OSError: if it cannot be started.
    """
    said = bytearray()

    def listen(pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read(2**16):
                said.extend(chunk)
                del said[:-longest]

    with ProcessGroup() as group, TemporaryFile() as requests:  # which never blocks, as a pipe does
        requests.write(stdin)
        requests.seek(0)
        program = subprocess.Popen(
            command, bufsize=0, cwd=cwd, stdin=requests, stdout=subprocess.PIPE, stderr=stderr,
            process_group=group.id,
        )  # fmt: skip
        listener = Thread(target=listen, args=[program.stdout], daemon=True)
        listener.start()
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
    program.wait()
    listener.join(5.0)  # it ends at once, unless a child that left the group holds the pipe
    return bytes(said), code
