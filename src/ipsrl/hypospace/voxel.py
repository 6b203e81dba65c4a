"""Blocks seen from above: which structures of unit cubes have this top view?

The view is the OR over the layers, and every block rests on a block, so that a structure is a
height for every cell of the view.
Key: layers bottom up without empty ones on top, row by row, "010000011/010000001"; "" for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, product
from math import comb, isqrt
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace.reading import MOST_PARTS, Part, bare, replaced, without_latex
from ipsrl.hypospace.task import Judgement, Malformed, Refused, Verdict, check_size

_LARGEST = 64
_SEPARATORS = ",|[]{}"  # and parentheses, once headings have been found
_DELIMITER = re.compile(r"(begin|end)_structure", re.ASCII | re.IGNORECASE)
# "Layer 2:", "### Layer 2 (top)", "Layer 2 of 3 (z=1):", "- Layer 2, the top one: 0 1 0".
_HEADING = re.compile(
    r"^[ _#>]*+(?:(?:[-\u2022]|[0-9]{1,4}[.)]) )?+[ _]*+layer[ _]*+([0-9]{1,4})(?![0-9])"
    r"(?: *+of +[0-9]{1,4}(?![0-9]))?+(?: *+\(z *= *[0-9]{1,4}\))?+"
    r"(?: *+(?:\([^:\n()0-9]{0,40}\) *+)?$|[^:\n0-9]{0,40}:([^\n]*+)$)",
    re.ASCII | re.IGNORECASE | re.MULTILINE,
)
_REMARK = re.compile(r"\([^0-9]*\)")  # after a heading: "(bottom)"
_EMPTY = re.compile(r"\(?(?:empty|none|null|no +blocks|all +zeros)\)?", re.IGNORECASE)
_LINE = re.compile(r"^[^\n]*?[^\W_][^\n]*+", re.MULTILINE)  # all others are blank
# A line that is not a remark: without a word, or with three digits that only signs separate.
_CELLS = re.compile(
    r"^(?=[^\n]*?[^\W_])(?:(?![^\n]*?[^\W\d_]{2})|(?=[^\n]*?\d(?:(?:[^\w\n]|_)*+\d){2}))",
    re.MULTILINE,
)
_SQUARES = r"[\u2580-\u259f\u25a0-\u25ff\u2610-\u2612\u2b1b\u2b1c\U0001f7e0-\U0001f7eb]"
_MENTIONS = re.compile(rf"layer|level|structure|{_SQUARES}", re.ASCII | re.IGNORECASE)
# An explanation has none of these: a digit outside headings, a drawing, a line without a word.
_SAYS = re.compile(rf"\d|{_SQUARES}|^(?=[^\n]*?[^\W_])(?![^\n]*?[^\W\d_]{{2}})", re.MULTILINE)


class VoxelConfig(StrictConfig):
    """Structures on a square grid, and the views that are shown (paper, appendix B.1)."""

    heading: ClassVar[str] = "structures"

    size: Annotated[int, Field(ge=1, le=_LARGEST)] = 3
    """Cells along a side of the grid."""
    max_height: Annotated[int, Field(ge=1)] = 3
    """Largest number of layers."""
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
    novel_outside: ClassVar[bool] = True

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
        """The answer that has this key."""
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

    def candidates(self, response: str) -> list[Part]:
        """The last structure; structures with only remarks after the headings do not count.

        A structure ends at the next, or at a heading whose number it has already.
        """
        text = without_latex(response.replace("'", "")).replace("\\boxed", " ")
        pieces = ["", *_DELIMITER.split(replaced(text, _SEPARATORS, " ")), ""]
        looked_at = 0
        for i in range(len(pieces) - 2, 0, -2):
            if pieces[i - 1].lower() == "end" != pieces[i + 1].lower():
                continue  # it follows an answer
            for structure in reversed(_structures(pieces[i])):
                if _SAYS.search(_HEADING.sub(r"\2", structure)):
                    return [Part(structure)]
                looked_at += 1
                if looked_at == MOST_PARTS:
                    return []
        return []

    def read(self, part: Part, problem: VoxelProblem) -> list[str]:
        """The layers bottom up, each as one text of its cells, without empty layers on top."""
        candidate = part.text
        headings = list(_HEADING.finditer(candidate))
        numbers = [int(heading[1]) for heading in headings]
        if len(numbers) > self.config.max_height:
            raise Refused(f"more than {self.config.max_height} layers")
        if sorted(numbers) != [*range(1, len(numbers) + 1)]:
            raise Malformed("the layers are not numbered 1, 2, 3, ...")
        ends = [*(heading.start() for heading in headings[1:]), len(candidate)]
        found = {
            number: _cells(heading[2] or "", candidate[heading.end() : end], problem.size, number)
            for number, heading, end in zip(numbers, headings, ends, strict=True)
        }
        layers = [found[number] for number in sorted(found)]
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


def _structures(text: str) -> list[str]:
    """The text from a first heading to the next whose number the structure has already."""
    starts: list[int] = []
    numbers: set[str] = set()
    for heading in _HEADING.finditer(text):
        number = heading[1].lstrip("0")
        if not starts or number in numbers:
            starts.append(heading.start())
            numbers = set()
        numbers.add(number)
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


def _cells(beside: str, below: str, size: int, number: int) -> str:
    """The cells of a layer, from the line of its heading and from those below."""
    at, rows = 0, ""
    if beside := bare(beside):
        if _EMPTY.fullmatch(beside):
            rows = "0" * size**2
        elif not _REMARK.fullmatch(beside):
            rows = _row(beside, size, number, whole=True)
    while len(rows) < size**2:
        line = _LINE.search(below, at)
        if line is None:
            raise Malformed(f"layer {number} has {len(rows) // size} of {size} rows")
        rows += _row(bare(line[0]), size, number, whole=not rows)
        at = line.end()
    if more := _CELLS.search(below, at) or _MENTIONS.search(below, at):
        line = below[more.start() :].partition("\n")[0]
        raise Malformed(f"layer {number} has {line[:40]!r} after its {size} rows")
    return rows


def _row(line: str, size: int, number: int, *, whole: bool) -> str:
    """The cells of a line, in words of one length: those of a row, or of the whole layer."""
    words = replaced(line, "()", " ").split()
    cells = "".join(words)
    uneven = len(words) not in (1, len(cells)) and len({*map(len, words)}) > 1
    if uneven or (len(cells) != size and not (whole and len(cells) == size**2)):
        raise Malformed(f"a row of layer {number} is not {size} cells of 0 or 1")
    if wrong := cells.strip("01"):
        raise Refused(f"the cell {wrong[0]!r} of layer {number} is not 0 or 1")
    return cells
