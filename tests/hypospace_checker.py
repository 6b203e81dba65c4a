"""What a response states, by the rule in docs/hypospace.md, without the code of the judge.

Characters and lines instead of regular expressions.  Slow, and meant to be read beside the rule.
"""

from __future__ import annotations

import json
import string
from typing import NamedTuple

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
BEFORE_A_LINE, AFTER_A_LINE = " _#>", " _.,;:!?"
OBJECTS = PARTS = 16


def without_noise(response: str) -> str:
    """Objects in JSON, white space, control tokens, code fences, marks: in this order."""
    text = without_json(response).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(" " if c.isspace() and c != "\n" else c for c in text)
    text = without_tokens(text)
    text = "\n".join(map(without_fence, text.split("\n")))
    return "".join("'" if c in "\u2018\u2019" else c for c in text if c not in '*`"$\u201c\u201d')


def without_json(text: str) -> str:
    """An object as lines `key: value`."""
    done, at = "", -1
    for _ in range(OBJECTS):
        at = text.find("{")
        while at >= 0 and not text[at + 1 :].lstrip().startswith('"'):
            at = text.find("{", at + 1)
        ends = [i for i in range(at, len(text)) if text[i] == "}"] if at >= 0 else []
        for end in ends:
            try:
                pairs = json.loads(
                    text[at : end + 1], object_pairs_hook=lambda found: ("object", found),
                    parse_int=str, parse_float=str, parse_constant=str, strict=False,
                )  # fmt: skip
            except ValueError:
                continue
            done, text = done + text[:at] + in_words(pairs) + "\n", text[end + 1 :]
            break
        else:
            break
    return done + text


def in_words(value) -> str:
    match value:
        case ("object", pairs):
            return "".join("\n" + key + ": " + in_words(one) for key, one in pairs)
        case []:
            return "empty"
        case list() if any(isinstance(one, list | tuple) for one in value):
            return "".join("\n" + in_words(one) for one in value)
        case list():
            return ", ".join(in_words(one) for one in value)
        case str():
            return value
        case _:
            return json.dumps(value)


def without_tokens(text: str) -> str:
    names = ["end_of_turn", "start_of_turn", "eos", "bos", "pad", "s", "/s", "answer", "/answer"]
    plain = [f"<{name}>" for name in names]
    done, at = "", 0
    while at < len(text):
        found = (one for one in plain if text.startswith(one, at))
        token = next(found, "") if text[at] == "<" else ""
        if not token and text.startswith("<|", at):
            name, bar, _ = text[at + 2 :].partition("|>")
            if bar and 0 < len(name) <= 40 and not name.strip(LETTERS_AND_DIGITS + "_"):
                token = f"<|{name}|>"
        done += "\n" if token else text[at]
        at += len(token) or 1
    return done


def without_fence(line: str) -> str:
    """A line up to its last run of backticks, if that is long and only a name follows."""
    before = line.rstrip(" ").rstrip(LETTERS_AND_DIGITS)
    return before.rstrip("`") if before.endswith("```") else line


class Part(NamedTuple):
    text: str
    before: str
    """What stands before the part, or before the label of a box."""
    after: str
    lead: str | None
    """What stands between the label of a box and the box."""
    box: bool


def beginnings(text: str, word: str) -> list[tuple[int, int, bool]]:
    """Start and end of labels and of what opens boxes."""
    low = "".join(c.lower() if c.isascii() else c for c in text)
    spans, at = [], 0
    while at < len(text):
        opens, end = "", at
        if low.startswith(word, at) and not in_name(low[:at]):
            end = at + len(word)
            while text[end : end + 1] in (" ", "_", "'"):
                end += 1
            opens = ":="
        elif low.startswith("\\boxed", at):
            end = at + len("\\boxed")
            while text[end : end + 1] == " ":
                end += 1
            opens = "{"
        if opens and end < len(text) and text[end] in opens:
            box, end = opens == "{", end + 1
            if not box and text[end:].lstrip(" ").startswith("}"):
                end = text.index("}", end) + 1
            spans.append((at, end, box))
            at = end - 1
        at += 1
    return spans


def in_name(before: str) -> bool:
    """Does a word that follows belong to a name such as wrong_graph?"""
    name = before[:-1] if before.endswith(("_", "-")) else before
    name = before[:-2] if before.endswith("__") else name
    return name != "" and name[-1] in LETTERS_AND_DIGITS


