"""Noise around an answer: docs/hypospace.md, "What is read as an answer", has the rule.

Every function takes linear time in any text, because the text is a model's.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

MOST_PARTS = 16
"""Beginnings of an answer that are looked at, from the end of a response."""

_MOST_OBJECTS = 16
_LONGEST_BOX = 4096  # characters within which its closing brace is looked for

_CONTROL = re.compile(
    r"<(?:end_of_turn|start_of_turn|eos|bos|pad|s|/s|/?answer)>|<\|[a-zA-Z0-9_]{1,40}\|>", re.ASCII
)
_FENCE = re.compile(r"(?<!`)`{3,}+[a-zA-Z0-9]*+ *+(?:\n|\Z)")
_MARKS = '*`"$'
_CURLY = {"\u201c": "", "\u201d": "", "\u2018": "'", "\u2019": "'"}
# Line ends are \n by then.
_SPACES = [c for c in map(chr, range(0x3001)) if c.isspace() and c not in "\n "]
_ASCII_SPACES = [c for c in _SPACES if c.isascii()]

_OBJECT = re.compile(r'\{\s*+"')
_BRACE = re.compile(r"[{}]")
_BLANK = re.compile(r"(?:[ _#>.,;:!?]*+\n)*+")
_ITEM = re.compile(r"(?:[-\u2022]|[0-9]{1,4}[.)]) ")  # of a list; * is a mark

END = " _.,;:!?"
"""What may end an answer."""
WRAPPERS = r"\\(?:text(?:bf|it|tt)?|math(?:rm|bf|it|sf|tt)|operatorname)(?![a-zA-Z])"
"""LaTeX commands that change the type of their argument only."""
_SPACING = r"\\(?:[,;:! ]|(?:left|right|q?quad)(?![a-zA-Z]))"
_ONLY_SPACING = re.compile(_SPACING)
_LATEX = re.compile(rf"{_SPACING}|\\[()[\]{{}}]|{WRAPPERS}")

_OPERATOR = (
    r"(?:(?<![a-z0-9_])(?:not|and|or|nor|xor|nand|xnor)|[~&|^\u00ac\u2227\u2228\u2295]"
    r"|\\(?:neg|lnot|land|wedge|lor|vee|oplus))"
)
_ENDS_IN_OPERATOR = re.compile(rf"{_OPERATOR}\Z", re.ASCII | re.IGNORECASE)
_OPERATORS_ONLY = re.compile(
    rf"(?:[- _#>\u2022(\[{{]|\\[(\[])*+(?:{_OPERATOR}[ (\[{{]*+)++", re.ASCII | re.IGNORECASE
)
_BEFORE = " _#>"
AROUND = _BEFORE + END + "\n"
"""What may stand around lines."""
_OPENS = "([{\\"
# Between a label and a box, and after the box.
_LEAD = re.compile(r"[ \n_#>({\[\\]*+(?:[fghFGH](?:\([^()\n]*+\))?+ *+:?=)?+[ ({\[\\]*+")
_TRAIL = re.compile(r"[ _.,;:!?)}\]\\]*+")


class Part(NamedTuple):
    """A part of a response that may be its answer, and the text around it."""

    text: str
    before: str = ""
    """The text before the part, or before the label of a box."""
    after: str = ""
    """The text after a box, up to the next beginning."""
    lead: str | None = None
    """The text between the label of a box and the box."""
    begun_by: Literal["", "label", "box"] = ""


def plain(response: str) -> str:
    """The response without marks: JSON as lines, no control tokens, fences, quotes, emphasis."""
    text = _opened(response).replace("\r\n", "\n").replace("\r", "\n")
    for space in _ASCII_SPACES if text.isascii() else _SPACES:
        text = text.replace(space, " ")
    if "<" in text:
        text = _CONTROL.sub("\n", text)
    if "```" in text:
        text = _FENCE.sub("\n", text)
    if not text.isascii():
        for curly, straight in _CURLY.items():
            text = text.replace(curly, straight)
    return replaced(text, _MARKS)


def replaced(text: str, characters: str, by: str = "") -> str:
    """The text with each of the characters replaced; faster than `translate` on any text."""
    for character in characters:
        text = text.replace(character, by)
    return text


def without_spacing(text: str) -> str:
    r"""The text with LaTeX's spaces and sizes, such as \, \quad and \left, as spaces."""
    return _ONLY_SPACING.sub(" ", text) if "\\" in text else text


def without_latex(text: str) -> str:
    r"""The same with frames and types, such as \( \) and \text, as spaces too."""
    return _LATEX.sub(" ", text) if "\\" in text else text


