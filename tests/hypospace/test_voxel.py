"""Structures seen from above: counts, brute force, and an independent reader."""

import json
import random
from collections import Counter
from functools import lru_cache
from itertools import permutations, product
from math import comb

import hypospace_checker as checker
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
    decorations = (
        "**{}**",
        "`{}`",
        "# Result\n\n{}\n",
        "{}\nLayer 4 is empty.",
        "> {}\n",
        "\\boxed{{{}}}",
        "Hence:\n---\n{}\n---\n- Layer 1: the base.",
    )
    refused = (
        ("", Verdict.NO_ANSWER),
        ("Structure:\nLayer 1:\n", Verdict.NO_ANSWER),
        ("Layer 1 END_STRUCTURE:\n0 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLay 2:\n1 0 0\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        ("Layer 1:\n0 0 0\n0 0 0\n", Verdict.NO_ANSWER),
        # The view is 1 0 0 / 0 0 0 / 0 0 0, and a right layer does not hide what comes after it.
        ("Layer 1:\n1 0 0\n0 0 0\n0 0 0\nLayer 2: 101 010 111", Verdict.OUTSIDE),
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
        "\n\n", ":", "<end_of_turn>", "`", "**", ",", "X", "Layer 1", "Layer 2 (top)",
        "Layer 1: 0 1 0\n", "\u201d", "It rests on it.\n", "empty", "Layer 2: empty\n", "[", "]",
        "|", "- ", "> ", "\\boxed{", "}", "(", ")", '{"Layer 1": [[', "]]}", "'", "_", "\r", "000",
        "010 ", "Level 2: ", "Layers 2: ", "Second layer:\n", "Upper structure:\n",
        "\u25a1 \u25a0 \u25a1\n",
        " (z=1)", " of 3", "no blocks", "all zeros", "null", "Layer 2: block at (3,3)\n",
        "END_STRUCTURE\nLayer 1: one block at 1 0 0\n", "[]",
    )  # fmt: skip

    def hypotheses(self):
        return brute_force()

    def explains(self, key, observations):
        view = np.array([row.split() for row in observations]) == "1"
        cells = blocks(key, len(observations))
        stands = bool((cells[1:] <= cells[:-1]).all()) and len(cells) <= 3
        return stands and bool((cells.any(axis=0) == view).all())

    def stated(self, response, observations):
        """The last structure with cells, layer by layer."""
        text = checker.spaced(checker.without_noise(response).replace("'", ""), checker.LATEX)
        text = "".join(" " if c in ",|[]{}" else c for c in text.replace("\\boxed", " "))
        every = [one for piece in pieces_of(text) for one in structures(piece)]
        answers = [one for one in every[-checker.PARTS :] if any(map(says, one))]
        return structure_of(answers[-1], len(observations)) if answers else None


def pieces_of(text: str) -> list[str]:
    """What BEGIN_STRUCTURE begins or END_STRUCTURE ends, or stands before them."""
    low = "".join(c.lower() if c.isascii() else c for c in text)
    pieces, start, ended = [], 0, False
    while start <= len(text):
        at, word = min(
            (low.find(word, start) % (len(text) + 1), word)
            for word in ("begin_structure", "end_structure")
        )
        ends = at < len(text) and word == "end_structure"
        pieces += [text[start:at]] * (ends or not ended)
        start, ended = at + len(word), ends
    return pieces


def structures(piece: str) -> list[list[str]]:
    """Lines from a heading to the next of a number that was there since."""
    found, numbers = [], []
    for line in piece.split("\n"):
        if (named := heading(line)) is not None:
            if not found or named[0] in numbers:
                found, numbers = [*found, []], []
            numbers.append(named[0])
        if found:
            found[-1].append(line)
    return found


def heading(line: str) -> tuple[int, str] | None:
    """The number of a heading, and what its line says after the colon."""
    line = line.lstrip(checker.BEFORE_A_LINE)
    mark, space, rest = line.partition(" ")
    number = mark[:-1]
    if space and (
        mark in ("-", "\u2022")
        or (mark[-1:] in (".", ")") and 0 < len(number) < 5 and not number.strip("0123456789"))
    ):
        line = rest
    line = line.lstrip(" _")
    if line[:5].lower() != "layer" or not line[:5].isascii():
        return None
    line = line[5:].lstrip(" _")
    rest = line.lstrip("0123456789")
    digits = line[: len(line) - len(rest)]
    of = rest.lstrip(" ")
    if of[:2].lower() == "of" and of[2:3] == " " and of[:2].isascii():
        after = of[2:].lstrip(" ").lstrip("0123456789")
        if 0 < len(of[2:].lstrip(" ")) - len(after) < 5:
            rest = after
    inside, closes, after = rest.lstrip(" ").partition(")")
    z, equals, height = inside.partition("=")
    height = height.lstrip(" ")
    if z[:1] == "(" and z[1:].rstrip(" ") in ("z", "Z") and equals and closes and height:
        rest = rest if height.strip("0123456789") or len(height) > 4 else after
    remark, colon, beside = rest.partition(":")
    if not 0 < len(digits) < 5 or any(c in "0123456789" for c in remark):
        return None
    if not colon:
        remark = remark.strip(" ")
        inside = remark[1:-1]
        framed = remark[:1] + remark[-1:] == "()" and len(remark) > 1
        if remark and not (framed and len(inside) <= 40 and not set(inside) & set("()")):
            return None
    return (int(digits), beside) if not colon or len(remark) <= 40 else None


def cells(line: str) -> bool:
    """Is it neither blank nor a remark?  A remark has a word, and no three digits in a row."""
    kinds = ["d" if c.isdecimal() else "l" if c.isalnum() else " " for c in line]
    word = "ll" in "".join(kinds)
    return "".join(kinds).strip() != "" and (not word or "ddd" in "".join(kinds).replace(" ", ""))


SQUARES = [*range(0x2580, 0x25A0), *range(0x25A0, 0x2600), *range(0x2610, 0x2613)]
SQUARES += [0x2B1B, 0x2B1C, *range(0x1F7E0, 0x1F7EC)]


def drawn(line: str) -> bool:
    return any(ord(c) in SQUARES for c in line)


def says(line: str) -> bool:
    """Has it a digit, a drawing, or no word?  The number of a heading aside."""
    named = heading(line)
    line = line if named is None else named[1]
    letters = "".join("l" if c.isalnum() and not c.isdecimal() else " " for c in line)
    some = any(c.isalnum() for c in line)
    return drawn(line) or any(c.isdecimal() for c in line) or (some and "ll" not in letters)


def structure_of(lines: list[str], size: int) -> str | None:
    """Key of a structure of which every line must be a heading, a row, blank, or a remark."""
    layers: dict[int, list[str]] = {}
    rows: list[str] = []
    for line in lines:
        named = heading(line)
        if named is not None:
            if layers and len(rows) < size:
                return None
            rows = layers[named[0]] = []
            line = checker.unframed(named[1])
            said = " ".join(line.removeprefix("(").removesuffix(")").lower().split(" "))
            while "  " in said:
                said = said.replace("  ", " ")
            if said in ("empty", "none", "null", "no blocks", "all zeros"):
                rows += ["0" * size] * size
                continue
            if line[:1] + line[-1:] == "()" and len(line) > 1 and not set(line) & set("0123456789"):
                continue
            if not line:
                continue
        elif len(rows) == size:
            low = "".join(c.lower() if c.isascii() else c for c in line)
            named = any(word in low for word in ("layer", "level", "structure"))
            if cells(line) or named or drawn(line):
                return None
            continue
        elif not any(c.isalnum() for c in line):
            continue
        words = checker.unframed(line).replace("(", " ").replace(")", " ").split()
        row = "".join(words)
        if len({len(word) for word in words}) != 1 or set(row) - {"0", "1"}:
            return None
        if len(row) == size:
            rows.append(row)
        elif len(row) == size**2 and not rows:
            rows += [row[i : i + size] for i in range(0, size**2, size)]
        else:
            return None
    if len(rows) < size or sorted(layers) != [*range(1, len(layers) + 1)] or len(layers) > 3:
        return None
    whole = ["".join(layers[number]) for number in sorted(layers)]
    while whole and "1" not in whole[-1]:
        whole.pop()
    return "/".join(whole)


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


ONE = "1 0 0\n0 0 0\n0 0 0"
OTHER = "0 1 0\n0 0 0\n0 0 0"
KEY = "100000000"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"Layer 1\n{ONE}", KEY),
        (f"Layer 1 (bottom)\n{ONE}", KEY),
        (f"Layer 1: (bottom layer)\n{ONE}", KEY),
        (f"Layer 1: {ONE}", KEY),
        ("Layer 1: 1 0 0 0 0 0 0 0 0", KEY),
        ("Layer 1: 100 000 000\nLayer 2: empty", KEY),
        (f"Layer 2:\n{ONE}\nLayer 1:\n{ONE}", f"{KEY}/{KEY}"),
        (f"Layer 2\n{ONE}\nLayer 3\n{ONE}\nLayer 1\n{ONE}", f"{KEY}/{KEY}/{KEY}"),
        (f"Layer 2:\n{OTHER}\nLayer 1:\n{ONE}", f"{KEY}/010000000"),
        (f"\\boxed{{Layer 1:\n{ONE}}}", KEY),
        ('{"Layer 1": [[1, 0, 0], [0, 0, 0], [0, 0, 0]]}', KEY),
        ('{"Layer 1": ["1 0 0", "0 0 0", "0 0 0"], "Layer 2": ["100", "000", "000"]}',
         f"{KEY}/{KEY}"),
        ('{"structure": {"layer_1": "100000000"}}', KEY),
        (f"Layer 1: the bottom.\nLayer 2: above it.\n\nLayer 1:\n{ONE}", KEY),
        (f"Layer 1:\n{ONE}\n---\n- Layer 1: holds the block.\n- Layer 2: is not needed.", KEY),
        (f"Layer 1:\n{ONE}\nEND_STRUCTURE\nThe cells are (0, 0), (0, 1), (0, 2).", KEY),
        (f"Layer 1 (z=0):\n{ONE}", KEY),
        (f"Layer 1 of 3:\n{ONE}", KEY),
        (f"Layer 1 of 3 (z = 0)\n{ONE}\nLayer 2: no blocks", KEY),
        (f"Layer 1:\n{ONE}\nLayer 2: (all zeros)", KEY),
        ('{"layer1": ["100", "000", "000"], "layer2": null, "layer3": []}', KEY),
        # What END_STRUCTURE follows, but not what follows it.
        (f"Layer 1:\n{ONE}\nEND_STRUCTURE\n\nExplanation:\n- Layer 1: one block at 1 0 0", KEY),
        (f"Layer 1:\n{ONE}\nEND_STRUCTURE\nThe structure has 1 level:\n1 0 0\n\u25a0", KEY),
        (f"Layer 1:\n{ONE}\nEND_STRUCTURE\nBEGIN_STRUCTURE\nLayer 1:\n{OTHER}", "010000000"),
        # Before it, nothing is passed over that may be a layer.
        (f"Layer 1:\n{ONE}\nUpper structure:\n{OTHER}", None),
        (f"Layer 1:\n{ONE}\nThe rest of the structure:\nLayer two\n{OTHER}", None),
        (f"Layer 1:\n{ONE}\nStructure:\nLayer 2:\n{OTHER}", None),
        (f"Layer 1:\n{ONE}\nLayer 2 (z=1): block at (3,3)", None),
        (f"Layer 1:\n{ONE}\nLayers 2: block at (3,3)", None),
        (f"Layer 1:\n{ONE}\nLevel 2: block at (3,3)", None),
        (f"Layer 1:\n{ONE}\nLayer 2 - block at (3,3)", None),
        (f"Layer 1:\n{ONE}\nSecond layer: blocks at (2,2) and (3,3)", None),
        (f"Layer 1:\n{ONE}\n\u25a1 \u25a0 \u25a1\n\u25a1 \u25a1 \u25a1", None),
        (f"Layer 1:\n{ONE}\n\nLayer 1: the base.\nLayer 2: block at (3,3)", None),
        (f"Layer 1:\n{ONE}\n\nLayer 1:\n\u25a1 \u25a0 \u25a1", None),
        ('{"Layer 1": [[1, 0, 0], [0, 0, 0], [0, 0, 0]], "structure": [[0, 1, 0]]}', None),
        # A row that is broken is not passed over, wherever it stands.
        (f"Layer 1:\n{ONE}\nL\u1d250 0 1", None),
        ("Layer 1:\n1 0 0\n0\u201d0 0\n0 0 0", None),
        (f"Layer 1:\n{ONE}\n0\u201d0 0", None),
        (f"Layer 1:\n{ONE}\nThe second one: 0 1 0", None),
        (f"Layer 1:\n{ONE}\nLayer 2: full", None),
        (f"Layer 1:\n{ONE}\nLayer 2:\n{ONE}\nLayer 2:\n{OTHER}", None),
        (f"Layer 1:\n{ONE}\nEND_STRUCTURE\nLayer 2:\n{OTHER}\nEND_STRUCTURE", None),
        (f"Layer 1:\n{ONE}\n\nLayer 1:\n{ONE}\nLayer 2:\n0 1", None),
        (f"Layer 0:\n{ONE}\nLayer 1:\n{ONE}", None),
    ],
)  # fmt: skip
def test_forms_of_an_answer(text, key):
    lines = ("1 0 0", "0 0 0", "0 0 0")
    assert judge(Voxel(), lines, text).key == key
    assert TestVoxel().stated(text, lines) == key


