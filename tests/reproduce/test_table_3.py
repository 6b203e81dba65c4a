"""Table 3: every cell is its own configuration, and the rows say what the runs found."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Config
from ipsrl.reproduce.molecules import cells
from ipsrl.reproduce.table_3 import (
    FOLDER,
    PAPER,
    PRESETS,
    THRESHOLDS,
    at_thresholds,
    reproduce,
    row,
)

REINVENT = {"reinvent": {"method": "reinvent"}}


@pytest.mark.parametrize("name", PRESETS)
def test_cells(name):
    preset = PRESETS[name]
    found = cells(preset, FOLDER)
    assert len(found) == len(preset.objectives) * len(preset.methods)
    assert all([c.seed for c in configs] == [*range(preset.seeds)] for configs in found.values())
    digests = {config.digest() for configs in found.values() for config in configs}
    assert len(digests) == len(found) * preset.seeds
    for cell, (config, *_) in found.items():
        kinds = {component.kind: component for component in config.components}
        assert list(kinds) == ["qed", "hbd", "synthesis", "docking"]
        amide = kinds["synthesis"].synthesis.rule == "all-amide"
        assert amide == cell.removeprefix("paper-").startswith("all-amide")


def test_the_paper_preset_is_the_papers():
    for cell, (config, *_) in cells(PRESETS["paper"], FOLDER).items():
        synthesis, docking = config.components[2:]
        assert (synthesis.synthesis.model, synthesis.synthesis.seconds) == ("megan", 180)
        assert (docking.docking.engine, docking.docking.searches) == ("quickvina2-gpu", 8000)
        assert config.budget == (10_000 if cell.startswith("paper-synth") else 5000)


def test_yield_and_burden_by_hand(tmp_path):
    """100 calls of reward .9 after 20 of .82, one that failed, and one of .1."""
    rewards = [0.82] * 20 + [None, 0.1] + [0.9] * 100
    scaffolds = ["a"] * 10 + ["b"] * 10 + ["c"] * 2 + ["a"] * 50 + ["d"] * 50
    table = pa.table({"reward": rewards, "scaffold": scaffolds})
    pq.write_table(table, tmp_path / "calls.parquet")
    assert at_thresholds(tmp_path, Config()) == {
        "yield": {"0.80": 120, "0.85": 100},
        "yield_scaffolds": {"0.80": 3, "0.85": 2},
        "burden": {"0.80": 102, "0.85": 122},  # 20 + 2 + 80, and all of them
    }


def test_rows_stand_beside_the_paper():
    records = [
        {
            "yield": {"0.80": y}, "yield_scaffolds": {"0.80": 3}, "burden": {"0.80": b},
            "failed": 0, "calls": 3000,
        }
        for y, b in ((120, 700), (90, None), (101, 2900))
    ]  # fmt: skip
    made = row("paper-synth", 0.80, "reinvent", records)
    assert made["yield"] == {"median": 101, "low": 90, "high": 120}
    assert made["ob100"] == "2,900 [700, > 3,000]"
    assert (made["paper yield"], made["paper ob100"]) == ("5695 +- 173", "605 +- 41")
    assert row("synth", 0.80, "ips scaffold group", records)["paper yield"] == ""
    assert len(PAPER) == 2 * 2 * len(THRESHOLDS)


def test_files_that_are_not_there_are_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"stock.smi.gz and 7uvu/receptor.pdbqt not found"):
        reproduce("table-3", "quick", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("beside_receptor_and_stock")
def test_real_engines(small_prior, tmp_path, monkeypatch, capsys):
    """The quick preset at the size of a toy, with the engines and the files of the cpu preset."""
    changes = {"budget": 8, "batch": 8, "prior": str(small_prior), "augmentations": 0}
    monkeypatch.setitem(
        PRESETS, "quick", replace(PRESETS["quick"], methods=REINVENT, changes=changes)
    )
    reproduce("table-3", "quick", tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [one["cell"] for one in rows] == ["synth 0.80 reinvent", "synth 0.85 reinvent"]
    assert [one["calls"] for one in rows] == [8, 8]
    assert "Only the order of the" in (tmp_path / "out" / "index.html").read_text()
    assert "Only the order of the" in capsys.readouterr().out
    (calls,) = (tmp_path / "out").glob("*/seed-0/calls.parquet")
    for call in pq.read_table(calls).to_pylist():
        assert (call["docking"] is None) == (call["synthesis"] == 0 or call["hbd"] > 3)
        assert call["status"] == "valid"
