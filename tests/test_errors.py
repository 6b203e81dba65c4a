"""The tree of errors is what its page says, and any exception can be put into words."""

import builtins
import pickle
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ipsrl
from ipsrl import errors
from ipsrl.errors import IpsrlError, MissingExtra, RunError, words
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


def exceptions() -> list[type[BaseException]]:
    """Every exception class that ipsrl defines; only the modules that have one are imported."""
    source = Path(ipsrl.__file__).parent
    bases, homes = {}, {}
    for path in source.rglob("*.py"):
        home = ".".join(["ipsrl", *path.relative_to(source).with_suffix("").parts])
        for name, above in re.findall(
            r"^class (\w+)\(([\w, ]+)\):", path.read_text(), re.MULTILINE
        ):
            bases[name], homes[name] = above.split(", "), home.removesuffix(".__init__")
    types = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type)}
    known = {name for name, kind in types.items() if issubclass(kind, BaseException)}
    while more := {name for name in bases if name not in known and known & {*bases[name]}}:
        known |= more
    return [getattr(import_module(homes[name]), name) for name in homes if name in known]


MADE_OF = {
    MissingExtra: ("grids", "jax"),
    lines._Trouble: (["tool", "-q"], "ended with code 1", "out of memory"),
}
"""Arguments of those that do not take one sentence, and of their subclasses."""


def test_every_error_survives_the_way_to_another_process():
    """Ray and multiprocessing pickle what a worker raises, and hang or lie if they cannot."""
    found = exceptions()
    assert {*MADE_OF, RunError, lines.WorkerDied, lines.WorkerTimeout} <= {*found}
    for kind in found:
        arguments = next((a for base, a in MADE_OF.items() if issubclass(kind, base)), ("why",))
        before = kind(*arguments)
        after = pickle.loads(pickle.dumps(before))
        assert type(after) is kind
        assert str(after) == str(before)
        assert vars(after) == vars(before)


def test_what_errors_of_several_values_say_by_hand():
    python = sys.executable
    assert str(MissingExtra("grids", "jax")) == (
        "'jax' is not installed, and this part of ipsrl needs it. "
        f'Install it with:  {python} -m pip install "ipsrl[grids]"'
    )
    died = lines.WorkerDied(["tool", "-q"], "ended with code 1", "out of memory")
    assert str(died) == (
        "the worker program tool -q ended with code 1. "
        "The end of its standard error:\nout of memory"
    )
    assert str(lines.WorkerDied(["tool"], "ended", "")) == "the worker program tool ended"


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