def test_rows_with_names_are_not_passed_over():
    text = "Layer 1:\n1 0\n0 0\n"
    assert judge(Voxel(), ("1 0", "0 0"), text).valid
    text += "Second layer\nfirst row: 0 0\nsecond row: 0 1"
    assert judge(Voxel(), ("1 0", "0 0"), text).key is None
    assert TestVoxel().stated(text, ("1 0", "0 0")) is None


def written(layers: list[str]) -> list[str]:
    """Answers with these layers, bottom up, in any order and form."""
    grids = [[" ".join(layer[i : i + 3]) for i in (0, 3, 6)] for layer in layers]
    named = [*enumerate(grids, 1)]
    texts = [json.dumps({f"Layer {n}": rows for n, rows in named})]
    for order in permutations(named):
        for form in ("Layer {}:\n", "### Layer {}\n", "Layer {} (of blocks)\n\n", "- Layer {}: "):
            blocks_ = [form.format(n) + "\n".join(rows) for n, rows in order]
            texts += ["\n".join(blocks_), "\nIt rests.\n".join(blocks_)]
    return texts


def test_no_floating_block_is_valid_in_whatever_order_and_form():
    """And every structure that stands is: 40 of each kind."""
    rng = random.Random(0)
    for key in rng.sample(sorted(brute_force()), 40):
        layers = key.split("/")
        view = tuple(" ".join(layers[0][i : i + 3]) for i in (0, 3, 6))
        for text in written(layers):
            assert (judge(Voxel(), view, text).key, judge(Voxel(), view, text).valid) == (key, True)
        empty = [i for i, cell in enumerate(layers[0]) if cell == "0"]
        floats = [*layers[1:2], "000000000"][0]
        at = rng.choice(empty)
        floating = [layers[0], floats[:at] + "1" + floats[at + 1 :], *layers[2:]]
        whole = "".join(max(cells) for cells in zip(*floating, strict=True))
        for seen in (view, (whole,)):
            for text in written(floating):
                assert judge(Voxel(), seen, text).verdict is Verdict.OUTSIDE
        apart = "".join(f"BEGIN_STRUCTURE\n{text}\nEND_STRUCTURE\n" for text in (
            f"Layer 1: {layers[0]}", f"Layer 2: {floating[1]}"))  # fmt: skip
        assert not judge(Voxel(), view, apart).valid


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
