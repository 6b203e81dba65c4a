"""What is noise, where an answer begins and what changes it, as the checker reads the same rule."""

import random
import re

import hypospace_checker as checker

from ipsrl.hypospace.reading import (
    Part,
    bare,
    from_first_line,
    label,
    labelled,
    plain,
    torn,
    without_latex,
    without_spacing,
)

PIECES = [
    "Graph:", "graph = ", "wrong_graph: ", "GRAPH' :", "Graph: }", "A->B", "->", "x AND y", "and",
    "NOT ", "nor", "xnor", "~", "!", "&", "|", "\u2227", "\\land", "\\neg", "\\LOR", " ", "\t",
    "\n", "\r\n", "\r", "\u00a0", "\u2028", "\x00", "\ud800", "_", "-", "- ", "1. ", "12345) ",
    "\u2022 ", "#", "> ", ".", ":", ";", ",", "=", "(", ")", "[", "]", "{", "}", "\\(", "\\)",
    "\\[", "\\]", "\\{", "\\boxed{", "\\boxed {", "\\text{", "\\mathrm{", "\\textit", "\\left",
    "\\lefty", "\\quad", "\\qquad", "\\,", "\\ ", "f(x) = ", "g := ", "h(", "F =", "`", "```",
    "```json\n", "```\n", "*", "**", '"', "$", "'", "\u201c", "\u2018", "<eos>", "</s>", "<s>",
    "<answer>", "</answer>", "<pad", "<|im_end|>", "<|", "|>", '{"graph": "A->B"}',
    '{"a": 1, "b": [1, 2]}', '{"a": [[1], {"b": null}]}', '{"a": []}', '{"a": true', '{"', '"}',
]  # fmt: skip
GRAPH, ARROW = label("graph"), re.compile("->")


def texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 14))) for _ in range(count)]


# --- the rule, read twice -------------------------------------------------------------------------


def test_the_same_is_noise():
    """But for the end of the last line, which means nothing."""
    for text in texts(20_000):
        assert plain(text).rstrip("\n") == checker.without_noise(text).rstrip("\n"), repr(text)


def test_answers_begin_at_the_same_places_and_the_same_changes_them():
    broken = {True: 0, False: 0}
    for text in map(plain, texts(20_000)):
        ours, theirs = labelled(text, GRAPH), checker.parts(text, "graph")
        assert [
            (part.text, part.before, part.after, part.lead, part.begun_by == "box") for part in ours
        ] == theirs, repr(text)
        for part, other in zip(ours, theirs, strict=True):
            is_torn = torn(part, ARROW)
            assert is_torn == checker.torn(other, lambda beside: "->" in beside), repr(text)
            broken[is_torn] += 1
    assert min(broken.values()) > 1000  # or the law would say little


def test_the_same_frames_a_line_and_is_a_space():
    for text in map(plain, texts(20_000)):
        assert list(map(bare, text.split("\n"))) == list(map(checker.unframed, text.split("\n")))
        assert without_spacing(text) == checker.spaced(text, checker.SPACING), repr(text)
        assert without_latex(text) == checker.spaced(text, checker.LATEX), repr(text)
        lines = checker.lines_of(f"{text}\n")
        assert from_first_line(f"{text}\n") == "\n".join(lines), repr(text)


# --- by hand --------------------------------------------------------------------------------------


def test_noise_by_hand():
    """An object in JSON and its fence, a no-break space, bold type, curly quotes, a token."""
    text = (
        'Sure.\r\n```json\n{"a": [1, "x"], "b": [], "c": null}\n```\n'
        "**Graph**:\u00a0\u201cA->B\u201d<eos>!"
    )
    # The object begins with a line end and ends with one; each fence and the token become one.
    assert plain(text) == "Sure.\n\n\na: 1, x\nb: empty\nc: null\n\n\nGraph: A->B\n!"


def test_beginnings_by_hand():
    text = "graph: A\nGRAPH: \\boxed{B}, \\boxed{C{D}}."
    first, second = "graph: A\n", " \\boxed{B}, \\boxed{C{D}}."
    assert labelled(text, GRAPH) == [
        Part(" A\n", "", begun_by="label"),
        Part(second, first, begun_by="label"),
        Part("B", first, ", ", " ", "box"),
        Part("C{D}", first, ".", " \\boxed{B}, ", "box"),
    ]
    assert labelled(" A \n", GRAPH) == [Part("A")]  # a line alone
    assert labelled("A\nB", GRAPH) == []


def test_limits_by_hand():
    """A box has 4,096 characters with the brace that closes it, and the name of a token 40."""
    for most, found in ((4095, "a" * 4095), (4096, "")):
        assert labelled("\\boxed{" + "a" * most + "}", GRAPH)[0].text == found
    assert plain(f"<|{'a' * 40}|>") == "\n"
    assert plain(f"<|{'a' * 41}|>") == f"<|{'a' * 41}|>"
    # Sixteen objects are opened, and the next is text without its marks.
    assert plain('{"a": 1} ' * 17) == "\na: 1\n " * 16 + "{a: 1} "
