"""Views describe a run without saying how it is drawn: readers make them, the page draws them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Number = float | int | None
"""None where nothing is known: a gap in a line, a dash in a table."""


@dataclass(frozen=True)
class Curve:
    """A line that can be compared with that of another run.

    Attributes:
      chart: title of the chart that it belongs to; curves of one chart are drawn together.
      x, y: what its axes say.
      xs: [T].
      ys_ST: a row of T values for each seed.
      name: which of several lines of the same run it is.
      log: axes that are logarithmic: "", "x", "y" or "xy".
      reference: whether it is what runs are compared with, the same for all of them.
    """

    chart: str
    x: str
    y: str
    xs: Sequence[Number]
    ys_ST: Sequence[Sequence[Number]]
    name: str = ""
    log: str = ""
    reference: bool = False


@dataclass(frozen=True)
class Frequencies:
    """How often each outcome came, window by window: a stack, or bars of a single window.

    Attributes:
      title: heading.
      x: what the windows count.
      starts, ends: first and last x of each window [W].
      names: outcomes that are known by name, the commonest first [K].
      counts_KW: how often they came.
      rest_W: how often all others came, and `rest` says how many those are.
      none_W: samples without an outcome.
    """

    title: str
    x: str
    starts: Sequence[Number]
    ends: Sequence[Number]
    names: Sequence[str]
    counts_KW: Sequence[Sequence[int]]
    rest_W: Sequence[int]
    rest: int
    none_W: Sequence[int]
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """Amounts by name."""

    title: str
    names: Sequence[str]
    values: Sequence[Number]
    note: str = ""


@dataclass(frozen=True)
class Planes:
    """Distributions over a grid, all on one scale: rows from the bottom up.

    Attributes:
      top: value of the last colour.
      block: places of the grid in each direction that a cell is the sum of.
    """

    title: str
    names: Sequence[str]
    planes: Sequence[Sequence[Sequence[Number]]]
    top: float
    block: int = 1
    note: str = ""


@dataclass(frozen=True)
class Arrows:
    """A policy on a lattice: at each cell an arrow, as strong as the cell is visited.

    Attributes:
      cells: x, y, dx, dy, visits in [0, 1] of each cell.
      marks: name, outcome, x, y and probability of each end.
    """

    title: str
    cells: Sequence[Sequence[Number]]
    marks: Sequence[tuple[str, str, int, int, Number]]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of values under headings.

    Attributes:
      search: whether a field to search in it is offered.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    search: bool = False


@dataclass(frozen=True)
class Question:
    """One prompt and its answers.

    Attributes:
      name: what tells it from the others, in a line.
      prompt: its text.
      answers: right ones: key, how often it was given of late, and how often before that.
      known: whether all right answers are known, so that `answers` has also those never found.
      wrong: completions of late that are not right.
    """

    name: str
    prompt: str
    answers: Sequence[tuple[str, int, int]]
    known: bool
    wrong: int


@dataclass(frozen=True)
class Tiles:
    """The answers to each prompt: one tile for each answer.

    Attributes:
      drawing: "graph" or "voxels" where keys can be drawn, "" where they are text.
    """

    title: str
    questions: Sequence[Question]
    drawing: str = ""
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Molecules with their values, and drawings of some.

    Attributes:
      columns: names of the values.
      rows: SMILES, scaffold, status, reason, then a value for each column.
      drawings: compact ones by SMILES, see `readers.drawing`; as base64 of zlib of JSON.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    drawings: str
    note: str = ""


@dataclass(frozen=True)
class Synthesis:
    """How a molecule can be made.

    Attributes:
      steps: reaction SMILES and name of each step, the last one first; None where no route was
        found.
      picture: SVG as base64, "" for none.
    """

    smiles: str
    steps: Sequence[tuple[str, str]] | None
    picture: str


@dataclass(frozen=True)
class Routes:
    """Syntheses of molecules."""

    title: str
    routes: Sequence[Synthesis]
    note: str = ""


Part = Frequencies | Bars | Planes | Arrows | Table | Tiles | Gallery | Routes


@dataclass(frozen=True)
class View:
    """One run.

    Attributes:
      label: what tells it from the other runs of a page.
      family: such as grids.
      title: what was run.
      state: running, ended, stopped or failed.
      progress: how far it is, if it has not ended.
      resume: the command that continues it, if it has stopped.
      alarms: what nobody may overlook.
      verdict: what the run shows, in sentences.
      summary: its numbers by name; a list is of the seeds.
      command: as it was typed; where that is not known, `again`.
      again: what would run it again.
      config: values as text by key.
      about: seed, dates and versions, which are shown at once.
      origin: git revision, platform, digests of inputs.
    """

    label: str
    family: str
    title: str
    state: str
    progress: str = ""
    resume: str = ""
    alarms: Sequence[str] = ()
    verdict: Sequence[str] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    again: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    parts: Sequence[Part] = ()


def known(values: Any) -> list[Number]:
    """Numbers for JSON, which has no NaN.

    Args:
      values: an array or a list.
    """
    values = values.tolist() if hasattr(values, "tolist") else values
    return [None if v is None or not math.isfinite(v) else v for v in values]


def listed(parts: Sequence[str], between: str = ", ") -> str:
    """The first four, and how many more there are."""
    more = [f"{len(parts) - 4} more"] if len(parts) > 4 else []
    return between.join([*parts[:4], *more])


def as_json(value: Any) -> str:
    """A page as JSON that can stand in a script: it cannot end a tag or begin a comment."""
    text = json.dumps(value, default=_fields, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _fields(value: Any) -> dict[str, Any]:
    return {"kind": type(value).__name__, **vars(value)}
