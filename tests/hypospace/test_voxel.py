"""Structures seen from above: counts, brute force, and an independent reader."""

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise, product
from math import comb

import numpy as np
import pytest
from hypospace_suite import TaskSuite

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace import Verdict, Voxel, VoxelConfig, dataset, judge

VIEW = ("0 1 0", "0 0 0", "0 1 1")  # of the paper's appendix C


def blocks(key: str, size: int) -> np.ndarray:
    """Occupied cells [layers, rows, columns]."""
    layers = key.split("/") if key else []
    return np.array([[int(c) for c in layer] for layer in layers], bool).reshape(-1, size, size)


@lru_cache
def brute_force() -> frozenset[str]:
    """All 4^9 fields of heights 0 to 3, of which those with one to three cells are kept."""
    keys = set()
    for heights in product(range(4), repeat=9):
        if 1 <= sum(h > 0 for h in heights) <= 3:
            layers = [
                "".join(str(int(h > level)) for h in heights) for level in range(max(heights))
            ]
            keys.add("/".join(layers))
    return frozenset(keys)


class TestVoxel(TaskSuite):
    task = Voxel()
    beginning = "Layer 1:"
    decorations = ("**{}**", "`{}`", "# Result\n\n{}\n", "{}\nLayer 4 is empty.")
    refused = (
        ("", Verdict.NO_ANSWER),
        ("Structure:\nLayer 1:\n", Verdict.NO_ANSWER),
        ("Layer 1 END_STRUCTURE:\n0 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLay 2:\n1 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        # The view is 1 0 0 / 0 0 0 / 0 0 0, and a right layer does not hide what comes after it.
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 2: 101 010 111", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 4: 111 111 111", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 2\n[1;1;1]", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\n2 2 2", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\n1 1 1 x", Verdict.NO_ANSWER),
        ("Layer 1:\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 2:\n0 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 3:\n1 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 2\n0 0 0\n", Verdict.REFUSED),
        ("Layer 1:\n1 0 X\n0 0 0\n0 0 0\n", Verdict.REFUSED),
        ("Layer 1:\n\u0661 0 0\n0 0 0\n0 0 0\n", Verdict.REFUSED),  # a digit, but not 1
        ("\n".join(f"Layer {n}:\n1 0 0\n0 0 0\n0 0 0" for n in (1, 2, 3, 4)), Verdict.REFUSED),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 2:\n0 1 0\n0 0 0\n0 0 0", Verdict.OUTSIDE),
        ("Layer 1:\n0 0 0\n0 0 0\n0 0 0\n", Verdict.CONTRADICTS),  # all 0, and no crash
        ("Layer 1:\n0 0 0\n0 0 1\n0 0 0\n", Verdict.CONTRADICTS),
    )
    vocabulary = (
        "0", "1", "2", "0 ", "1 ", "0 1 0", "0 0 0\n", "1 1 1\n", "Layer 1:", "Layer 2:\n",
        "Layer 3:", "Layer 4:\n", "Layer", "Structure:", "END_STRUCTURE", "BEGIN_STRUCTURE\n", "\n",
        "\n\n", ":",
        "<end_of_turn>", "`", "**", ",", "X",
    )  # fmt: skip

    def hypotheses(self):
        return brute_force()

    def explains(self, key, observations):
        view = np.array([row.split() for row in observations]) == "1"
        cells = blocks(key, len(observations))
        stands = bool((cells[1:] <= cells[:-1]).all()) and len(cells) <= 3
        return stands and bool((cells.any(axis=0) == view).all())

    def states(self, response, key, observations):
        """Read back to front: the last heading of a first layer, and grids until something else."""
        for mark in "`*\"',|[]":
            response = response.replace(mark, " ")
        response = response.replace("<end_of_turn>", "\n")
        every = [line.strip() for line in response.splitlines()]
        size = len(observations)
        tops = [i for i, line in enumerate(every) if heading(line) == 1]
        for top, bottom in reversed([*pairwise([*tops, len(every)])]):
            rest = "\n".join(every[top:bottom])
            lines = rest[: (rest.lower() + "end_structure").index("end_structure")].split("\n")
            grids, i, broken = [], 0, False
            while i < len(lines) and heading(lines[i]) == len(grids) + 1 and not broken:
                rows, i = [], i + 1
                while i < len(lines) and len(rows) < size:
                    row = lines[i].removeprefix("> ").split()
                    row = list(row[0]) if len(row) == 1 and len(row[0]) == size else row
                    rows += [row] if row else []
                    i += 1
                broken = len(rows) < size or any(
                    len(r) != size or set(r) - {"0", "1"} for r in rows
                )
                grids.append("".join(cell for row in rows for cell in row))
                # Up to the next heading of this structure only prose may stand.
                while i < len(lines) and heading(lines[i]) is None:
                    broken = broken or not (lines[i] == "" or prose(lines[i]))
                    i += 1
            broken = broken or i < len(lines)  # a heading of another layer
            if not broken:
                while grids and not int(grids[-1], 2):
                    grids.pop()
                return "/".join(grids) == key
        return False


def heading(line: str) -> int | None:
    """k of "Layer k:", with a remark; None for another line."""
    line = line.lower().lstrip("#>- \t")
    if not line.startswith("layer") or not line.endswith(":") or line.count(":") > 1:
        return None
    rest = line[len("layer") : -1].strip(" \t")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return int(digits) if digits else None


def prose(line: str) -> bool:
    """A line with a word, which does not name a layer by its number and go on in figures."""
    words = re.findall(r"[a-z]+", line.lower())
    if not any(len(word) > 1 for word in words):
        return False
    named = re.fullmatch(r"[#>\- \t]*layer[ \t]*\d+(.*)", line.lower())
    return named is None or (named[1].islower() and not re.search(r"\d", named[1]))


def test_counts_of_the_specification():
    """C(9, b) views of b blocks with 3^b structures each: 9 * 3 + 36 * 9 + 84 * 27 = 2,619."""
    sizes = Counter(len(keys) for _, keys in Voxel().observation_sets())
    assert sizes == {3: 9, 9: 36, 27: 84}
    assert sum(sizes.values()) == 129
    assert sum(size * count for size, count in sizes.items()) == len(brute_force()) == 2619


def test_the_example_of_the_paper_by_hand():
    """Three cells are occupied, each one, two or three blocks high: 3^3 = 27 structures.

    Cells 1, 7 and 8, counted row by row from 0.  Heights 1, 2, 2: the lower layer holds all three,
    010000011, the upper one cells 7 and 8, 000000011.
    """
    keys = dict(Voxel().observation_sets())[VIEW]
    assert len(keys) == 27
    assert "010000011/000000011" in keys
    answer = """BEGIN_STRUCTURE
Structure:
Layer 1:
0 1 0
0 0 0
0 1 1
Layer 2:
0 0 0
0 0 0
0 1 1
END_STRUCTURE"""
    assert Voxel().answer("010000011/000000011") == answer
    assert judge(Voxel(), VIEW, answer).key == "010000011/000000011"
    benchmark = answer.removeprefix("BEGIN_STRUCTURE\n").removesuffix("\nEND_STRUCTURE")
    assert judge(Voxel(), ["010000011"], benchmark).valid  # the view as one text
    # Without the lower block of cell 8, the upper one floats.
    floating = judge(Voxel(), VIEW, answer.replace("0 1 1", "0 1 0", 1))
    assert (floating.key, floating.verdict) == ("010000010/000000011", Verdict.OUTSIDE)


def test_prompt_is_that_of_the_paper():
    prompt = Voxel().prompt(VIEW)
    for part in (
        "### TASK DESCRIPTION", "### OBSERVATION", "### REQUIRED OUTPUT FORMAT", "### CONSTRAINTS",
        "Top View (1=block visible, 0=empty):\n0 1 0\n0 0 0\n0 1 1\n",
        "Maximum allowed height: 3 layers.",
        "BEGIN_STRUCTURE\nStructure:\nLayer 1:\n0 0 0\n0 1 0\n0 0 0\n"
        "Layer 2:\n0 0 0\n0 1 0\n0 0 0\nEND_STRUCTURE",
    ):  # fmt: skip
        assert part in prompt


@pytest.mark.parametrize(
    "row", ["010", "0,1,0", "[0, 1, 0]", "| 0 | 1 | 0 |", "**0 1 0**", "`0 1 0`", "0\t1\t0"]
)
def test_forms_of_a_row(row):
    text = f"Layer 1:\n{row}\n0 0 0\n0 1 1\n"
    assert judge(Voxel(), VIEW, text).key == "010000011"


@pytest.mark.parametrize("header", ["layer 1:", "### Layer 1:", "Layer 1 (bottom):", "- Layer 1 :"])
def test_forms_of_a_heading(header):
    assert judge(Voxel(), VIEW, f"{header}\n0 1 0\n0 0 0\n0 1 1\n").valid


def test_layers_in_one_line_and_in_a_quotation():
    for text in (
        "Layer 1:\n[[0,1,0],[0,0,0],[0,1,1]]\nLayer 2:\n[[0,1,0],[0,0,0],[0,0,0]]",
        "> Layer 1:\n> 0 1 0\n> 0 0 0\n> 0 1 1\n> Layer 2:\n> 0 1 0\n> 0 0 0\n> 0 0 0",
    ):
        assert judge(Voxel(), ["010000011"], text).key == "010000011/010000000"


def test_empty_layers_on_top_do_not_count():
    layer = "0 1 0\n0 0 0\n0 1 1\n"
    text = f"Layer 1:\n{layer}Layer 2:\n{'0 0 0' + chr(10)}0 0 0\n0 0 0\n"
    assert judge(Voxel(), VIEW, text).key == "010000011"
    # But a fourth layer is one too many, though it is empty.
    empty = "0 0 0\n" * 3
    four = f"Layer 1:\n{layer}" + "".join(f"Layer {n}:\n{empty}" for n in (2, 3, 4))
    assert judge(Voxel(), VIEW, four).verdict is Verdict.REFUSED


def test_a_remark_between_layers_does_not_cut_the_structure():
    layer = "0 1 0\n0 0 0\n0 1 1\n"
    text = f"Layer 1:\n{layer}These rest on the ground.\nLayer 2:\n{layer}"
    assert judge(Voxel(), VIEW, text).key == "010000011/010000011"


def test_nothing_to_see_is_an_empty_structure():
    judgement = judge(Voxel(), ["000000000"], "Layer 1:\n0 0 0\n0 0 0\n0 0 0")
    assert (judgement.key, judgement.valid) == ("", True)


@pytest.mark.parametrize("lines", [("01000001",), ("0 1 0", "0 0 0"), ("0 1 2", "0 0 0", "0 0 0")])
def test_broken_views(lines):
    assert judge(Voxel(), lines, "Layer 1:\n0 1 0\n0 0 0\n0 1 1").verdict is Verdict.BAD_INPUT


@pytest.mark.parametrize(("size", "height", "most"), [(2, 2, 4), (4, 2, 2), (5, 4, 2), (1, 3, 1)])
def test_larger_sizes(size, height, most):
    task = Voxel(VoxelConfig(size=size, max_height=height, max_blocks=most))
    sets = list(task.observation_sets())
    assert len(sets) == sum(comb(size**2, b) for b in range(1, most + 1))
    assert sum(len(keys) for _, keys in sets) == sum(
        comb(size**2, b) * height**b for b in range(1, most + 1)
    )
    for lines, keys in sets[:: max(1, len(sets) // 20)]:
        for key in keys:
            judgement = judge(task, lines, task.answer(key))
            assert (judgement.key, judgement.valid) == (key, True)
        assert task.prompt(lines).count("Layer 2:") == (height > 1)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="1 to 10 blocks cannot be seen on 9 cells"):
        Voxel(VoxelConfig(max_blocks=10))
    with pytest.raises(InvalidInput, match="Choose a smaller size"):
        dataset(Voxel(VoxelConfig(size=8, max_blocks=8)))
