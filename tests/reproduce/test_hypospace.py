"""Cells of the tables on HypoSpace, and a quick one from the command to the page."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from ipsrl.cli import main
from ipsrl.core.floor import presence
from ipsrl.core.methods import IPS
from ipsrl.errors import ConfigError
from ipsrl.hypospace import Voxel, dataset, write_dataset
from ipsrl.hypospace.config import Config
from ipsrl.reproduce import reproduce
from ipsrl.reproduce.hypospace import cells, directory, explained, presets, pull
from ipsrl.runs import Run


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
@pytest.mark.parametrize("name", ["table-2", "figure-2", "figures-4-5", "table-4"])
def test_every_cell_is_a_configuration(name, preset) -> None:
    found = cells(name, presets()[preset])
    chosen = presets()[preset]
    seeds = chosen.grid_seeds if name == "table-4" else chosen.seeds
    for configs in found.values():
        assert [config.seed for config in configs] == [*range(seeds)]
        assert len({config.data_seed for config in configs}) == 1  # one data set and start model
    if name == "table-4":
        assert len(found) == 15
    elif preset != "quick":
        methods = len(presets()[preset].methods)
        assert len(found) == (2 if name == "figures-4-5" else 3 * methods)


def test_cells_of_one_table_differ_in_nothing_else() -> None:
    """Same steps, samples and start for every method of a domain."""
    found = cells("table-2", presets()["cpu"])
    alike = {"method", "estimator", *(one.name for one in fields(IPS))}
    for method in presets()["cpu"].methods:
        ours = found[f"voxel-{method}"][0].model_dump(exclude=alike)
        theirs = found["voxel-ips-grpo"][0].model_dump(exclude=alike)
        ours["trl"].setdefault("beta", theirs["trl"]["beta"])  # FlowRL has no KL term
        assert ours == theirs


def test_figures_show_the_runs_of_the_table() -> None:
    table, figure = (cells(name, presets()["cpu"]) for name in ("table-2", "figures-4-5"))
    assert all(table[cell] == configs for cell, configs in figure.items())


def test_the_papers_settings() -> None:
    config = cells("table-2", presets()["paper"])["causal-ips-grpo"][0]
    assert (config.model, config.load_in_4bit) == ("google/gemma-3-4b-it", True)
    assert (config.lora_rank, config.lora_alpha, config.lora_dropout) == (16, 32, 0.05)
    assert config.trl["num_generations"] == 16


def test_pull_by_hand() -> None:
    """K = 2, G = 2, no clip: f(p) = 2p - p^2, f'(p) = 2 - 2p; at 1/2: 2 * 3/4 - 1 = 1/2."""
    assert pull(2, 2, 0.0) == pytest.approx(0.5, abs=1e-6)


def test_pull_is_how_fast_a_deviation_returns() -> None:
    """One step of the expected update from a point near uniform, for any K, G and eps."""
    for K, G, eps in [(3, 8, 0.0), (5, 4, 0.5), (4, 16, 0.1)]:
        delta = np.zeros(K)
        delta[:2] = 1e-4, -1e-4
        p = 1 / K + delta
        f = presence(p, G, eps=eps)
        update = f - p * f.sum()
        # The derivative is one-sided by the second order of delta.
        assert update[0] / delta[0] == pytest.approx(-pull(K, G, eps), rel=1e-2)


def test_rank_correlation_by_hand() -> None:
    """Ours in the order of the pull; of the paper's the ranks are 2 1 3, so 1 - 6 * 2 / 24."""
    rows = [
        {"pull": pull, "test": {"recovery_rate": [ours, 0, 1]}, "paper": paper}
        for pull, ours, paper in [(1.0, 0.1, 20.0), (2.0, 0.2, 10.0), (3.0, 0.9, 30.0)]
    ]
    assert explained(rows).endswith("ours 1.00, the paper's 0.50")


