"""Progress of long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """Yields `advance(done, note)`: a bar on a terminal, a line every two seconds elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}% {task.fields[note]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)
        return

    spoke = time.monotonic()

    def advance(done: int, note: str = "") -> None:
        nonlocal spoke
        if done >= total or time.monotonic() - spoke > 2:
            spoke = time.monotonic()
            print(f"{label}: {done / max(total, 1):.0%} {note}", file=sys.stderr, flush=True)

    yield advance
