"""The tree of errors is what its page says, and any exception can be put into words."""

import builtins
import re

import pytest

from ipsrl import errors
from ipsrl.errors import IpsrlError, RunError, words
from ipsrl.workers import lines


def tree(error: type[IpsrlError], depth: int = 0) -> list[tuple[int, str]]:
    """Public subclasses below their nearest public ancestor, with their depth."""
    found = []
    for below in error.__subclasses__():
        public = not below.__name__.startswith("_")
        if below.__module__.startswith("ipsrl."):
            found += [(depth, below.__name__)] * public + tree(below, depth + public)
    return found


def test_the_page_shows_the_tree():
    drawn = re.findall(r"^ {4}([│├└─ ]*)(\w+) +(.*)$", errors.__doc__, re.MULTILINE)
    assert sorted((len(branch) // 4 - 1, name) for branch, name, _ in drawn) == sorted(
        tree(IpsrlError)
    )
    for _, name, what in drawn:
        error = getattr(errors, name, None) or getattr(lines, name)
        (also,) = re.findall(r"also (\w+)", what) or ["Exception"]
        assert issubclass(error, getattr(builtins, also))


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ValueError("not ethane"), "ValueError: not ethane"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 300), "ValueError: " + "x" * 188),
        (RunError("x" * 300), "x" * 300),
        (Mute(), "Mute"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_words_by_hand(error, found):
    assert words(error) == found
