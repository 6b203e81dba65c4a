"""Progress of long work, as loud as it was asked to be."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

Loudness = Literal["quiet", "usual", "verbose"]

_loudness: ContextVar[Loudness] = ContextVar("loudness", default="usual")
_GAP = 2.0  # seconds between two lines at first
_SHARE = 1 / 20  # of the time since the start, after which the next line comes: ever rarer ones


@contextmanager
def speaking(loudness: Loudness) -> Iterator[None]:
    """Within, progress says nothing, the usual, or every step as a line."""
    token = _loudness.set(loudness)
    try:
        yield
    finally:
        _loudness.reset(token)


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """Yields `advance(done, note, at_once, minor)`: a bar on a terminal, lines elsewhere.

    Lines come every two seconds at first, and then each after a twentieth of the time so far: 40 in
    the first 80 seconds, 120 in the next ten hours.  What is said `at_once` is a line in any case,
    and what is `minor`, as one of several that come together, only if every step is to be said.
    The time left is that at the pace since the last call before anything was done: what prepares
    the work, such as compiling, does not count.
    """
    loudness = _loudness.get()
    if loudness == "quiet":
        yield lambda *_, **__: None
        return
    if sys.stderr.isatty() and loudness == "usual":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}% {task.fields[note]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total, note="")

            def show(done: int, note: str = "", minor: bool = False, **_: bool) -> None:
                if not minor:
                    bar.update(task, completed=done, note=note)

            yield show
        return

    began = spoke = time.monotonic()
    first: tuple[float, int] | None = None  # when work began, and from where: a run may go on

    def advance(done: int, note: str = "", at_once: bool = False, minor: bool = False) -> None:
        nonlocal spoke, first
        if minor and loudness != "verbose":
            return
        now = time.monotonic()
        if first is None or done == first[1]:
            first = now, done
        gap = max(_GAP, (now - began) * _SHARE)
        if not (done >= total or at_once or loudness == "verbose" or now - spoke > gap):
            return
        spoke = now
        left = _left(now - first[0], done - first[1], total - done)
        said = ", ".join(part for part in (note, left) if part)
        print(f"{label}: {done / max(total, 1):.0%} {said}", file=sys.stderr, flush=True)

    yield advance


def _left(seconds: float, done: int, to_do: int) -> str:
    """Time left at this pace; "" where there is none, or no pace yet."""
    if done <= 0 or to_do <= 0:
        return ""
    left = round(seconds / done * to_do)
    if left < 60:
        return f"{left} s left"
    if left < 3600:
        return f"{left // 60} min left"
    return f"{left // 3600} h {left % 3600 // 60:02} min left"
