"""The ablation of outcome keys: every cell differs, and the table says what the runs found."""

import json
import math
import shutil
from dataclasses import replace
from itertools import combinations

import pyarrow.parquet as pq
import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import RunError
from ipsrl.molecules import ComponentConfig, Config, Scoring
from ipsrl.molecules.molecule import similarities
from ipsrl.reproduce.molecules import (
    METHODS,
    PRESETS,
    burden,
    cells,
    directory,
    modes,
    record,
    reproduce,
    row,
)

KEYS = shipped_configs("molecules/keys")


def test_cells_of_the_cpu_preset():
    found = cells(PRESETS["cpu"])
    assert len(found) == 2 * len(METHODS) == 24
    assert all([c.seed for c in configs] == [0, 1, 2, 3, 4] for configs in found.values())
    digests = {config.digest() for configs in found.values() for config in configs}
    assert len(digests) == 120
    assert {(c.budget, c.batch, c.lr) for configs in found.values() for c in configs} == {
        (5000, 64, 5e-4)
    }


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_objectives_score_their_references(path):
    config = Config.load(path)
    scoring = Scoring(config.components, config.aggregation)
    references = [text for component in config.components for text in component.smiles]
    rewards = scoring(references).rewards
    if path.stem != "qed-band":  # a similarity of 1 is worth 10 times more than .6
        count = {"four-drugs": 4, "eight-drugs": 8}[path.stem]
        assert rewards == pytest.approx([1 / (1 + 10**-3.75)] * count)
        assert all(similarities([a], [b])[0, 0] < 0.25 for a, b in combinations(references, 2))
    else:  # a copy is out of the band
        assert (rewards < 0.05).all()


def test_a_table_of_two_cells(small_prior, tmp_path, monkeypatch, capsys):
    """The whole item, at the size of a toy: the table says what the run directories say."""
    toy = replace(
        PRESETS["quick"], seeds=2,
        changes={"budget": 30, "batch": 16, "prior": str(small_prior), "threshold": 0.3},
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "quick", toy)
    reproduce("molecule-keys", "quick", tmp_path)
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [one["cell"] for one in rows] == list(cells(toy))
    for one in rows:
        hits = []
        for seed in (0, 1):
            folder = directory(tmp_path, one["cell"], seed)
            calls = pq.read_table(folder / "calls.parquet").to_pylist()
            hits.append(sum(call["reward"] > 0.3 for call in calls))
        assert (one["hits"]["low"], one["hits"]["high"]) == (min(hits), max(hits))
        assert one["ob100"] == "> 30 [> 30, > 30]"
    assert (tmp_path / "index-qed-band-hits.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "table.json").read_bytes()
    for cell in cells(toy):  # records are used again, also without the runs that they tell of
        shutil.rmtree(directory(tmp_path, cell, 0).parent)
    reproduce("molecule-keys", "quick", tmp_path)
    assert (tmp_path / "table.json").read_bytes() == before
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4
    assert "molecule-keys, quick preset" in capsys.readouterr().out


def test_modes_by_hand(small_prior, tmp_path):
    """Hits like toluene and like pyrrolidine, none like ethanol."""
    references = ["Cc1ccccc1", "C1CCNC1", "OCC"]
    component = ComponentConfig(kind="similarity", smiles=references)
    config = Config(
        components=[component], prior=str(small_prior), budget=60, batch=32, augmentations=0,
        threshold=0.3,
    )  # fmt: skip
    made = record(tmp_path, "mine", config, modes)
    calls = pq.read_table(tmp_path / "mine" / "seed-0" / "calls.parquet").to_pylist()
    hits = [call["smiles"] for call in calls if call["reward"] > 0.3]
    nearest = {h: max(range(3), key=lambda i: similarities([h], references)[0, i]) for h in hits}
    assert made["hits_by_mode"] == [list(nearest.values()).count(i) for i in range(3)]
    assert made["modes"] == len(set(nearest.values())) > 0
    assert row("mine", [made])["modes"]["median"] == made["modes"]
    earned = [0.0, 0.0, 0.0]
    for call in calls[-12:]:
        near = max(range(3), key=lambda i: similarities([call["smiles"]], references)[0, i])
        earned[near] += call["reward"]
    shares = [one / sum(earned) for one in earned]
    assert made["effective_modes"][-1] == pytest.approx(
        math.exp(-sum(p * math.log(p) for p in shares if p))
    )


def test_a_burden_has_a_median_where_most_seeds_have_one():
    assert burden([300, 100, 200], 5000) == "200 [100, 300]"
    assert burden([None, 100, 200], 5000) == "200 [100, > 5,000]"
    assert burden([None, 100, None], 5000) == "> 5,000 [100, > 5,000]"


def test_a_record_is_of_one_configuration(small_prior, tmp_path):
    def nothing(*_):
        return {}

    settings = {"prior": str(small_prior), "batch": 16, "augmentations": 0}
    small, large = Config(budget=20, **settings), Config(budget=40, **settings)
    first = record(tmp_path / "one", "cell", small, nothing)
    with pytest.raises(RunError, match="holds a run of another configuration"):
        record(tmp_path / "one", "cell", large, nothing)
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "records.jsonl", tmp_path / "two")
    assert record(tmp_path / "two", "cell", large, nothing)["calls"] == 40
    assert record(tmp_path / "two", "cell", small, nothing) == first


def test_a_record_is_of_the_same_files(small_prior, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def f(smiles):\n    return [0.5] * len(smiles)\n")
    mine = ComponentConfig(kind="function", function="mine.py:f")
    config = Config(components=[mine], prior=str(small_prior), budget=5, batch=4)
    record(tmp_path, "cell", config, lambda *_: {})
    (tmp_path / "mine.py").write_text("def f(smiles):\n    return [0.6] * len(smiles)\n")
    with pytest.raises(RunError, match=r"line 1 of .*jsonl was measured with other files.*mine.py"):
        record(tmp_path, "cell", config, lambda *_: {})
    (tmp_path / "records.jsonl").unlink()
    with pytest.raises(RunError, match="seed-0 was measured with other files"):
        record(tmp_path, "cell", config, lambda *_: {})
