"""What is noise around an answer?  docs/hypospace.md, "What is read as an answer", has the rule.

Every function takes linear time in any text, because the text is a model's.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_PARTS = 16
"""Beginnings of an answer that are looked at, from the end of a response."""

_MOST_OBJECTS = 16
_LONGEST_BOX = 4096  # characters within which its closing brace is looked for

_CONTROL = re.compile(
    r"<(?:end_of_turn|start_of_turn|eos|bos|pad|s|/s)>|<\|[a-zA-Z0-9_]{1,40}\|>", re.ASCII
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
_LATEX = re.compile(rf"{_SPACING}|\\[()[\]{{}}]|{WRAPPERS}|\\boxed(?![a-zA-Z])")


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
    r"""The word and a colon, or \boxed{, either of which begins an answer."""
    return re.compile(
        rf"(?<![a-z0-9]){word}[ _']*+:(?: *+\}})?+|\\boxed *+\{{", re.ASCII | re.IGNORECASE
    )


def labelled(text: str, begins: re.Pattern[str]) -> list[str]:
    """What follows each of the last labels, or else the text itself if it is a single line."""
    starts = [(match.end(), match.start()) for match in begins.finditer(text)]
    if not starts:
        alone = text.strip()
        return [alone] if "\n" not in alone else []
    ends = [*(start for _, start in starts[1:]), len(text)]
    parts = [(text[at - 1], text[at:end]) for (at, _), end in zip(starts, ends, strict=True)]
    return [_boxed(part) if opening == "{" else part for opening, part in parts[-MOST_PARTS:]]


def from_first_line(part: str) -> str:
    """The part without the blank lines that it begins with."""
    return _BLANK.sub("", part, count=1)


def bare(line: str) -> str:
    """A line without what frames it: quotation, heading, mark of a list, punctuation at its end."""
    line = line.rstrip(END).lstrip(" _#>")
    if item := _ITEM.match(line):
        line = line[item.end() :].lstrip(" _")
    return line


def _boxed(part: str) -> str:
    """Up to the brace that closes the box."""
    depth = 1
    for brace in _BRACE.finditer(part, 0, _LONGEST_BOX):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return part[: brace.start()]
    return part


class _Object(tuple[tuple[str, Any], ...]):
    """Keys and values of an object in JSON, repeated ones too."""


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
        nested = any(isinstance(one, list | _Object) for one in value)
        shown = [_shown(one) for one in value]
        return "".join([f"\n{one}" for one in shown]) if nested else ", ".join(shown)
    return value if isinstance(value, str) else {None: "null", True: "true", False: "false"}[value]
