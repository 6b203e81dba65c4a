"""The figure of a diagnosis: drawn from its file alone, showing what the file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from ipsrl.errors import RunError
from ipsrl.llm.collapse import diagnose_completions
from ipsrl.llm.completions import Completions
from ipsrl.report.collapse import collapse_figure, write_figure
from ipsrl.report.figures import as_png


def diagnosis(tmp_path: Path, *, names: str = "abcd", reward: bool = True, steps: int = 40) -> Path:
    """A run that is all of one outcome from half of its steps on; the first step has none."""
    keys = [None] * 4 + [
        key for t in range(1, steps) for key in (names if t < steps / 2 else names[0] * 4)
    ]
    rows = Completions(
        prompts=["p"] * len(keys),
        completions=keys,
        columns={},
        steps=np.repeat(np.arange(steps), 4),
        rewards=np.linspace(0, 1, len(keys)) if reward else None,
        reward_name="reward" if reward else None,
    )
    path = tmp_path / "diagnosis.json"
    path.write_text(diagnose_completions(rows, keys).json())
    return path


def lines_of(figure: Figure) -> dict[str, Any]:
    return {axis.get_ylabel(): axis.get_lines() for axis in figure.axes}


def test_it_shows_the_numbers_of_the_file(tmp_path: Path) -> None:
    path = diagnosis(tmp_path)
    stored = json.loads(path.read_text())
    figure = collapse_figure(path)
    lines = lines_of(figure)
    effective, collapse = lines["effective outcomes per group"]
    np.testing.assert_array_equal(effective.get_xdata(), np.arange(40))
    np.testing.assert_array_equal(effective.get_ydata(), np.array(stored["effective"], float))
    assert np.isnan(effective.get_ydata()[0])  # a gap where no completion has an outcome
    assert collapse.get_xdata()[0] == stored["collapsed_at"]
    np.testing.assert_array_equal(lines["mean reward"][0].get_ydata(), stored["reward"])
    first, last = lines["different outcomes, expected"]
    np.testing.assert_array_equal(first.get_ydata(), stored["coverage"]["first"]["distinct"])
    np.testing.assert_array_equal(last.get_ydata(), stored["coverage"]["last"]["distinct"])
    stacks = figure.axes[1].collections
    assert [stack.get_label() for stack in stacks] == stored["top_outcomes"]
    # The stacks lie on one another: the last one reaches 1, for these four are all outcomes.
    assert stacks[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1.0)


def test_the_same_file_gives_the_same_picture(tmp_path: Path) -> None:
    path = diagnosis(tmp_path)
    assert as_png(collapse_figure(path)) == as_png(collapse_figure(path))


@pytest.mark.parametrize("options", [{"reward": False}, {"steps": 3}, {"names": "_$%$"}])
def test_odd_runs_are_drawn(tmp_path: Path, options: dict[str, Any]) -> None:
    figure = collapse_figure(diagnosis(tmp_path, **options))
    assert as_png(figure).startswith(b"\x89PNG")
    assert ("mean reward" in lines_of(figure)) == options.get("reward", True)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"steps": [1]}', '{"steps": {}}', "[" * 10**5]
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(RunError, match="other.json is not a diagnosis.*ipsrl diagnose"):
        collapse_figure(path)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a diagnosis .FileNotFoundError"):
        collapse_figure(tmp_path / "diagnosis.json")


def test_it_is_written_beside_its_file(tmp_path: Path) -> None:
    text = diagnosis(tmp_path).read_text()
    write_figure(text, tmp_path / "new" / "folder")
    written = tmp_path / "new" / "folder" / "diagnosis.json"
    assert written.read_text() == text
    assert written.with_suffix(".png").read_bytes() == as_png(collapse_figure(written))
    with pytest.raises(RunError, match="cannot be written.*another --out"):
        write_figure(text, written)
