"""Programs that do not outlive their purpose."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def process_group() -> Iterator[int]:
    """A process group, for `subprocess.Popen(..., process_group=...)`, whose processes are killed
    with their children when the context ends, or when this process does, however it dies."""
    # The guard waits for a line that never comes; its input ends when this process does.
    guard = subprocess.Popen(
        ["/bin/sh", "-c", "read line; kill -KILL 0"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        process_group=0,
    )  # fmt: skip
    try:
        yield guard.pid
    finally:
        os.killpg(guard.pid, signal.SIGKILL)  # the group is ours until the guard is reaped
        guard.communicate()
