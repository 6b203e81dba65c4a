"""An item of the paper: its numbers beside ours, from runs that are used again and never mixed."""

import json
import statistics

import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import RunError
from ipsrl.grids import Config
from ipsrl.reproduce import ITEMS, Item, grids, reproduce
from ipsrl.reproduce.grids import Cells
from ipsrl.runs import Run

pytestmark = pytest.mark.usefixtures("compiled")

TOY = {
    "side": 4, "policy": "tabular", "group_size": 8, "batch": 8, "iterations": 4, "eval_every": 1,
    "checkpoint_every": 2, "seeds": 3, "lr": 0.1,
}  # fmt: skip
CELLS = {"2d-ips-grpo": "ips-grpo", "2d-grpo": "grpo", "2d-ours": "flowrl", "4d-other": "grpo"}
PAPER = {"2d-grpo": 2.8e-2, "2d-ips-grpo": 3.0e-3, "2d-absent": 1.0}


@pytest.fixture
def toy_item(monkeypatch, tmp_path):
    """A small item in place of the shipped ones; everything behind it is real."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for cell, method in CELLS.items():
        (folder / f"{cell}.toml").write_text(Config(**TOY, method=method).dump())
    toy = Cells("toy", cells="2d-*", paper=PAPER, quick={"2d-ours": {"seeds": 2}})
    monkeypatch.setattr(grids, "TOY", toy, raising=False)
    monkeypatch.setitem(ITEMS, "toy", Item("grids", "a toy", "grids:TOY"))
    monkeypatch.setattr(grids, "shipped_configs", lambda _: sorted(folder.glob("*.toml")))


def contents(directory):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in directory.rglob("*") if p.is_file()}


def test_the_papers_numbers_stand_beside_ours(toy_item, tmp_path, capsys):
    out = tmp_path / "out"
    reproduce("toy", "paper", out)
    rows = {row["cell"]: row for row in json.loads((out / "table.json").read_text())}
    # the paper's cells first, in its order; cells that do not match are left out
    assert list(rows) == ["2d-grpo", "2d-ips-grpo", "2d-ours"]
    printed = capsys.readouterr().out
    for cell, row in rows.items():
        run = Run.open(out / cell)
        result = run.result()
        assert row["paper_mean_l1"] == PAPER.get(cell)
        for name in ("mean_l1", "total_l1"):
            ours = result[name]
            assert row[name] == {
                "median": statistics.median(ours), "low": min(ours), "high": max(ours)
            }  # fmt: skip
        for name in ("floor_l1", "modes_total", "trajectories"):
            assert row[name] == result[name]
        assert row["seeds"] == len(result["total_l1"])
        (line,) = (text for text in printed.splitlines() if f" {cell} " in text)
        assert f" {row['mean_l1']['median']:.1e} " in line
        if cell in PAPER:
            assert f" {PAPER[cell]:.1e} " in line
    assert str(out / "index.html") in printed
    assert "2d-ours" in (out / "index.html").read_text()


def test_the_quick_preset_changes_only_what_it_says(toy_item, tmp_path):
    reproduce("toy", "quick", tmp_path / "out")
    configs = {p.name: Run.open(p).config(Config) for p in (tmp_path / "out").glob("2d-*")}
    assert configs["2d-ours"] == Config(**{**TOY, "method": "flowrl", "seeds": 2})
    assert configs["2d-grpo"] == Config(**TOY, method="grpo")


def test_finished_runs_are_used_again(toy_item, tmp_path):
    out = tmp_path / "out"
    reproduce("toy", "quick", out)
    before = {cell: contents(out / cell) for cell in CELLS}
    pages = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    reproduce("toy", "quick", out)
    assert {cell: contents(out / cell) for cell in CELLS} == before
    assert {path: path.read_bytes() for path in pages} == pages
    assert len(pages) >= 4  # table, page and figures


def test_an_interrupted_item_goes_on_where_it_stopped(toy_item, tmp_path, monkeypatch):
    reproduce("toy", "quick", tmp_path / "peace")
    out, checkpoint, written = tmp_path / "out", Run.checkpoint, 0

    def interrupted(self, *args):
        nonlocal written
        checkpoint(self, *args)
        written += 1
        if written == 3:  # the first checkpoint of the second run
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reproduce("toy", "quick", out)
    finished = contents(out / "2d-grpo")
    assert not Run.open(out / "2d-ips-grpo").finished
    reproduce("toy", "quick", out)
    assert contents(out / "2d-grpo") == finished
    for path in (tmp_path / "peace").rglob("*"):
        if path.is_file() and path.name not in ("environment.json",):
            twin = out / path.relative_to(tmp_path / "peace")
            assert twin.read_bytes() == path.read_bytes(), path.name


def test_a_run_of_another_configuration_is_not_mixed_in(toy_item, tmp_path):
    """The quick preset has two seeds, so its directory is of no use to the full one."""
    out = tmp_path / "out"
    reproduce("toy", "quick", out)
    before = contents(out)
    with pytest.raises(RunError, match=r"2d-ours holds a run of another configuration.*--out"):
        reproduce("toy", "paper", out)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("reached", "median"),
    [
        ([10, 30, 20], 20),
        ([10, None, 20], 20),  # never is later than any time: 10, 20, never
        ([None, 10, None], None),
        ([10, 20], 15),
        ([10, None], None),  # half-way between 10 and never
        ([None], None),
    ],
)
def test_the_median_time_counts_seeds_that_never_arrive(reached, median, toy_item, tmp_path):
    run = Run.create(tmp_path / "run", Config(**{**TOY, "seeds": len(reached)}))
    zeros = [0.5] * len(reached)
    run.finish(
        {
            "total_l1": zeros, "mean_l1": zeros, "modes_found": [0] * len(reached),
            "modes_total": 0, "trajectories": 32, "floor_l1": None,
            "trajectories_to": {"0.3": reached, "0.15": reached, "0.05": reached},
        },
        {},
    )  # fmt: skip
    assert grids._row("cell", run.directory, None)["to_0.05"] == median


# --- the shipped items ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, item in ITEMS.items() if item.home.startswith("grids:")])
def test_every_cell_and_preset_of_an_item_exists(name):
    item = getattr(grids, ITEMS[name].home.removeprefix("grids:"))
    files = {path.stem: path for path in shipped_configs(item.folder)}
    assert files
    assert set(item.paper) <= set(files)
    for prefix, changes in item.quick.items():
        matching = [cell for cell in files if cell.startswith(prefix)]
        assert matching
        for cell in matching:
            config = Config.load(files[cell])
            quick = Config(**{**config.model_dump(), **changes})
            assert quick.iterations * quick.seeds < config.iterations * config.seeds


def test_table_1_holds_the_papers_six_numbers():
    """Mean per-state L1, Table 1: rows GRPO, FlowRL, IPS-GRPO; columns n = 2 and n = 4."""
    assert grids.TABLE_1.paper == {
        "2d-grpo": 0.028, "2d-flowrl": 0.028, "2d-ips-grpo": 0.003,
        "4d-grpo": 0.00052, "4d-flowrl": 0.00052, "4d-ips-grpo": 0.00037,
    }  # fmt: skip
