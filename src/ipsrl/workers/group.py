"""Programs that do not outlive their purpose."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress


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
