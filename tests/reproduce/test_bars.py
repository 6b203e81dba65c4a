"""Published figures on hyper-grids: what was run once is read from its record."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import RunError
from ipsrl.grids import Config
from ipsrl.reproduce import bars, reproduce

pytestmark = pytest.mark.usefixtures("compiled")

TOY = {
    "method": "tb", "side": 8, "policy": "tabular", "group_size": 8, "batch": 8, "iterations": 4,
    "eval_every": 1, "checkpoint_every": 2, "seeds": 2, "lr": 0.1,
}  # fmt: skip
RECORDS = Path(__file__).parents[2] / "docs" / "results" / "grid-bars"


def test_a_record_stands_for_a_run_that_is_gone(monkeypatch, tmp_path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text(Config(**TOY).dump())
    monkeypatch.setattr(bars, "shipped_configs", lambda _: [file])
    monkeypatch.setitem(bars.BARS, "toy", replace(bars.BARS["mips-8x8"], samples=100))
    out, kept = tmp_path / "out", tmp_path / "kept"
    reproduce("grid-bars", "cpu", out)
    (row,) = json.loads((out / "table.json").read_text())
    assert (row["trajectories"], row["seeds"], row["modes_total"]) == (32, 2, 4)

    kept.mkdir()
    for name in ("cells", "files.json"):
        copy = shutil.copytree if (out / name).is_dir() else shutil.copy
        copy(out / name, kept / name)
    reproduce("grid-bars", "cpu", kept)
    assert (kept / "table.json").read_bytes() == (out / "table.json").read_bytes()
    assert not (kept / "toy").exists()

    file.write_text(Config(**TOY | {"seeds": 3}).dump())
    with pytest.raises(RunError, match="toy.json holds the result of another configuration"):
        reproduce("grid-bars", "cpu", kept)


def test_what_is_committed_is_of_the_configurations_that_are_shipped() -> None:
    configs = {path.stem: Config.load(path) for path in shipped_configs("hypergrid/bars")}
    cells = {file.stem: json.loads(file.read_text()) for file in RECORDS.glob("cells/*.json")}
    for cell, found in cells.items():
        assert Config(**found["of"]) == configs[cell]
    rows = json.loads((RECORDS / "table.json").read_text())
    assert [cells[cell]["row"] for cell in configs if cell in cells] == rows
