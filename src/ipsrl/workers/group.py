"""Programs that are ended together with the process that needs them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
        self.id = self._guard.pid  # not used again until the guard is reaped

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self) -> None:
        """Kill all processes in the group, from any thread."""
        if self._guard.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.id, signal.SIGKILL)

    def close(self) -> None:
        """Kill all processes in the group, now and in future."""
        self.kill()
        self._guard.communicate()


@dataclass(frozen=True)
class Ended:
    """The result of a program that ran.

    Attributes:
      output: its standard output.
      errors: its standard error.
      code: with which it ended; None if its time ran out.
    """

    output: bytes
    errors: bytes
    code: int | None


def run(
    command: Sequence[str],
    *,
    timeout: float,
    longest: int,
    stdin: bytes = b"",
    cwd: Path | None = None,
) -> Ended:
    """Run a program until it ends or its time is over; none of its processes survives that.

    Args:
      command: the program and its arguments.
      timeout: seconds.
      longest: bytes of output that are kept, from the end: it may print without end.
      stdin: its input.
      cwd: where it runs.
    Raises:
      OSError: if it cannot be started.
    """
    output, errors = bytearray(), bytearray()

    def listen(pipe: IO[bytes], said: bytearray) -> None:
        with pipe:
            while chunk := pipe.read(2**16):
                said.extend(chunk)
                del said[:-longest]

    with ProcessGroup() as group, TemporaryFile() as requests:  # which never blocks, as a pipe does
        requests.write(stdin)
        requests.seek(0)
        program = subprocess.Popen(
            command, bufsize=0, cwd=cwd, stdin=requests, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, process_group=group.id,
        )  # fmt: skip
        pipes = ((program.stdout, output), (program.stderr, errors))
        listeners = [Thread(target=listen, args=pipe, daemon=True) for pipe in pipes]
        for listener in listeners:
            listener.start()
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
    program.wait()
    for listener in listeners:
        listener.join(2.5)  # it ends at once, unless a child that left the group holds the pipe
    return Ended(bytes(output), bytes(errors), code)