def label(word: str) -> re.Pattern[str]:
    r"""A pattern for the word and a colon, or for \boxed{; either begins an answer."""
    return re.compile(
        rf"(?<![a-z0-9])(?<![a-z0-9][-_])(?<![a-z0-9]__){word}[ _']*+[:=](?: *+\}})?+"
        r"|\\boxed *+\{",
        re.ASCII | re.IGNORECASE,
    )


def labelled(text: str, begins: re.Pattern[str]) -> list[Part]:
    """The parts that the last labels and boxes begin, or else the text if it is a single line.

    A label reaches to the next label, a box to its closing brace.
    """
    found: list[tuple[int, int, tuple[int, int] | None]] = []
    last = None
    for match in begins.finditer(text):
        span = match.span()
        if text[span[1] - 1] == "{":
            found.append((*span, last or (0, 0)))
        else:
            last = span
            found.append((*span, None))
    if not found:
        alone = text.strip()
        return [Part(alone)] if "\n" not in alone else []
    parts = []
    label_at = box_at = len(text)
    for start, end, label_ in reversed(found[-MOST_PARTS:]):
        if label_ is None:
            parts.append(Part(text[end:label_at], text[:start], begun_by="label"))
            label_at = box_at = start
            continue
        closed = _closed(text, end)
        inside, after = text[end:closed], text[closed + 1 : box_at]
        between = text[label_[1] : start]
        if label_[1] and ("\n" not in between or not between.strip(_BEFORE + "\n")):
            parts.append(Part(inside, text[: label_[0]], after, between, "box"))
        else:
            parts.append(Part(inside, text[:start], after, begun_by="box"))
        box_at = start
    return parts[::-1]


def torn(part: Part, joins: re.Pattern[str]) -> bool:
    """True if the text around a part changes its meaning.

    Args:
      part: of the response.
      joins: what joins the parts of an answer, such as an arrow.
    """
    own = part.before[part.before.rfind("\n") + 1 :]
    beside = part.after.partition("\n")[0]
    if part.lead is not None:
        if not _LEAD.fullmatch(part.lead) or not _TRAIL.fullmatch(beside):
            return True
    elif joins.search(beside) or (part.begun_by == "box" and joins.search(own)):
        return True
    return _negated(part.before, own)


def _negated(before: str, own: str) -> bool:
    """True if the text ends in an operator, or if the last line before it is operators alone."""
    if own.rstrip(_OPENS).endswith("!"):
        return True
    if own := own.rstrip(_BEFORE + _OPENS + ":"):
        return bool(_ENDS_IN_OPERATOR.search(own, max(0, len(own) - 24)))
    line = before.rstrip(_BEFORE + _OPENS + ":\n")
    line = line[line.rfind("\n") + 1 :].rpartition(":")[2]
    return bool(_OPERATORS_ONLY.fullmatch(line))


def from_first_line(part: str) -> str:
    """The part without its leading blank lines."""
    return _BLANK.sub("", part, count=1)


def bare(line: str) -> str:
    """A line without its frame: quotation, heading, mark of a list, punctuation at its end."""
    line = line.rstrip(END).lstrip(_BEFORE)
    if item := _ITEM.match(line):
        line = line[item.end() :].lstrip(" _")
    return line


def _closed(text: str, box: int) -> int:
    """The position of the brace that closes a box; the beginning of the box if there is none."""
    depth = 1
    for brace in _BRACE.finditer(text, box, box + _LONGEST_BOX):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.start()
    return box


class _Object(tuple[tuple[str, Any], ...]):
    """Keys and values of an object in JSON, including repeated keys."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str, strict=False
)


def _opened(text: str) -> str:
    """Objects in JSON as lines "key: value", up to the first that is broken."""
    pieces, end = [], 0
    for _ in range(_MOST_OBJECTS):
        found = _OBJECT.search(text, end)
        if found is None:
            break
        try:
            value, after = _DECODER.raw_decode(text, found.start())
            lines = _shown(value)
        except (ValueError, RecursionError):
            break
        pieces += [text[end : found.start()], lines, "\n"]
        end = after
    return "".join([*pieces, text[end:]])


def _shown(value: Any) -> str:
    if isinstance(value, _Object):
        return "".join([f"\n{key}: {_shown(one)}" for key, one in value])
    if isinstance(value, list):
        if not value:
            return "empty"
        nested = any(isinstance(one, list | _Object) for one in value)
        shown = [_shown(one) for one in value]
        return "".join([f"\n{one}" for one in shown]) if nested else ", ".join(shown)
    return value if isinstance(value, str) else {None: "null", True: "true", False: "false"}[value]
