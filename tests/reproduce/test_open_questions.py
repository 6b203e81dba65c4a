"""What is counted of a model's answers; with a tiny model in the place of the real one."""

import json
import math
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("trl")

from ipsrl import reproduce
from ipsrl.errors import ConfigError
from ipsrl.llm import tiny
from ipsrl.reproduce import open_questions
from ipsrl.reproduce.open_questions import statistics_of


def test_statistics_by_hand() -> None:
    found = statistics_of({"Rome": 2, "Paris": 1, "Oslo": 1, None: 4})
    assert found == {
        "right": 0.5,
        "distinct": 3,
        # exp of the entropy of (1/2, 1/4, 1/4) = 2^1.5
        "effective": pytest.approx(2**1.5),
        "top": "Rome",
        "top share": 0.25,
    }


def test_a_model_that_knows_nothing_has_no_answers() -> None:
    found = statistics_of({None: 3})
    assert found == {"right": 0, "distinct": 0, "effective": 0, "top": "-", "top share": 0}
    assert math.isfinite(found["effective"])


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The item with a model of two layers, one step and eight answers."""
    names = [" Rome", " Paris", "<eos>"]
    tiny.build(tmp_path / "model", ["name a capital"], words=names)
    monkeypatch.setattr(open_questions, "MODEL", str(tmp_path / "model"))
    monkeypatch.setattr(open_questions, "SAMPLES", 8)
    quick = replace(open_questions.PRESETS["quick"], steps=1, seeds=2)
    monkeypatch.setitem(open_questions.PRESETS, "quick", quick)
    return tmp_path / "out"


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_item_is_resumed_and_is_the_same(small, capsys, monkeypatch) -> None:
    reproduce.reproduce("open-questions", "quick", small)
    printed = capsys.readouterr().out
    rows = json.loads((small / "table.json").read_text())
    assert [row["cell"] for row in rows] == ["capitals start", "capitals grpo", "capitals ips-grpo"]
    assert [row["seeds"] for row in rows] == [1, 2, 2]
    assert all(0 <= row["right"]["median"] <= 1 for row in rows)
    assert "capitals ips-grpo" in printed
    counted = json.loads((small / "answers" / "capitals-grpo-1.json").read_text())
    assert sum(counted["right"].values()) + sum(counted["wrong"].values()) == 8
    assert (small / "index.html").exists()

    def train(*_, **__):
        raise AssertionError("what has ended is used again")

    before = (small / "table.json").read_bytes()
    (small / "table.json").unlink()
    monkeypatch.setattr("ipsrl.llm.training.train", train)
    reproduce.reproduce("open-questions", "quick", small)
    assert (small / "table.json").read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_records_stand_for_runs_that_are_gone(small, tmp_path, monkeypatch) -> None:
    """On another machine only what was committed is left: answers, and files.json."""
    reproduce.reproduce("open-questions", "quick", small)
    kept = tmp_path / "kept"
    shutil.copytree(small / "answers", kept / "answers")
    shutil.copy(small / "files.json", kept)
    reproduce.reproduce("open-questions", "quick", kept)
    assert (kept / "table.json").read_bytes() == (small / "table.json").read_bytes()
    assert not (kept / "capitals-grpo").exists()
    longer = replace(open_questions.PRESETS["quick"], steps=2)
    monkeypatch.setitem(open_questions.PRESETS, "quick", longer)
    with pytest.raises(ConfigError, match="capitals-start-0.json holds the answers of another"):
        reproduce.reproduce("open-questions", "quick", kept)
