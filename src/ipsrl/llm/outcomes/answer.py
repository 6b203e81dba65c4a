r"""The final answer of a text, in the forms that models write.

<think>...</think>                    skipped; a thought that does not end has no answer
\boxed{3/4}                           the last one, wherever it stands
Answer: 3/4, the answer is 3/4        the last one; also #### 3/4 and <answer>3/4</answer>
anything else                         its last line

Courtesies at the end, such as "I hope this helps!", are skipped if they have lines of their own.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_LONGEST = 100_000  # characters before the end of a text that are read
_COURTESIES = 4  # lines at the end of a text
_THOUGHTS = ("think", "thinking", "reasoning")
# Bounded repeats: no text takes longer than its length times 60.
_NAMED = re.compile(
    r"\banswer\b[^\n.:\uff1a=]{0,60}?(?:\bis\b|\bare\b|[:\uff1a=])|####|<answer>", re.IGNORECASE
)
_COURTESY = re.compile(
    r"\W*(?:(?:please |just )?let me know\b|(?:please )?feel free to\b|is there anything else\b"
    r"|(?:i )?hope (?:this|that|it) (?:helps|helped|is helpful|answers|clarifies|makes)\b"
    r"|(?:i'm |i am )?(?:happy|glad) to help\b|would you like (?:me to|to know|more|further|any)\b"
    r"|do you (?:have any|need any|need more|want me)\b"
    r"|if you (?:have|need|want|would like|'d like) (?:any|more|further|me|to know|help)\b)"
    r"[^\d:=\\<>]*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:(?<=\w\w\w)|(?<=[\d)}$*]))\.\s+(?=[A-Z])")
_BLOCK = re.compile(r"```[ \t]*([\w+-]*)[^\n`]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_WORDS = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_PAIRS = (
    ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"),
    ("*", "*"), ("```", "```"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"),
)  # fmt: skip


class Answer(NamedTuple):
    """A final answer.

    Attributes:
      text: without markdown, dollars, quotes and a full stop around it.
      named: whether the text calls it the answer, with a box or a word; else it is the last line.
    """

    text: str
    named: bool


def last_message(completion: Any) -> str:
    """The text of a completion: itself, or the assistant's last message."""
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, dict) else completion
    if not isinstance(messages, list | tuple):
        return ""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role", "assistant") == "assistant":
            content = message.get("content")
            parts = content if isinstance(content, list | tuple) else [content]
            parts = (part.get("text") if isinstance(part, dict) else part for part in parts)
            return "".join(part for part in parts if isinstance(part, str))
    return ""


def spoken(text: str) -> str:
    """The text after the thoughts, without courtesies at its end; "" if thoughts do not end."""
    for tag in _THOUGHTS:
        start, end = text.rfind(f"<{tag}>"), text.rfind(f"</{tag}>")
        if start > end:
            return ""
        if end >= 0:
            text = text[end + len(tag) + 3 :]
    text = text[-_LONGEST:].strip()
    for _ in range(_COURTESIES):
        before, _, line = text.rpartition("\n")
        if not before or not _is_courtesy(line):
            break
        text = before.rstrip()
    return text


def _is_courtesy(line: str) -> bool:
    sentences = re.split("[.!?]", line.replace("\u2019", "'"))
    sentences = [each for each in sentences if re.search(r"\w", each)]
    return bool(sentences) and all(map(_COURTESY.fullmatch, sentences))


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each ```block```, the last of which may be cut off."""
    return _BLOCK.findall(text)


def final_answer(text: str) -> Answer | None:
    """The final answer, or None if there is no text."""
    text = spoken(text)
    if (inside := _boxed(text)) is not None:
        answer, named = inside, True
    elif found := list(_NAMED.finditer(text)):
        answer, named = _after(text[found[-1].end() :]), True
    else:
        lines = [line for line in text.splitlines() if line.strip(" \t`*_-")]
        answer, named = lines[-1] if lines else "", False
    answer = bare(answer)
    return Answer(answer, named) if answer else None


def bare(text: str) -> str:
    """The text without the marks that models put around an answer."""
    for _ in range(8):
        before = text
        text = text.strip().removesuffix(".").rstrip(",;: \t\n")
        for opening, closing in _PAIRS:
            whole = len(text) > len(opening + closing)
            if whole and text.startswith(opening) and text.endswith(closing):
                inside = text[len(opening) : -len(closing)]
                if opening not in inside and closing not in inside:
                    text = inside
        if inside := _WORDS.fullmatch(text):
            text = inside[1]
        if text == before:
            break
    return text


def _boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...}; if that is not closed, up to the end of its line."""
    start = max(text.rfind(r"\boxed{"), text.rfind(r"\fbox{"))
    if start < 0:
        return None
    start, depth = text.index("{", start) + 1, 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return text[start:].partition("\n")[0]


def _after(text: str) -> str:
    """The text after `Answer:`: the rest of the line, else the next paragraph; one sentence."""
    text = text.partition("</answer>")[0].lstrip(":\uff1a*_ \t")
    line, _, rest = text.partition("\n")
    if not line.strip(" *_") or line.rstrip(" *_").endswith(":"):
        line = re.split(r"\n\s*\n", rest.strip(), maxsplit=1)[0]
    bold = line.count("**") % 2  # `**Answer: 42**` has its first half before
    return _SENTENCE.split(line.rstrip("* \t") if bold else line, maxsplit=1)[0]
