"""Outcomes that are read without a library: number, choice, JSON value, set, text."""

from __future__ import annotations

import json
import re
import unicodedata
from fractions import Fraction
from itertools import takewhile
from typing import Any

from ipsrl.llm.outcomes.answer import bare, code_blocks, final_answer, spoken

_LONGEST = 300  # characters of an answer that is a number or a letter
_ATTEMPTS = 200  # places at which a JSON value may begin

_POWERS = {
    "hundredth": -2, "hundred": 2, "thousandth": -3, "thousand": 3, "millionth": -6, "million": 6,
    "billion": 9, "trillion": 12, "tenth": -1, "lakh": 5, "crore": 7,
    "k": 3, "K": 3, "M": 6, "mn": 6, "B": 9, "bn": 9,
}  # fmt: skip
_SCALE = "|".join(name for name in _POWERS if len(name) > 2)
_REWRITTEN = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,!;: ]|\\\$|\\left|\\right"), ""),
    (re.compile("[\u2212\u2013]"), "-"),  # minus and dash
    (re.compile("[\u00a0\u202f\u2009]"), " "),
    (re.compile(r"\\[dtc]?frac\s*\{?(-?\d+)\}?\s*\{?(\d+)\}?"), r" \1/\2"),
    (re.compile(r"\s*(?:\\times|\\cdot|\u00d7|·|\*|x)\s*10\s*\^\s*\{?([-+]?\d{1,3})\}?"), r"e\1"),
    (re.compile(r"(?<![\d.])10\s*\^\s*\{?([-+]?\d{1,3})\}?"), r"1e\1"),
    (re.compile(r"(?<=\d)\s*/\s*(?=\d)|(?<=\d) out of (?=\d)|(?<=\b1) in (?=\d)"), "/"),
    (re.compile(rf"\s*\\(?:text|mathrm|mbox)\s*\{{\s*((?:{_SCALE})s?)\s*\}}"), r" \1"),
    (re.compile(r"\b(?:minus|negative) (?=[$€£¥]?[\d.])", re.IGNORECASE), "-"),
    (
        re.compile(
            r"(?<![\w.,-])([$€£¥]?\d[\d.,/]*[^\d\n]{0,25}?) below (?:zero|0|freezing|sea level)\b"
        ),
        r"-\1",
    ),
)
_DIGITS = r"(?:\d{1,3}(?:[, ']\d{3})+(?![\d])(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
_NUMBER = re.compile(
    r"(?<![\w.,:^])(?<!\^\{)(?P<sign>(?:(?<![\d)])[-+])?)\s?(?P<currency>[$€£¥])?\s?"
    rf"(?:(?P<whole>\d+)\s+(?=\d+/\d))?(?P<digits>{_DIGITS})(?:[eE](?P<power>[-+]?\d{{1,3}})(?!\d))?"
    r"(?:/(?P<below>\d+))?(?!\d|[.,:]\d|\s*\^)"
    rf"(?P<scale>(?:[ -]?(?i:{_SCALE})s?\b)*)(?: ?(?P<letter>[kKMB]|mn|bn)(?!\w))?"
)
_JOINED = re.compile(  # to another number: 3 to 5, 5 - 3, 2 h 30 min, a date; or 10 pm, 4π, √2
    r"\d ?(?:,(?= )|\*\*|[-+*x\u00d7±·]|\+/-|\\(?:pm|times|cdot)|(?:to|and|or)\b|/\d+/"
    r"|(?:h|hrs?|hours?|min(?:ute)?s?|days?|weeks?|months?|years?|feet|foot|ft|pounds?|dollars?)\b"
    r",?(?: and)?) ?[-+]?[$€£¥]?(?=\.?\d)|\d ?(?:(?:[APap]\.?[Mm]|BCE?|\\?pi)\b|π|√|\\?sqrt)"
    r"|(?:√|sqrt) ?[({]?(?=\d)|\d[\u00b2\u00b3\u00b9\u00bc-\u00be\u2150-\u215e]"  # 5², 5½
)
_DENIED_NUMBER = re.compile(
    r"(?:\bnot|n['\u2019]t|\bthan|\bleast|\bmost|\bunder|\bover|\bup to)(?: be| equal to)? *$",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"\s*(?:\\?%|°|\^?\\circ|\^\{\\circ\}|[$€£¥]"
    r"|\\(?:text|mathrm|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?"
    r"|(?<=\s)(?:k?m|cm|mi|ft|k?g|mg|l)/(?:s|h|hr|min|sec|kg|l|m|cm)(?:\^?[\d²])?"
    r"|(?<=\s)(?!(?:pi|sqrt|sin|cos|tan|log|ln|exp|and|or|mod|[AaPp][Mm])\b)"
    r"[A-Za-z]{2,}(?:[A-Za-z /²³.-]|(?<=[A-Za-z])\^?[23](?!\d))*)?\s*"
)
_AROUND = " .,;:!?*_`\"'\u00ab\u00bb\u201c\u201d\u2018\u2019"
_DECIMAL_COMMA = re.compile(r"\d+,(?!\d{3}$)\d+")
_LETTER = r"\(?\[?(?P<letter>[A-Ja-j])[)\]]?"
_HEAD = re.compile(  # B. Paris, but not (A) is wrong
    rf"(?:(?:option|choice|answer)\s*:?\s*)?{_LETTER}(?:[.:)\]]|\s*[\u2013—]|\s+-|$)"
    r"(?!\W*(?-i:is|isn|are|was|and|or|nor|but|can|could|may|maybe|might|seems)\b)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_HEADS = re.compile(r"(?:^|[\s(\[,])([A-J])(?=[.:)\]])")
_ALONE = re.compile(  # not the article A and not the pronoun I
    r"(?<![\w'\u2019.-])(?:[B-HJ]|[AI](?! (?!(?:is|are|was|and|or|nor|but|can|may)\b)[a-z]))"
    r"(?![\w'\u2019-])"
)
_SMALL = re.compile(r"(?<=[(\[])[a-j](?=[)\]])|(?:\bis|\boption|\bchoice|:) [a-j]$")
_CALLED = re.compile(
    r"\b(?:option|choice|answer)(?: is)?:? ?[(\[]?[A-J]\b|[(\[][A-J][)\]]"
    r"|^[A-J](?:,| \(| is\b)|(?:^|[\s*(])[A-J][)*]*$",
    re.IGNORECASE,
)
_REASON = re.compile(r"(?<=[\w)\]])[,;]?\s+(?:because|since|as(?! well))\b")
_DENIED = re.compile(
    r"\b(?:not|none|neither|nor|never|cannot|except|than|but|without|instead|wrong|incorrect|false"
    r"|eliminate\w*|exclude\w*|reject\w*|rul\w+ out)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_SAID = re.compile(  # The colours are ..., but not Red and green are the colours
    r"^(?:(?!\b(?:and|or)\b)[^,;&])*?"
    r"(?::|\b(?:are|is|include)\b(?! (?:the|an?|in|all|both|also|not|correct|right|my|our)\b))"
)
_OPENING = re.compile(r"^[A-Z][\w' ]{0,20}!\s+")
_ITEM = re.compile(r"(?:[^,;.:!?]|(?<=\d)[.,](?=\d))+[,;.]?\s*")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+(.*)$")


def rational(text: str) -> Fraction | None:
    """The number that the whole text is, with a currency or a unit; None for other texts."""
    if len(text) > _LONGEST:
        return None
    text = _rewritten(text)
    match = _NUMBER.match(text)
    if match is None or _DECIMAL_COMMA.fullmatch(match["digits"]):  # 1,2 may be two numbers
        return None
    if match["letter"] and not match["currency"]:  # 5k may be five times k
        return None
    return _value(match) if _UNIT.fullmatch(text, match.end()) else None


def number(text: str) -> str | None:
    r"""The number that the final answer gives.

    Equal: numbers of one value, however they are written: 1,000 = 1000.0 = 1e3 = $1000 = 1000 km,
    3/4 = .75 = \frac{3}{4} = 3 out of 4, 50% = 50, $1.5M = 1.5 million, minus 5 = 5 below zero.
    A decimal has exactly its written value: .33 is not 1/3.
    None: where the answer has no number.  After `=` the one on the right; of several with words
    between them the first one of what is called the answer, and the last one of a last line.  Also
    if that is part of a sum, a range, a list, a date or a time (5 ± 1, 3 to 5, 2 or 3, 2024-05-01,
    2 h 30 min, 10 pm), one of several equations (x = 2 or x = 3), a bound or denied (at least 5).
    """
    answer = final_answer(text)
    if answer is None or len(answer.text) > _LONGEST:
        return None
    written = _rewritten(answer.text)
    between = r",|;|\band\b|\bor\b" if answer.named else r"\bor\b"
    if re.search(rf"\d *(?:{between})[^=]*=", written):  # x = 5 or x = 7
        return None
    written = written.rpartition("=")[2]
    found = list(_NUMBER.finditer(written))
    if not found:
        return None
    match = found[0 if answer.named else -1]
    start, end = match.span("digits")[0], match.end()
    joined = any(it.start() <= end and start <= it.end() for it in _JOINED.finditer(written))
    if joined or _DENIED_NUMBER.search(written[: match.start()]):
        return None
    value = _value(match)
    return None if value is None else str(value)


def choice(text: str) -> str | None:
    """The letter that the final answer chooses, A to J.

    Equal: B, b, (B), **B**, B. Paris, option B, B because A is wrong.
    None: without a letter; with several, or with a denial (not, wrong, except), before the reason.
    What follows `B.` or `(B)` is the words of that option, which may deny, but not name another.
    """
    answer = final_answer(text)
    if answer is None or len(answer.text) > _LONGEST:
        return None
    written = answer.text.replace("**", "")
    if match := _HEAD.match(written):
        letter = match["letter"].upper()
        return letter if set(_HEADS.findall(match["rest"])) <= {letter} else None
    written = _SMALL.sub(lambda match: match[0].upper(), _REASON.split(written, maxsplit=1)[0])
    letters = set(_ALONE.findall(written))
    called = _CALLED.search(written) or (answer.named and _ALONE.match(written))
    return letters.pop() if called and len(letters) == 1 and not _DENIED.search(written) else None


def json_value(text: str) -> str | None:
    """The JSON value of the last code block that is JSON, else of the answer or the text.

    A block that is marked as json goes before others.  Within a text a value on lines of its own
    goes before one in a sentence, then an object before a list, then the last one.
    Equal: values, whatever their spaces, the order of their keys, and 1 or 1.0; 1 is not "1", and
    [1, 2] is not [2, 1].
    None: where nothing is JSON.
    """
    text = spoken(text)
    blocks = sorted(code_blocks(text), key=lambda block: block[0].lower().startswith("json"))
    for _, block in reversed(blocks):
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
    their own without punctuation, in brackets or as a JSON list; an item is compared as
    `plain_text`, and as a number where it is one.  "Sure!" and "The colours are" are left out.
    None: without an item.
    """
    answer = final_answer(text)
    if answer is None:
        return None
    lines = [] if answer.named else re.sub(r"```\w*", "", spoken(text)).strip().splitlines()
    listed = _bullets([*lines]) or _lines(lines)
    if not listed:
        inside = re.sub(r"\\text\s*\{([^{}]*)\}|\\([{}])", r"\1\2", answer.text).strip()
        if (opened := "{[(".find(inside[0])) >= 0 and inside[-1] == "}])"[opened]:
            inside = inside[1:-1]
        elif not answer.named:
            inside = _SAID.sub("", _OPENING.sub("", inside))
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


def _lines(lines: list[str]) -> list[str]:
    """The last lines without punctuation in them, if they are two or more."""
    listed = list(takewhile(_ITEM.fullmatch, reversed(lines)))
    return listed if len(listed) > 1 else []


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
    scales = re.findall(_SCALE, match["scale"].lower())
    value *= Fraction(10) ** sum(_POWERS[name] for name in (*scales, match["letter"]) if name)
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
    """The best object or list within a text, of the outermost and of the first 200 places."""
    found, place = [], 0
    for _ in range(_ATTEMPTS):
        match = re.compile(r"[{\[]").search(text, place)
        if match is None:
            break
        try:
            value, place = _DECODER.raw_decode(text, match.start())
            beside = text[: match.start()].rpartition("\n")[2] + text[place:].partition("\n")[0]
            own = not beside.strip()
            found.append((own, isinstance(value, dict), len(found), _canonical(value)))
        except (ValueError, RecursionError):
            place = match.end()
    return max(found)[-1] if found else None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _float(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value


_DECODER = json.JSONDecoder(parse_float=_float)
