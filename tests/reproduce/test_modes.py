"""The study of modes: outcomes name the modes, and the table says what the runs found."""

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipsrl.functions import load_function
from ipsrl.molecules import Config
from ipsrl.molecules.molecule import similarities
from ipsrl.reproduce import modes
from ipsrl.reproduce.molecules import cells, directory, drugs

IMATINIB = 1  # its place in both objectives


def configs(preset: str) -> dict[str, list[Config]]:
    return {cell: each for one in modes.PRESETS[preset] for cell, each in cells(one).items()}


def test_cells_of_the_cpu_preset():
    found = configs("cpu")
    assert [cell.split()[0] for cell in found] == ["four-drugs"] * 7 + ["eight-drugs"] * 7
    assert len({config.digest() for each in found.values() for config in each}) == 14 * 3
    assert {(c.budget, c.threshold) for each in found.values() for c in each} == {(10_000, 0.8)}


@pytest.mark.parametrize("objective", ["four-drugs", "eight-drugs"])
def test_the_nearest_outcome_is_that_of_the_objective(objective):
    """Each reference is a mode of its own, by the function that the cell of the objective names."""
    config = configs("cpu")[f"{objective} ips nearest"][0]
    references = config.components[0].smiles
    assert load_function(config.outcome)(references) == [*range(len(references))]
    assert configs("cpu")[f"{objective} exemplars nearest"][0].outcome == config.outcome


def test_clusters_are_a_partition_around_the_priors_molecules():
    centers = modes.centers()
    assert len(set(centers)) == modes.CLUSTERS
    assert modes.cluster(centers) == [*range(modes.CLUSTERS)]
    # No center is a neighbour of another, or it would have been taken with it.
    alike = similarities(centers, centers)
    assert all(alike[i, j] < modes.ALIKE for i, j in combinations(range(len(centers)), 2))
    assert len(set(modes.cluster(drugs("four-drugs")))) > 1


def test_what_is_found_by_hand(tmp_path):
    """Three hits like imatinib, one of them nearly the same, and one like donepezil."""
    four = drugs("four-drugs")
    ethyl = four[IMATINIB].replace("CN3CCN(C)", "CN3CCN(CC)")
    calls = {
        "smiles": [four[IMATINIB], ethyl, four[3], "CCO", four[IMATINIB].replace("Cc1", "CCc1")],
        "reward": [0.9, 0.85, 0.95, 0.01, None],
    }
    pq.write_table(pa.table(calls), tmp_path / "calls.parquet")
    config = configs("cpu")["four-drugs grpo"][0]
    made = modes.found_modes(tmp_path, config)
    assert made["hits_by_mode"] == [0, 2, 0, 1]
    assert made["circles"] == {"0.7": 2, "0.5": 2}  # its ethyl has a similarity above .5


def test_rows_count_modes_seed_by_seed():
    records = [
        {
            "hits": sum(by_mode), "hits_by_mode": by_mode, "effective_modes": [4.0, e],
            "circles": {"0.7": 3, "0.5": 5}, "scaffolds": 7, "calls": 100,
        }
        for by_mode, e in (([10, 9, 0, 100], 1.0), ([1, 1, 1, 1], 3.0), ([10, 10, 10, 0], 2.0))
    ]  # fmt: skip
    made = modes.row("four-drugs grpo", records)
    assert made["modes with 10 hits"] == {"median": 2, "low": 0, "high": 3}
    assert made["modes with hits"] == {"median": 3, "low": 3, "high": 4}
    assert made["effective modes at the end"]["median"] == 2.0
    assert (made["circles 0.7"]["low"], made["circles 0.5"]["high"]) == (3, 5)


def test_a_table_is_made_again_from_its_records(small_prior, tmp_path, monkeypatch):
    """The whole item at the size of a toy, over two objectives."""
    toys = tuple(
        replace(
            preset, seeds=1,
            methods={name: preset.methods[name] for name in ("grpo", "ips cluster")},
            changes={"budget": 30, "batch": 16, "prior": str(small_prior), "threshold": 0.03},
        )
        for preset in modes.PRESETS["cpu"]
    )  # fmt: skip
    monkeypatch.setitem(modes.PRESETS, "quick", toys)
    modes.reproduce("molecule-modes", "quick", tmp_path)
    table = (tmp_path / "table.json").read_bytes()
    for line in json.loads(table):
        calls = pq.read_table(directory(tmp_path, line["cell"], 0) / "calls.parquet").to_pylist()
        hits = np.array([call["reward"] > 0.03 for call in calls])
        assert line["hits"]["median"] == hits.sum() > 0
        assert 1 <= line["circles 0.7"]["median"] <= line["circles 0.5"]["median"] <= hits.sum()
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4
    assert (tmp_path / "index-eight-drugs-hits.png").read_bytes().startswith(b"\x89PNG")
    modes.reproduce("molecule-modes", "quick", tmp_path)
    assert (tmp_path / "table.json").read_bytes() == table
