"""Table 3 by settings of the loop: what differs from cell to cell, and what does not."""

import json

import pytest

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Config
from ipsrl.reproduce import table_3, table_3_settings
from ipsrl.reproduce.molecules import cells
from ipsrl.reproduce.table_3_settings import COMPARED, PRESETS, reproduce


def configs(preset: str) -> dict[str, list[Config]]:
    found = (cells(one, table_3.FOLDER) for one in PRESETS[preset])
    return {cell: each for some in found for cell, each in some.items()}


def test_cells_of_the_cpu_preset():
    found = configs("cpu")
    assert len(found) == 2 * len(COMPARED) == 22
    assert len({config.digest() for each in found.values() for config in each}) == 22 * 3
    assert {cell.split()[0]: each[0].budget for cell, each in found.items()} == {
        "all-amide": 5000, "synth": 10_000,
    }  # fmt: skip


@pytest.mark.parametrize("task", ["all-amide", "synth"])
@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("saturn", {"purge", "bucket"}),
        ("plain", {"augmentations"}),
        ("prior inside", {"prior_in_advantage", "kl"}),
    ],
)
def test_a_setting_changes_its_keys_alone(task, setting, changed):
    found = configs("cpu")
    for cell, (config, *_) in found.items():
        name, _, end = cell.removeprefix(f"{task} ").partition(f" {setting}")
        if cell.startswith(task) and cell.endswith(setting):
            assert not end
            usual, other = found[f"{task} {name}"][0].model_dump(), config.model_dump()
            assert {key for key in usual if usual[key] != other[key]} == changed


def test_it_has_the_cells_of_table_3():
    """But for the budget, and values that are kept."""
    of_table = cells(table_3.PRESETS["cpu"], table_3.FOLDER)
    for cell in ("synth reinvent", "all-amide ips smiles group"):
        ours = configs("cpu")[cell][0].model_dump()
        theirs = of_table[cell][0].model_dump()
        assert {key for key in ours if ours[key] != theirs[key]} == {"budget", "cache"}


def test_files_that_are_not_there_are_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"stock.smi.gz and 7uvu/receptor.pdbqt not found"):
        reproduce("table-3-settings", "quick", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("beside_receptor_and_stock")
def test_real_engines(tmp_path, monkeypatch):
    """The quick preset with few calls, the engines and the files of the cpu preset."""
    (quick,) = PRESETS["quick"]
    few = {**quick.changes, "budget": 6, "batch": 6}
    toy = table_3_settings.Preset(1, quick.objectives, quick.methods, few)
    monkeypatch.setitem(PRESETS, "quick", (toy,))
    reproduce("table-3-settings", "quick", tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [one["calls"] for one in rows] == [6] * 2 * len(quick.methods)
    records = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    assert len(records) == len(quick.methods)
