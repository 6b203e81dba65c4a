"""What a response states, by the rule in docs/hypospace.md, without the code of the judge.

Characters and lines instead of regular expressions.  Slow, and meant to be read beside the rule.
"""

from __future__ import annotations

import json
import string

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
        case list() if any(isinstance(one, list | tuple) for one in value):
            return "".join("\n" + in_words(one) for one in value)
        case list():
            return ", ".join(in_words(one) for one in value)
        case str():
            return value
        case _:
            return json.dumps(value)


def without_tokens(text: str) -> str:
    names = ["end_of_turn", "start_of_turn", "eos", "bos", "pad", "s", "/s"]
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


def parts(text: str, word: str) -> tuple[list[str], bool]:
    """What follows the last labels or boxes; and whether there is one."""
    low = "".join(c.lower() if c.isascii() else c for c in text)
    spans, at = [], 0
    while at < len(text):
        start, opens = at, ""
        if low.startswith(word, at) and not (at and low[at - 1] in LETTERS_AND_DIGITS):
            end = at + len(word)
            while text[end : end + 1] in (" ", "_", "'"):
                end += 1
            opens = ":"
        elif low.startswith("\\boxed", at):
            end = at + len("\\boxed")
            while text[end : end + 1] == " ":
                end += 1
            opens = "{"
        if opens and text[end : end + 1] == opens:
            box, end = opens == "{", end + 1
            if not box and text[end:].lstrip(" ").startswith("}"):
                end = text.index("}", end) + 1
            spans.append((start, end, box))
            at = end - 1
        at += 1
    if not spans:
        alone = text.strip()
        return ([] if "\n" in alone else [alone]), False
    found = []
    for i, (_, end, box) in enumerate(spans):
        part = text[end : spans[i + 1][0] if i + 1 < len(spans) else len(text)]
        found.append(in_box(part) if box else part)
    return found[-PARTS:], True


def in_box(part: str) -> str:
    open_ = 1
    for i, c in enumerate(part):
        open_ += (c == "{") - (c == "}")
        if open_ == 0:
            return part[:i]
    return part


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
LATEX = [*SPACING, *TYPES, r"\boxed", r"\(", r"\)", r"\[", r"\]", r"\{", r"\}"]
