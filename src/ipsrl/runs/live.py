"""A run that is watched: its lines, tables and pictures go to sinks, which cannot stop it.

    with logging_to(["tensorboard"]):
        train(config, out)

Sinks work in a thread of their own.  One that raises is said once and left out from then on; one
that is slow loses what does not fit the queue; one that hangs is left behind at the end.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from ipsrl.config import read
from ipsrl.errors import words
from ipsrl.runs.sinks import SINKS, Sink, check

_WAITING = 10_000  # calls in the queue; a run logs a few per second at most
_LEAVE = 30.0  # seconds that the end of a run waits for its sinks
_ROWS = 100  # of a table
_BARS = 20  # of a picture
_PAUSE = 30.0  # seconds between two pictures

R = TypeVar("R")
_Call = tuple[Any, ...]  # method of a sink, and its arguments

watching: ContextVar[tuple[str, ...]] = ContextVar("watching", default=())
"""Names of the sinks that a run which begins now goes to."""


@contextmanager
def logging_to(names: Sequence[str]) -> Iterator[None]:
    """Runs that begin or go on within are watched by these sinks.

    Args:
      names: of `SINKS`.
    Raises:
      ConfigError, MissingExtra: as `check`, before any work.
    """
    check(names)
    token = watching.set(tuple(names))
    try:
        yield
    finally:
        watching.reset(token)


class Live:
    """A run's connection to its sinks: calls return at once, and raise nothing.

    Sinks start with the first call: a run that cannot begin leaves no trace in them.

    Args:
      names: of the sinks.
      directory: of the run.
    """

    def __init__(self, names: Sequence[str], directory: Path) -> None:
        self.names, self._directory = names, directory
        self._queue: queue.Queue[Callable[[], Iterator[_Call]] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._drawn, self._lost = -math.inf, False
        self._undrawn: dict[str, tuple[int, pa.Table]] = {}  # the last of each, to draw at the end

    @property
    def folders(self) -> list[str]:
        """Folders in that of the run which their libraries fill."""
        return [f"{name}/" for name in ("tensorboard", "wandb") if name in self.names]

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Lines of metrics.jsonl."""
        self._put(lambda: _numbers(rows))

    def table(self, name: str, table: pa.Table) -> None:
        """Rows of a table with a column `step`."""
        self._put(lambda: self._shown(name, table))

    def close(self) -> None:
        """Wait for the sinks to send what is left, and not for ever."""
        if self._thread is None:
            return
        end = time.monotonic() + _LEAVE
        with suppress(queue.Full):
            self._queue.put(None, timeout=_LEAVE)
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            print("a sink hangs, and is left behind", file=sys.stderr, flush=True)
        self._thread = None

    def _put(self, prepare: Callable[[], Iterator[_Call]]) -> None:
        if not self.names:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(prepare)
        except queue.Full:
            if not self._lost:
                self._lost = True
                print("a sink is slow, and loses lines", file=sys.stderr, flush=True)

    def _work(self) -> None:
        sinks: dict[str, Sink] = {}
        config = read(self._directory / "config.toml")
        for name in self.names:
            if sink := _guarded(name, SINKS[name], self._directory, config):
                sinks[name] = sink
        while (prepare := self._queue.get()) is not None:
            _send(sinks, prepare)
        for name, (step, table) in self._undrawn.items():
            _send(sinks, partial(_picture, name, step, table))
        for name, sink in sinks.items():
            _guarded(name, sink.close)

    def _shown(self, name: str, table: pa.Table) -> Iterator[_Call]:
        """The most frequent or the best rows of a table, and now and then a picture of them."""
        if not len(table):
            return
        step = max(table["step"].to_pylist())
        table = table.drop_columns(["step"])
        for column in ("count", "reward"):
            if column in table.column_names:
                table = table.sort_by([(column, "descending")])
                break
        rows = [list(row.values()) for row in table.slice(0, _ROWS).to_pylist()]
        yield "table", name, step, table.column_names, rows
        self._undrawn[name] = step, table
        if time.monotonic() - self._drawn > _PAUSE:
            self._drawn = time.monotonic()
            del self._undrawn[name]
            yield from _picture(name, step, table)


def _send(sinks: dict[str, Sink], prepare: Callable[[], Iterator[_Call]]) -> None:
    """Call all sinks; one that raises is left out from then on."""
    for method, *arguments in _guarded("a table", lambda: [*prepare()]) or ():
        for name, sink in list(sinks.items()):
            if _guarded(name, _called, sink, method, *arguments) is None:
                del sinks[name]


def _picture(name: str, step: int, table: pa.Table) -> Iterator[_Call]:
    if png := _guarded("a picture", _bars, name, table):
        yield "picture", f"{name}/picture", step, png


def _numbers(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Call]:
    """Numbers of each line; of several seeds each has names of its own."""
    several = len({row.get("seed") for row in rows}) > 1
    for row in rows:
        seed = f"/seed-{row['seed']}" if several else ""
        values = {
            f"{key}{seed}": float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and key not in ("step", "seed")
            if math.isfinite(value)
        }
        yield "scalars", _step(row), values


def _guarded(name: str, call: Callable[..., R], *arguments: Any) -> R | None:
    """The result of a call; None if it failed, which is then printed."""
    try:
        return call(*arguments)
    except (Exception, SystemExit) as error:
        print(
            f"{name} failed ({words(error)}); the run goes on without it",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        return None


def _called(sink: Sink, method: str, *arguments: Any) -> bool:
    getattr(sink, method)(*arguments)
    return True


def _step(row: Mapping[str, Any]) -> int:
    """How far the run was, as its family counts."""
    return int(next((row[key] for key in ("step", "trajectories") if key in row), 0))


def _bars(name: str, table: pa.Table) -> bytes | None:
    """A picture of the most frequent outcomes or best rewards; None if there is nothing to draw."""
    columns = table.column_names
    height = next((column for column in ("count", "reward") if column in columns), None)
    label = next((column for column in ("outcome", "smiles") if column in columns), None)
    if height is None or label is None or not len(table):
        return None
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    rows = [row for row in table.slice(0, _BARS).to_pylist() if row[height] is not None]
    figure = Figure(figsize=(7, 1 + 0.24 * max(len(rows), 1)), layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(rows)), [row[height] for row in rows], color="#0072b2")
    several = "seed" in columns and len(set(table["seed"].to_pylist())) > 1
    texts = [str(row[label])[:40] + (f", seed {row['seed']}" if several else "") for row in rows]
    axis.set_yticks(range(len(rows)), texts, parse_math=False)
    axis.invert_yaxis()
    axis.set(xlabel=height, title=name)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
