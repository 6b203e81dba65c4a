"""Blocks seen from above: which structures of unit cubes have this top view?

The view is the OR over the layers, and every block rests on a block, so that a structure is a
height for every cell of the view.
Key: layers bottom up without empty ones on top, row by row, "010000011/010000001"; "" for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, islice, pairwise, product
from math import comb, isqrt
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace.task import Judgement, Malformed, Refused, Verdict, check_size, replaced

_LARGEST = 64
_MARKUP = "*`\"',|[]"
# In a line of its own: "Layer 2:", "### Layer 2 (top):".
_HEADER = re.compile(
    r"^[ \t#>-]*+layer[ \t]*+([0-9]{1,4})(?![0-9])[^:\n]{0,20}:[ \t]*+\r?$",
    re.ASCII | re.IGNORECASE | re.MULTILINE,
)
_PROSE = re.compile(r"[^\W\d_]{2}")  # a word
# "Layer 2: 1 0 1", whose rows stand elsewhere than they should; "Layer 2 is empty." is prose.
_LAYER = re.compile(
    r"[ \t#>-]*+layer[ \t]*+[0-9]++(?:[^a-z\n]*+$|[^\n]*[0-9])", re.ASCII | re.IGNORECASE
)
_STOP = re.compile(r"end_structure", re.IGNORECASE)


class VoxelConfig(StrictConfig):
    """Structures on a square grid, and the views that are shown (paper, appendix B.1)."""

    size: Annotated[int, Field(ge=1, le=_LARGEST)] = 3
    """Cells along a side of the grid."""
    max_height: Annotated[int, Field(ge=1)] = 3
    """Most layers."""
    min_blocks: Annotated[int, Field(ge=1)] = 1
    """Fewest cells of the view that show a block."""
    max_blocks: Annotated[int, Field(ge=1)] = 3
    """Most cells of the view that show a block."""


class VoxelProblem(NamedTuple):
    """Side of the grid, and its view row by row as the bits of an integer."""

    size: int
    view: int


class Voxel:
    """The domain of structures seen from above."""

    name: ClassVar[str] = "voxel"
    judged_by: ClassVar[tuple[str, ...]] = ("max_height",)

    def __init__(self, config: VoxelConfig | None = None) -> None:
        self.config = config or VoxelConfig()
        if not self.config.min_blocks <= self.config.max_blocks <= self.config.size**2:
            raise ConfigError(
                f"{self.config.min_blocks} to {self.config.max_blocks} blocks cannot be seen on "
                f"{self.config.size**2} cells. Choose min_blocks <= max_blocks <= size * size."
            )

    def observation_sets(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Every view of `min_blocks` to `max_blocks` cells with all its structures."""
        cells, heights = self.config.size**2, self.config.max_height
        counts = range(self.config.min_blocks, self.config.max_blocks + 1)
        check_size(
            sum(comb(cells, blocks) * heights**blocks for blocks in counts),
            "Choose a smaller size, max_blocks or max_height.",
        )
        for blocks in counts:
            for occupied in combinations(range(cells), blocks):
                view = _layer(cells, occupied)
                yield (
                    self._rows(view),
                    [
                        _structure(cells, occupied, height)
                        for height in product(range(1, heights + 1), repeat=blocks)
                    ],
                )

    def prompt(self, observations: Sequence[str]) -> str:
        """The question put to a model: the paper's (appendix C), for any size and height."""
        n = self.problem(tuple(observations)).size
        view = "\n".join(observations)
        middle = _layer(n * n, (n * n // 2 if n % 2 else n * n // 2 + n // 2,))
        example = "\n".join(self._rows(middle))
        second = f"Layer 2:\n{example}\n" if self.config.max_height > 1 else ""
        return f"""\
### TASK DESCRIPTION
You are an expert 3D reconstruction engine.
You are given a Top View (2D projection) of a {n}x{n} grid.
Your goal is to reconstruct the 3D voxel structure (layers of blocks) that matches this view.
Maximum allowed height: {self.config.max_height} layers.

### OBSERVATION
Top View (1=block visible, 0=empty):
{view}

### REQUIRED OUTPUT FORMAT
You must output the structure layer by layer, starting from the bottom (Layer 1).
Every layer must be explicitly labeled. Do not output raw numbers without 'Layer X:' labels.
Use exactly this format:
BEGIN_STRUCTURE
Structure:
Layer 1:
{example}
{second}END_STRUCTURE

### CONSTRAINTS
1. Physics: A block at Layer N must have a block directly below it at Layer N-1.
2. Consistency: The 'OR' operation of all layers must exactly match the Top View.
3. Format: You must write 'Layer X:' before each grid.

Generate the structure now:
"""

    def answer(self, key: str) -> str:
        """The answer whose key this is."""
        layers = key.split("/") if key else ["0" * self.config.size**2]
        grids = (
            "\n".join((f"Layer {number}:", *self._rows(layer)))
            for number, layer in enumerate(layers, 1)
        )
        return "\n".join(("BEGIN_STRUCTURE", "Structure:", *grids, "END_STRUCTURE"))

    @staticmethod
    def problem(observations: tuple[str, ...]) -> VoxelProblem:
        """The view as lines "0 1 0", or row by row in one text "010000011"."""
        rows = [row.split() for row in observations]
        if len(rows) == 1 and len(rows[0]) == 1:
            rows = [list(rows[0][0])]
            size = isqrt(len(rows[0]))
        else:
            size = len(rows)
        cells = "".join(cell for row in rows for cell in row)
        square = len(cells) == size * size and (len(rows) == 1 or {len(r) for r in rows} == {size})
        if not square or set(cells) - {"0", "1"} or size > _LARGEST:
            raise InvalidInput(
                f"{observations[0][:80]!r}... is not the view of a square of at most {_LARGEST} x "
                f"{_LARGEST} cells: rows such as '0 1 0', or one text such as '010000011'"
            )
        return VoxelProblem(size, int(cells, 2))

    def candidates(self, response: str) -> list[str]:
        """From each `Layer 1:` to the end of its structure."""
        text = replaced(response, _MARKUP, " ")
        starts = [match.start() for match in _HEADER.finditer(text) if int(match[1]) == 1]
        spans = pairwise([*starts, len(text)])
        return [_STOP.split(text[start:end], maxsplit=1)[0] for start, end in spans]

    def read(self, candidate: str, problem: VoxelProblem) -> list[str]:
        """Layers bottom up, each as one text of its cells, without empty ones on top."""
        headers = list(islice(_HEADER.finditer(candidate), self.config.max_height + 1))
        numbers = [int(match[1]) for match in headers]
        if not numbers or numbers != [*range(1, len(numbers) + 1)]:
            raise Malformed("the layers are not numbered 1, 2, 3, ...")
        if len(headers) > self.config.max_height:
            raise Refused(f"more than {self.config.max_height} layers")
        ends = [*(match.start() for match in headers[1:]), len(candidate)]
        layers = [
            _cells(candidate[match.end() : end], problem.size, match[1])
            for match, end in zip(headers, ends, strict=True)
        ]
        while layers and "1" not in layers[-1]:
            layers.pop()
        return layers

    def check(self, hypothesis: list[str], problem: VoxelProblem) -> Judgement:
        """In H_O iff every block rests on a block and the view is the one observed."""
        key = "/".join(hypothesis)
        layers = [int(layer, 2) for layer in hypothesis]
        for number, (below, layer) in enumerate(pairwise(layers), 2):
            if layer & ~below:
                return Judgement(
                    key, Verdict.OUTSIDE, f"a block of layer {number} rests on nothing"
                )
        # Where blocks rest on blocks, the lowest layer is the OR over all.
        if (layers[0] if layers else 0) != problem.view:
            return Judgement(key, Verdict.CONTRADICTS, "the top view is another")
        return Judgement(key, Verdict.ADMISSIBLE)

    def _rows(self, layer: str) -> tuple[str, ...]:
        size = isqrt(len(layer))
        return tuple(" ".join(layer[i : i + size]) for i in range(0, size * size, size))


def _layer(cells: int, occupied: Sequence[int]) -> str:
    return "".join("1" if cell in occupied else "0" for cell in range(cells))


def _structure(cells: int, occupied: Sequence[int], heights: Sequence[int]) -> str:
    return "/".join(
        _layer(cells, [c for c, h in zip(occupied, heights, strict=True) if h > level])
        for level in range(max(heights))
    )


def _cells(text: str, size: int, number: str) -> str:
    """The first `size` lines that are not empty; what follows may be prose, but no further row."""
    rows: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        cells = line.split()
        if cells[0] == ">":  # of a quotation
            del cells[0]
        if not cells:
            continue
        if len(cells) == 1 and len(cells[0]) == size:
            cells = list(cells[0])
        if len(rows) == size:
            if _PROSE.search(line) and not _LAYER.match(line):
                continue
            raise Malformed(f"layer {number} has {line[:40]!r} after its {size} rows")
        if not rows and len(cells) == size * size > 1:  # all in one line
            for start in range(0, size * size, size):
                rows.append(_row(cells[start : start + size], size, number))
            continue
        rows.append(_row(cells, size, number))
    if len(rows) < size:
        raise Malformed(f"layer {number} has {len(rows)} of {size} rows")
    return "".join(rows)


def _row(cells: list[str], size: int, number: str) -> str:
    if len(cells) != size or any(len(cell) > 2 for cell in cells):
        raise Malformed(f"a row of layer {number} is not {size} cells of 0 or 1")
    for cell in cells:
        if cell not in ("0", "1"):
            raise Refused(f"the cell {cell!r} of layer {number} is not 0 or 1")
    return "".join(cells)
