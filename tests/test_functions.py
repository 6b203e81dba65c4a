"""Functions of the user: what is found, what they may return, and that none ends the process."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ipsrl.errors import InvalidInput
from ipsrl.functions import (
    call,
    is_coroutine,
    load_function,
    name_of,
    number,
    one_each,
    printing_aside,
    source_file,
    traceback_of_user,
)

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
        ("task_of_mime.py:outcome", "no file '.*/task_of_mime.py'; the nearest is"),
        ("no_such_file.py:outcome", "no file '.*/no_such_file.py'[.]$"),
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


# --- code that ends the process -------------------------------------------------------------------

EXITS = ["sys.exit(0)", "sys.exit()", "sys.exit('bye')", "quit()", "raise SystemExit(False)"]


@pytest.mark.parametrize("ends", EXITS)
@pytest.mark.parametrize("place", ["script_of_mine", "script_of_mine.py", "package_of_mine.task"])
def test_a_script_that_exits_cannot_be_imported(folder: Path, place: str, ends: str) -> None:
    source = f"import sys\ndef outcome(): pass\n{ends}\n"
    (folder / "script_of_mine.py").write_text(source)
    (folder / "package_of_mine").mkdir()
    (folder / "package_of_mine" / "__init__.py").write_text(source)
    found = source_file(f"{place}:outcome")
    assert Path(found).name == ("" if place == "package_of_mine.task" else "script_of_mine.py")
    for _ in range(2):  # nothing half imported is left
        with pytest.raises(InvalidInput, match=r"importing it raised SystemExit.*__main__"):
            load_function(f"{place}:outcome")


def test_what_a_function_raises_says_whose_it_is(folder: Path) -> None:
    """Also where the last line of the traceback is one of a library."""
    source = "import json\n\ndef outcome():\n    return json.loads('no')\n"
    (folder / "raises_of_mine.py").write_text(source)
    with pytest.raises(ValueError, match="Expecting value") as raised:
        call(load_function("raises_of_mine:outcome"))
    (note,) = raised.value.__notes__
    assert note == f"Your outcome raised this, in {folder / 'raises_of_mine.py'}, line 4."
    first, *_, error, last = (traceback_of_user(raised.value) or "").splitlines()[1:]
    assert first == f'  File "{folder / "raises_of_mine.py"}", line 4, in outcome'
    assert error.startswith("json.decoder.JSONDecodeError: Expecting value")
    assert last == note
    assert traceback_of_user(ValueError("ours")) is None


def test_a_lazy_attribute_that_exits(folder: Path) -> None:
    (folder / "lazy_of_mine.py").write_text("def __getattr__(name): raise SystemExit(0)\n")
    with pytest.raises(InvalidInput, match="lazy_of_mine tried to end the process"):
        load_function("lazy_of_mine:outcome")


@pytest.mark.parametrize("ends", EXITS)
def test_a_call_does_not_end_the_process(ends: str) -> None:
    def judge() -> None:
        exec(ends, {"sys": sys})

    with pytest.raises(InvalidInput, match=r"judge tried to end the process \(SystemExit.*line"):
        call(judge)


def test_a_call_returns_and_raises_what_the_function_does() -> None:
    assert call(divmod, 7, 2) == (3, 1)
    assert call(sorted, [1, 2], reverse=True) == [2, 1]
    with pytest.raises(ZeroDivisionError):
        call(divmod, 1, 0)


def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_interruption_ends_the_main_thread_and_no_other() -> None:
    with pytest.raises(KeyboardInterrupt):
        call(interrupted)
    with ThreadPoolExecutor(1) as pool, pytest.raises(InvalidInput, match="interrupted tried to"):
        pool.submit(call, interrupted).result()


# --- what a function returns ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "returned",
    [
        [1, 2], (1, 2), np.array([1, 2]), np.array([1, 2], np.float16), torch.tensor([1.0, 2.0]),
        torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True), pd.Series([1, 2]),
        deque([1, 2]), range(1, 3),
    ],
    ids=repr,
)  # fmt: skip
def test_one_value_for_each(returned: Any) -> None:
    found = one_each(returned, "judge", "rewards", 2, "completions")
    assert found == [1, 2]
    assert all(type(value) in (int, float) for value in found)


def test_booleans_texts_and_keys_stay_what_they_are() -> None:
    for values in ([True, False], ["a", "b"], [("a", 1), None], [[1], [2]]):
        assert one_each(values, "judge", "keys", 2, "rows") == values
    assert one_each(np.array([True, False]), "judge", "keys", 2, "rows") == [True, False]


async def later() -> list[float]:
    return [1.0, 2.0]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({0: 1.0, 1: 2.0}, "judge returned a dict for 2 completions. Return a list of rewards"),
        ({1.0, 2.0}, "a set"),
        (frozenset([1, 2]), "a frozenset"),
        ({0: 1.0, 1: 2.0}.values(), "a dict_values"),
        ("ab", "a str"),
        (b"ab", "a bytes"),
        (None, "a NoneType"),
        (1.0, "a float"),
        ((value for value in (1.0, 2.0)), "a generator"),
        (map(float, (1, 2)), "a map"),
        (later, "a coroutine"),
        ([1.0], "1 rewards"),
        ([1.0, 2.0, 3.0], "3 rewards"),
        (np.ones(()), r"a ndarray of shape \[\]"),
        (np.ones((2, 1)), r"a ndarray of shape \[2, 1\]"),
        (torch.ones(1, 2), r"a Tensor of shape \[1, 2\]"),
        (torch.ones(()), r"a Tensor of shape \[\]"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}), r"a DataFrame of shape \[2, 2\]"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_anything_else_is_refused(returned: Any, message: str) -> None:
    returned = returned() if returned is later else returned
    with pytest.raises(InvalidInput, match=message):
        one_each(returned, "judge", "rewards", 2, "completions")


@pytest.mark.parametrize("value", [2, 2.0, np.float16(2), np.int8(2), torch.ones(1) * 2])
def test_numbers(value: Any) -> None:
    assert number(value) == 2


@pytest.mark.parametrize(
    "value",
    ["2", b"2", None, 2j, np.complex64(2), torch.tensor(2j), [2], np.ones(2), 10**400, object()],
    ids=lambda value: type(value).__name__,  # repr has an address, which two workers do not share
)
def test_no_numbers(value: Any) -> None:
    with pytest.raises(InvalidInput, match="not a number"):
        number(value)


def test_what_is_printed_aside(capfd: pytest.CaptureFixture[str]) -> None:
    with printing_aside():
        print("text")
        os.system("echo program")
    print("result")
    found = capfd.readouterr()
    assert found.out == "result\n"
    assert sorted(found.err.split()) == ["program", "text"]


def test_partials_and_objects_have_a_name_and_may_be_coroutines() -> None:
    class Judge:
        async def __call__(self) -> list[float]:
            return []

    assert name_of(partial(partial(later))) == "later"
    assert name_of(Judge()) == "Judge"
    assert is_coroutine(partial(later))
    assert is_coroutine(Judge())
    assert not is_coroutine(partial(interrupted))