def test_cells_whose_clip_does_nothing_share_a_run(tmp_path) -> None:
    """eps <= 1/G leaves every share as it is: 3 of 15 cells need no run of their own."""
    found = cells("table-4", presets()["cpu"])
    homes = {cell: directory(tmp_path, cell, configs[0]) for cell, configs in found.items()}
    assert homes["G4-eps0.01"] == homes["G4-eps0.2"] == tmp_path / "G4" / "seed-0"
    assert homes["G8-eps0.1"] == homes["G8-eps0.01"] != homes["G8-eps0.2"]
    assert len(set(homes.values())) == 12
    for cell, configs in found.items():
        others = [c for c, home in homes.items() if home == homes[cell]]
        assert all(found[other] == configs for other in others)


def test_a_preset_that_the_item_has_not_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="table-1 has no preset cpu"):
        reproduce("table-1", "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def finished(tmp_path):
    """Runs of the two cells of Figures 4 and 5, whose responses were made here."""
    out = tmp_path / "out"
    task = Voxel()
    sets = dataset(task, count=100, seed=0)
    for cell, (config,) in cells("figures-4-5", presets()["quick"]).items():
        folder = directory(out, cell, config)
        run = Run.create(folder, config)
        write_dataset(sets, folder / "data.jsonl")
        with (folder / "responses.jsonl").open("w") as file:
            for one in sets:
                for i in range(config.samples):
                    i = 0 if cell == "voxel-grpo" else i  # the same, or all in turn
                    text = task.answer(one.admissible[i % len(one.admissible)])
                    file.write(json.dumps({"id": one.id, "response": text, "seed": 0}) + "\n")
        completions = folder / "rl" / "trainer" / "completions"
        completions.mkdir(parents=True)
        import pyarrow as pa
        import pyarrow.parquet as pq

        asked = max((s for s in sets if s.split == "train"), key=lambda s: len(s.admissible))
        rows = {"step": [1, 2], "prompt": [asked.prompt] * 2, "outcome": [*asked.admissible[:2]]}
        pq.write_table(pa.table(rows), completions / "completions_00001.parquet")
        run.finish({})
    return out


def test_finished_runs_become_a_table_and_figures(finished, capsys) -> None:
    assert main(["reproduce", "figures-4-5", "--out", str(finished)]) == 0
    rows = {row["cell"]: row for row in json.loads((finished / "table.json").read_text())}
    grpo, ips = rows["voxel-grpo"], rows["voxel-ips-grpo"]
    # One structure per view; 16 of 3, 9 or 27 structures.
    sizes = [len(one.admissible) for one in dataset(Voxel(), count=100, seed=0)][50:]
    assert grpo["test"]["recovery_rate"][0] == pytest.approx(np.mean([1 / k for k in sizes]))
    expected = np.mean([min(16 / k, 1) for k in sizes])
    assert ips["test"]["recovery_rate"][0] == pytest.approx(expected)
    assert ips["test"]["valid_rate"][0] == 1.0
    counts = json.loads((finished / "structures.json").read_text())["counts"]
    assert sorted(counts["voxel-grpo".removeprefix("voxel-")].values()) == [16]
    assert len(counts["ips-grpo"]) == 16
    assert (finished / "index.html").is_file()
    for name in ("recovery", "voxel-answers", "structures"):
        assert (finished / f"index-{name}.png").is_file()
    assert "90.0" in capsys.readouterr().out  # the paper's number beside ours


@pytest.mark.slow
def test_the_quick_preset_shows_the_claim(tmp_path) -> None:
    """Boolean, one seed, 50 steps: GRPO recovers less than IPS-GRPO."""
    assert main(["reproduce", "table-2", "--out", str(tmp_path)]) == 0
    rows = {row["cell"]: row for row in json.loads((tmp_path / "table.json").read_text())}
    recovered = {cell: row["test"]["recovery_rate"][0] for cell, row in rows.items()}
    assert recovered["boolean-ips-grpo"] > 1.5 * recovered["boolean-grpo"]
    run = Run.open(tmp_path / "boolean-grpo" / "seed-0")
    assert run.config(Config).trl["max_steps"] == 50
