"""The item from the command to the page, at the size of a toy; and that it goes on."""

import json
from dataclasses import replace

import pytest

from ipsrl import reproduce
from ipsrl.errors import ConfigError
from ipsrl.reproduce import rivals
from ipsrl.reproduce.records import read_records
from ipsrl.reproduce.rivals import toys


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two contestants and two seeds of ten steps."""
    monkeypatch.setattr(toys, "TOYS", (replace(toys.UCPO_TOY, steps=10),))
    preset = rivals.Preset(("ucpo",), {"ucpo": ("grpo", "ips group", "gapo")}, seeds=(0, 1))
    monkeypatch.setitem(rivals.PRESETS, "quick", preset)
    return tmp_path / "out"


def test_the_item_goes_on_and_is_the_same(small, capsys, monkeypatch, pictures) -> None:
    reproduce.reproduce("rivals", "quick", small)
    assert "within noise" in capsys.readouterr().out
    found = json.loads((small / "table.json").read_text())
    assert {row["cell"].partition(": ")[2] for row in found["cells"]} == {
        "grpo", "ips group", "gapo", "start", "ideal",
    }  # fmt: skip
    assert len(pictures(small)) == 2
    left_out = found["left out"]["ucpo 3 of 20, G 8"]
    assert left_out["exemplar-replay"] != left_out["dra"] == "too costly here"
    file = small / "records" / "ucpo-3-of-20-G-8.jsonl"
    *kept, lost = read_records(file)
    assert [(one["contestant"], one["seed"]) for one in (*kept, lost)] == [
        (name, seed) for name in ("grpo", "gapo", "ips group") for seed in (0, 1)
    ]

    # The last record is lost, as if the command had been stopped before it.
    file.write_text("".join(f"{json.dumps(one)}\n" for one in kept))
    trained = []
    run = toys.Toy.run
    monkeypatch.setattr(
        toys.Toy, "run", lambda self, one, seeds: trained.append(seeds) or run(self, one, seeds)
    )
    reproduce.reproduce("rivals", "quick", small)
    assert trained == [(1,)]
    *before, again = read_records(file)
    assert before == kept
    assert {**again, "seconds": 0} == {**lost, "seconds": 0}


def test_records_of_other_settings_are_refused(small, monkeypatch) -> None:
    reproduce.reproduce("rivals", "quick", small)
    monkeypatch.setattr(toys, "TOYS", (replace(toys.UCPO_TOY, steps=20),))
    with pytest.raises(ConfigError, match="other settings"):
        reproduce.reproduce("rivals", "quick", small)


def test_all_tasks_of_the_cpu_preset(tmp_path) -> None:
    names = [task.name for task in rivals._tasks(rivals.PRESETS["cpu"], tmp_path)]
    assert len(names) == len(set(names)) == 22 + 8 + 3 + 2
    assert names[0].startswith("ucpo")  # whole tables early
    assert names[-1].startswith("molecules")
