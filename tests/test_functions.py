"""Functions named on the command line: what is found, and what each mistake is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipsrl.errors import InvalidInput
from ipsrl.functions import load_function

SOURCE = """
from dataclasses import dataclass
import helper_of_mine

LIMIT = 3

def outcome(prompts, completions, **columns):
    return [helper_of_mine.last_word(completion) for completion in completions]

@dataclass
class Checker:
    @staticmethod
    def reward(completions):
        return [1.0] * len(completions)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a module of the user's; imports are undone afterwards."""
    (tmp_path / "task_of_mine.py").write_text(SOURCE)
    (tmp_path / "helper_of_mine.py").write_text("def last_word(text): return text.split()[-1]\n")
    (tmp_path / "broken_task.py").write_text("import no_such_library\n")
    (tmp_path / "wrong_task.py").write_text("def outcome(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("place", ["task_of_mine", "task_of_mine.py", "./task_of_mine.py"])
def test_a_module_and_its_file_give_the_function(folder: Path, place: str) -> None:
    outcome = load_function(f"{place}:outcome")
    assert outcome(["?"], ["it is four"]) == ["four"]
    assert load_function(f"{place}:outcome") is outcome  # not executed again


def test_a_file_elsewhere_finds_its_neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert load_function(f"{folder}/task_of_mine.py:outcome")(["?"], ["a b"]) == ["b"]


def test_a_file_called_as_an_installed_module_leaves_that_alone(folder: Path) -> None:
    import json

    (folder / "json.py").write_text("def outcome(): return 'mine'\n")
    assert load_function("json.py:outcome")() == "mine"
    assert sys.modules["json"] is json
    assert load_function("json.py:outcome") is load_function("json.py:outcome")


def test_installed_modules_and_dots_after_the_colon(folder: Path) -> None:
    assert load_function("os.path:basename")("a/b") == "b"
    assert load_function("task_of_mine:Checker.reward")(["x"]) == [1.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("task_of_mine", "does not name a function.*module:function"),
        (":outcome", "does not name a function"),
        ("task_of_mine:", "does not name a function"),
        ("task_of_mime:outcome", "no module 'task_of_mime'; the nearest is 'task_of_mine'"),
        ("nowhere.at.all:outcome", "no module 'nowhere.at.all'.*installed, or lie in the current"),
        ("task_of_mime.py:outcome", "no file 'task_of_mime.py'; the nearest is 'task_of_mine.py'"),
        ("task_of_mine:outcomes", "has no 'outcomes'; the nearest is 'outcome'"),
        ("task_of_mine:Checker.rewards", "no 'Checker.rewards'; the nearest is 'reward'"),
        ("task_of_mine:LIMIT", "is a int, which cannot be called"),
        ("broken_task:outcome", "importing it raised ModuleNotFoundError.*no_such_library"),
        ("broken_task.py:outcome", "importing it raised ModuleNotFoundError.*no_such_library"),
        ("wrong_task:outcome", "importing it raised SyntaxError"),
        (".task_of_mine:outcome", "does not name a function"),
    ],
)
def test_mistakes(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load_function(spec)
