"""The file of a history: what was written is read, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from attacks_of_models import HEADERS
from safetensors.numpy import load_file, save, save_file
from safetensors.torch import save as torch_save

from ipsrl.errors import RunError
from ipsrl.llm.visits import Visit, packed, read_visits, unpacked, write_visits

VISITS = {
    7: [
        Visit(np.array([5, 5, -1])),  # counts only
        Visit(np.array([5, 2**62]), (packed([]), packed([1, 2**31 - 1])), np.array([-0.5, -1e3])),
    ],
    2**62: [Visit(np.array([1, 2]), (packed([3]), packed([3])), np.array([0.0, -2.0]))],
    0: [Visit(np.array([-1, -1, -1]))],
}


def listed(visits_of: dict[int, list[Visit]]) -> list[tuple]:
    return [
        (prompt, v.ids.tolist(), v.texts, v.log_then.tolist())
        for prompt, visits in visits_of.items()
        for v in visits
    ]


@pytest.mark.parametrize("visits_of", [VISITS, {}, {0: VISITS[0]}], ids=["all", "none", "counts"])
def test_what_was_written_is_read(visits_of, tmp_path) -> None:
    write_visits(tmp_path / "file", visits_of)
    assert listed(read_visits(tmp_path / "file")) == listed(visits_of)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tokens_take_four_bytes() -> None:
    text = packed([0, 1, 2**31 - 1])
    assert len(text) == 12
    assert unpacked(text).tolist() == [0, 1, 2**31 - 1]
    assert text == packed(np.array([0, 1, 2**31 - 1]))  # whatever they come as


def changed(path: Path, **arrays: np.ndarray | None) -> Path:
    """The file of `VISITS` with other arrays in it, or fewer."""
    write_visits(path, VISITS)
    found = {**load_file(path), **arrays}
    save_file({name: array for name, array in found.items() if array is not None}, path)
    return path


def test_a_file_that_was_not_changed_is_read(tmp_path) -> None:
    """Else the tests below could not fail."""
    assert listed(read_visits(changed(tmp_path / "file"))) == listed(VISITS)


WRONG = {
    "an array is missing": {"length": None},
    "an array too many": {"weights": np.zeros(3)},
    "floats for ids": {"ids": np.zeros(10)},
    "a table of ids": {"ids": np.zeros((5, 2), np.int64)},
    "long tokens": {"tokens": np.zeros(4, np.int64)},
    "fewer prompts": {"prompt": np.array([7, 7, 0])},
    "fewer ids": {"ids": np.zeros(9, np.int64)},
    "a negative size": {"size": np.array([13, -3, 0, 0])},
    "sizes that overflow to the sum": {"size": np.array([2**62, 2**62, 2**62, 2**62 + 10])},
    "texts of a part of a group": {"kept": np.array([1, 1, 2, 0])},
    "fewer log-probabilities": {"log_then": np.zeros(3)},
    "a log-probability that is none": {"log_then": np.array([0.0, np.nan, 0.0, 0.0])},
    "an infinite log-probability": {"log_then": np.array([0.0, -np.inf, 0.0, 0.0])},
    "fewer lengths": {"length": np.array([0, 2, 2])},
    "longer texts": {"length": np.array([0, 2, 1, 2])},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_arrays_that_are_not_a_history(wrong, tmp_path) -> None:
    with pytest.raises(RunError, match="is not the history of prompts"):
        read_visits(changed(tmp_path / "file", **WRONG[wrong]))


def test_each_byte_that_is_missing_is_noticed(tmp_path) -> None:
    """A file that was cut off anywhere."""
    write_visits(tmp_path / "file", VISITS)
    whole = (tmp_path / "file").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "file").write_bytes(whole[:size])
        with pytest.raises(RunError, match="is not the history of prompts"):
            read_visits(tmp_path / "file")


FOREIGN = {
    **HEADERS,
    "a pickle": b"\x80\x04N.",
    "a model": save({"lm_head.weight": np.zeros((2, 2))}),
    "a model in bfloat16": torch_save({"weight": torch.zeros(2, dtype=torch.bfloat16)}),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_another_file_is_not_a_history(content, tmp_path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RunError, match="Restore it from a copy, resume from another checkpoint"):
        read_visits(tmp_path / "file")


def test_a_folder_is_not_a_history(tmp_path) -> None:
    with pytest.raises(RunError, match="is not the history of prompts"):
        read_visits(tmp_path)
