"""Outcomes that are read without a library: number, choice, JSON value, set, text."""

from __future__ import annotations

import json
import re
import unicodedata
from fractions import Fraction
from typing import Any

from ipsrl.llm.outcomes.answer import bare, code_blocks, final_answer, spoken

_LONGEST = 300  # characters of an answer that is a number or a letter
_ATTEMPTS = 200  # places at which a JSON value may begin

_REWRITTEN = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,!;: ]|\\\$|\\left|\\right"), ""),
    (re.compile("[\u2212\u2013]"), "-"),  # minus and dash
    (re.compile("[\u00a0\u202f\u2009]"), " "),
    (re.compile(r"\\[dtc]?frac\s*\{?(-?\d+)\}?\s*\{?(\d+)\}?"), r" \1/\2"),
    (re.compile(r"\s*(?:\\times|\\cdot|\u00d7|·|\*|x)\s*10\s*\^\s*\{?([-+]?\d{1,3})\}?"), r"e\1"),
    (re.compile(r"(?<![\d.])10\s*\^\s*\{?([-+]?\d{1,3})\}?"), r"1e\1"),
    (re.compile(r"(?<=\d)\s*/\s*(?=\d)"), "/"),
)
_DIGITS = r"(?:\d{1,3}(?:[, ']\d{3})+(?![\d])(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_NUMBER = re.compile(
    r"(?<![\w.,:^])(?<!\^\{)(?P<sign>(?:(?<![\d)])[-+])?)\s?[$€£¥]?\s?"
    rf"(?:(?P<whole>\d+)\s+(?=\d+/\d))?(?P<digits>{_DIGITS})(?:[eE](?P<power>[-+]?\d{{1,3}})(?!\d))?"
    r"(?:/(?P<below>\d+))?(?!\d|[.,:]\d|\s*\^)"
)
_UNIT = re.compile(
    r"\s*(?:\\?%|°|\^?\\circ|\^\{\\circ\}|[$€£¥]"
    r"|\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?"
    r"|(?<=\s)(?:k?m|cm|mi|ft|k?g|mg|l)/(?:s|h|hr|min|sec|kg|l|m|cm)(?:\^?[\d²])?"
    r"|(?<=\s)(?!(?:pi|sqrt|sin|cos|tan|log|ln|exp|and|or|mod|[AaPp][Mm])\b)"
    r"[A-Za-z]{2,}[A-Za-z /^\d²³.-]*)?\s*"
)
_AROUND = " .,;:!?*_`\"'\u00ab\u00bb\u201c\u201d\u2018\u2019"
_DECIMAL_COMMA = re.compile(r"\d+,(?!\d{3}$)\d+")
_LETTER = r"\(?\[?(?P<letter>[A-Ja-j])[)\]]?"
_CHOSEN = re.compile(rf"(?:(?:option|choice|answer)\s*:?\s*)?{_LETTER}(?:[.:)]|,|\s*[-—]|$)", re.I)
_CALLED = re.compile(r"\b(?:option|choice)\s+\(?(?P<letter>[A-J])\b|\((?P<other>[A-J])\)")
_LAST = re.compile(r"(?:^|[\s*(])(?P<letter>[A-J])[)*]*$")
_ANOTHER = re.compile(r"^\W*[A-J]\W*(?:,|and|or|&|/)\W*[A-J]\b")
_SAID = re.compile(r".*?(?::|\b(?:are|is|include)\b)")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+(.*)$")


def rational(text: str) -> Fraction | None:
    """The number that the whole text is, with a currency or a unit; None for other texts."""
    if len(text) > _LONGEST:
        return None
    text = _rewritten(text)
    match = _NUMBER.match(text)
    if match is None or _DECIMAL_COMMA.fullmatch(match["digits"]):  # 1,2 may be two numbers
        return None
    return _value(match) if _UNIT.fullmatch(text, match.end()) else None


def number(text: str) -> str | None:
    r"""The number that the final answer gives.

    Equal: numbers of one value, however they are written: 1,000 = 1000.0 = 1e3 = $1000 = 1000 km,
    3/4 = .75 = \frac{3}{4}, 50% = 50.  A decimal has exactly its written value: .33 is not 1/3.
    None: where the answer has no number.  After `=` the one on the right; of several the first one
    of what is called the answer, and the last one of a last line.
    """
    answer = final_answer(text)
    if answer is None or len(answer.text) > _LONGEST:
        return None
    found = list(_NUMBER.finditer(_rewritten(answer.text).rpartition("=")[2]))
    value = _value(found[0 if answer.named else -1]) if found else None
    return None if value is None else str(value)