def parts(text: str, word: str) -> list[Part]:
    """What the last labels and boxes begin; the text itself, if it is one line without any."""
    spans = beginnings(text, word)
    if not spans:
        alone = text.strip()
        return [] if "\n" in alone else [Part(alone, "", "", None, False)]
    found = []
    for i, (start, end, box) in enumerate(spans):
        following = [s for s, _, other in spans[i + 1 :] if box or not other]
        stop = following[0] if following else len(text)
        if not box:
            found.append(Part(text[end:stop], text[:start], "", None, False))
            continue
        close = closing_brace(text, end)
        labels = [(s, e) for s, e, other in spans[:i] if not other]
        before, lead = text[:start], None
        if labels:
            between = text[labels[-1][1] : start]
            if "\n" not in between or not between.strip(BEFORE_A_LINE + "\n"):
                before, lead = text[: labels[-1][0]], between
        found.append(Part(text[end:close], before, text[close + 1 : stop], lead, True))
    return found[-PARTS:]


def closing_brace(text: str, box: int) -> int:
    open_ = 1
    for i in range(box, min(len(text), box + 4096)):
        open_ += (text[i] == "{") - (text[i] == "}")
        if open_ == 0:
            return i
    return box


SIGNS = "~&|^\u00ac\u2227\u2228\u2295"
BINARY_WORDS = ("and", "or", "nor", "xor", "nand", "xnor")
BINARY_COMMANDS = (r"\land", r"\wedge", r"\lor", r"\vee", r"\oplus")
BRACKETS = "([{\\"


def torn(part: Part, joins) -> bool:
    """Does what stands around a part belong to it, or negate it?"""
    beside, own = part.after.split("\n")[0], part.before.split("\n")[-1]
    if part.lead is not None:
        lead = part.lead.lstrip(BEFORE_A_LINE + BRACKETS + "\n")
        if lead[:1] in [*"fghFGH"]:
            name, equals, rest = lead[1:].partition("=")
            if name[:1] == "(" and ")" in name:
                arguments, _, name = name[1:].partition(")")
                equals = "" if "(" in arguments or "\n" in arguments else equals
            lead = rest if equals and name.lstrip(" ") in ("", ":") else lead
        if lead.strip(" " + BRACKETS) or beside.strip(AFTER_A_LINE + ")}]\\"):
            return True
    elif part.box and (joins(beside) or joins(own)):
        return True
    if own.rstrip(BRACKETS).endswith("!"):
        return True
    if own := own.rstrip(BEFORE_A_LINE + BRACKETS + ":"):
        return ends_in_operator(own)
    line = part.before.rstrip(BEFORE_A_LINE + BRACKETS + ":\n").split("\n")[-1].split(":")[-1]
    some = False
    while ends_in_operator(line.rstrip(" ([{")):
        some, line = True, without_operator(line.rstrip(" ([{"))
    line = line.replace("\\(", "").replace("\\[", "")
    return some and not line.strip("- _#>\u2022([{")


def without_operator(text: str) -> str:
    """Text without the operator that it ends in."""
    if text[-1:] and text[-1] in SIGNS:
        return text[:-1]
    low = "".join(c.lower() if c.isascii() else c for c in text)
    for command in (*BINARY_COMMANDS, r"\neg", r"\lnot"):
        if low.endswith(command):
            return text[: -len(command)]
    for word in (*BINARY_WORDS, "not"):
        before = low.removesuffix(word)
        if before != low and before[-1:] not in [*LETTERS_AND_DIGITS, "_"]:
            return text[: len(before)]
    return text


def ends_in_operator(text: str) -> bool:
    return without_operator(text) != text


def lines_of(part: str) -> list[str]:
    """Lines from the first that is not blank."""
    lines = part.split("\n")
    while lines and not lines[0].strip(BEFORE_A_LINE + AFTER_A_LINE):
        del lines[0]
    return lines


def unframed(line: str) -> str:
    """Without punctuation at its end, and a quotation, a heading or a mark of a list before it."""
    line = line.rstrip(AFTER_A_LINE).lstrip(BEFORE_A_LINE)
    mark, space, rest = line.partition(" ")
    number = mark[:-1]
    numbered = mark[-1:] in (".", ")") and 0 < len(number) <= 4 and not number.strip(string.digits)
    return rest.lstrip(" _") if space and (mark in ("-", "\u2022") or numbered) else line


def spaced(text: str, commands: list[str]) -> str:
    """With each LaTeX command as a space; the name of one ends where no letter follows."""
    done, at = "", 0
    while at < len(text):
        for command in commands if text[at] == "\\" else ():
            end = at + len(command)
            more = command[-1].isalpha() and text[end : end + 1] in [*string.ascii_letters]
            if text.startswith(command, at) and not more:
                done, at = done + " ", end
                break
        else:
            done, at = done + text[at], at + 1
    return done


SPACING = [r"\,", r"\;", r"\:", r"\!", "\\ ", r"\left", r"\right", r"\quad", r"\qquad"]
TYPES = [r"\text", r"\textbf", r"\textit", r"\texttt", r"\operatorname"]
TYPES += [r"\mathrm", r"\mathbf", r"\mathit", r"\mathsf", r"\mathtt"]
LATEX = [*SPACING, *TYPES, r"\(", r"\)", r"\[", r"\]", r"\{", r"\}"]