def choice(text: str) -> str | None:
    """The letter that the final answer chooses, A to J.

    Equal: B, b, (B), **B**, B. Paris, option B.
    None: without a letter, or with several of them.
    """
    answer = final_answer(text)
    if answer is None or len(answer.text) > _LONGEST or _ANOTHER.match(answer.text):
        return None
    written = answer.text.replace("**", "")
    if match := _CHOSEN.match(written):
        return match["letter"].upper()
    if answer.named and (match := re.match(r"([B-HJ]|[AI](?! [a-z]))\b", written)):
        return match[1]
    if found := {match["letter"] or match["other"] for match in _CALLED.finditer(written)}:
        return found.pop() if len(found) == 1 else None
    match = _LAST.search(written)
    return match["letter"] if match else None


def json_value(text: str) -> str | None:
    """The JSON value at the end of the text: in a code block, else in the answer or the text.

    Equal: values, whatever their spaces, the order of their keys, and 1 or 1.0; 1 is not "1", and
    [1, 2] is not [2, 1].
    None: where nothing is JSON.
    """
    text = spoken(text)
    for _, block in reversed(code_blocks(text)):
        if (key := _json(block)) is not None:
            return key
    answer = final_answer(text)
    for whole in (text, answer.text if answer else ""):
        if (key := _json(whole)) is not None:
            return key
    return _json_within(text)


def items(text: str) -> frozenset[str] | None:
    """The items that the final answer lists, in any order.

    Equal: the same items, as often as they come, between commas, semicolons, `and`, on lines of
    their own, in brackets or as a JSON list; an item is compared as `plain_text`, and as a number
    where it is one.
    None: without an item.
    """
    answer = final_answer(text)
    if answer is None:
        return None
    listed = [] if answer.named else _bullets(spoken(text).splitlines())
    if not listed:
        inside = re.sub(r"\\text\s*\{([^{}]*)\}|\\([{}])", r"\1\2", answer.text).strip()
        if (opened := "{[(".find(inside[0])) >= 0 and inside[-1] == "}])"[opened]:
            inside = inside[1:-1]
        elif not answer.named and (said := _SAID.match(inside)):
            inside = inside[said.end() :]
        between = next(mark for mark in (r"[;\n]", r",\s+", ",") if re.search(mark, inside + ","))
        parts = re.split(between, inside)
        listed = [each for part in parts for each in re.split(r"\b(?:and|or)\b|&", part)]
    found = {_item(each) for each in listed} - {""}
    return frozenset(found) or None


def _bullets(lines: list[str]) -> list[str]:
    """The last consecutive lines that are items of a list; blank lines do not separate them."""
    while lines and not _BULLET.match(lines[-1]):
        lines.pop()
    listed: list[str] = []
    while lines and (not lines[-1].strip() or _BULLET.match(lines[-1])):
        listed.append(lines.pop())
    return listed


def plain_text(text: str) -> str | None:
    """The words of the final answer.

    Equal: up to case, spaces, width and ligatures of characters (NFKC), and punctuation, quotes
    and markdown around it.
    None: where nothing is left.
    """
    answer = final_answer(text)
    return normalised(answer.text) or None if answer else None


def normalised(text: str) -> str:
    """The text in small letters, without surrounding bullets, brackets and punctuation."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = bare(re.sub(r"^(?:[-*+>#]+ )+", "", text)).strip(_AROUND)
    match = re.fullmatch(r"[(\[]([^()\[\]]*)[)\]]", text)
    return match[1].strip(_AROUND) if match else text


def _rewritten(text: str) -> str:
    for pattern, instead in _REWRITTEN:
        text = pattern.sub(instead, text)
    return text.strip()


def _value(match: re.Match[str]) -> Fraction | None:
    digits = match["digits"]
    if re.fullmatch(r"\d{1,3}(?:[, ']\d{3})+(?:\.\d+)?", digits):
        digits = re.sub(r"[, ']", "", digits)
    value = Fraction(digits.replace(",", ".")) * Fraction(10) ** int(match["power"] or 0)
    if match["below"] is not None:
        if int(match["below"]) == 0:
            return None
        value = int(match["whole"] or 0) + value / int(match["below"])
    return -value if match["sign"] == "-" else value


def _item(text: str) -> str:
    match = _BULLET.match(text)
    text = bare(match[1] if match else text)
    value = rational(text) if text[:1] in "0123456789.-+" else None
    return normalised(text) if value is None else str(value)


def _json(text: str) -> str | None:
    try:
        return _canonical(_DECODER.decode(text.strip()))
    except (ValueError, RecursionError):
        return None


def _json_within(text: str) -> str | None:
    """The last object or list within a text, of the outermost and of the first 200 places."""
    found, place = None, 0
    for _ in range(_ATTEMPTS):
        match = re.compile(r"[{\[]").search(text, place)
        if match is None:
            break
        try:
            value, place = _DECODER.raw_decode(text, match.start())
            found = _canonical(value)
        except (ValueError, RecursionError):
            place = match.end()
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _float(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value


_DECODER = json.JSONDecoder(parse_float=_float)
