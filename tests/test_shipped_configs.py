"""Every shipped configuration says what its name says, and trains."""

import json
import math
from typing import Any

import pytest

from ipsrl.config import shipped_configs
from ipsrl.grids import Config, train
from ipsrl.reproduce.bars import BARS
from ipsrl.runs import Run

COUNTS = {
    "hypergrid/bars": 34,
    "hypergrid/critic": 21,
    "hypergrid/eps": 4,
    "hypergrid/estimators": 12,
    "hypergrid/group-size": 4,
    "hypergrid/table-1": 8,
}
CELLS = [(folder, path) for folder in COUNTS for path in shipped_configs(folder)]
NAMES = [f"{folder.split('/')[1]}-{path.stem}" for folder, path in CELLS]


def toy(config: Config) -> Config:
    """The same algorithm on one small grid, for two iterations."""
    smaller: dict[str, Any] = {
        "dims": 2, "side": 3, "r0": 0.1,
        "hidden": 4, "lr": 3e-3, "lr_end": 0,
        "group_size": 8, "batch": 8, "iterations": 2, "seeds": 1,
        "replay_batches": 2 if config.estimator == "replay" else None,
        "eval_every": 1, "checkpoint_every": 2,
    }  # fmt: skip
    return Config(**{**config.model_dump(), **smaller})


_TOYS = {name: toy(Config.load(path)) for name, (_, path) in zip(NAMES, CELLS, strict=True)}
_NAMED = {config.digest(): name for name, config in _TOYS.items()}
TOYS = {name: _TOYS[name] for name in _NAMED.values()}
"""Every algorithm that is configured, once."""


def test_there_are_83_and_no_folder_is_forgotten():
    root = shipped_configs("hypergrid/table-1")[0].parents[2]
    found = sorted(path.relative_to(root) for path in root.glob("hypergrid/**/*.toml"))
    assert found == sorted(path.relative_to(root) for _, path in CELLS)
    assert {f: sum(folder == f for folder, _ in CELLS) for f in COUNTS} == COUNTS
    assert len(CELLS) == 83


def test_no_two_cells_are_the_same_experiment_within_a_folder():
    digests = [(folder, Config.load(path).digest()) for folder, path in CELLS]
    assert len(set(digests)) == len(digests)


PER_SEED = ("total_l1", "mean_l1", "modes_found", "modes_visited", "sampled_l1")


@pytest.mark.parametrize(("folder", "path"), CELLS, ids=NAMES)
def test_the_name_says_what_is_in_the_file(folder, path):
    config = Config.load(path)
    scaled_by = config.estimator if config.method == "ips-grpo" else None
    match folder.split("/")[1]:
        case "table-1":
            beyond = {"likelihood": "ips-likelihood"}
            name = f"{config.dims}d-{beyond.get(scaled_by, config.method)}"
        case "group-size":
            grid = "x".join([str(config.side)] * config.dims)
            assert scaled_by == "group"
            name = f"{grid}-{config.group_size:04}"
        case "eps":
            grid = "x".join([str(config.side)] * config.dims)
            assert scaled_by == "group"
            name = f"{grid}-eps{config.eps:g}"
        case "estimators":
            grid = "x".join([str(config.side)] * config.dims)
            name = f"{grid}-{scaled_by or config.method}"
        case "critic":
            grid = "x".join([str(config.side)] * config.dims)
            of = f"-{config.estimator}" if config.estimator else ""
            returns = f"-{config.gae_lambda:g}" if config.method == "ips-ppo" else ""
            name = f"{grid}-{config.method}{of}{returns}"
        case "bars":
            # Its source, the grid, and what learns.
            source = path.stem.split(f"-{config.side}x")[0]
            assert any(bar.startswith(f"{source}-{config.side}x") for bar in BARS)
            grid = path.stem.removeprefix(f"{source}-").partition("-")[0]
            assert grid in (f"{config.side}x{config.dims}", f"{config.side}x{config.side}")
            wanted = path.stem.removeprefix(f"{source}-{grid}-")
            found = (
                scaled_by or config.method,
                "learned" * (config.backward == "learned" and source != "torchgfn"),
                config.explore.removeprefix("none"),
                "annealed" * (config.reward_temperature > 1),
                "decayed" * (config.lr_end > 0 and source == "torchgfn"),
            )
            assert wanted == "-".join(filter(None, found))
            return
    assert path.stem == name


@pytest.mark.parametrize("folder", COUNTS)
def test_cells_of_one_grid_have_equal_budgets(folder):
    """A table compares methods only at equal trajectories and seeds."""
    budgets = {}
    for path in shipped_configs(folder):
        config = Config.load(path)
        budget = config.batch * config.iterations, config.seeds
        source = path.stem.split(f"-{config.side}x")[0]
        grid = config.dims, config.side, source if folder.endswith("bars") else ""
        budgets.setdefault(grid, set()).add(budget)
    assert all(len(found) == 1 for found in budgets.values())


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Each compiles for seconds, so those of two items are left to the slow suite."""
    return [pytest.mark.slow] if name.startswith(("bars-", "critic-")) else []


@pytest.mark.parametrize(
    "config", [pytest.param(toy, id=name, marks=marks_of(name)) for name, toy in TOYS.items()]
)
def test_the_configuration_trains(config, tmp_path):
    train(config, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    result = run.result()
    assert set(result) == {
        "total_l1", "mean_l1", "modes_found", "modes_visited", "modes_total", "trajectories",
        "trajectories_to", "sampled_l1", "sampled_floor", "floor_l1", "diverged",
    }  # fmt: skip
    assert [len(result[name]) for name in PER_SEED] == [1] * len(PER_SEED)
    assert set(result["trajectories_to"]) == {"0.3", "0.15", "0.05"}
    assert result["trajectories"] == 2 * config.batch
    (l1,) = result["total_l1"]
    assert 0 < l1 <= 2  # two distributions are never further apart
    assert result["mean_l1"] == [l1 / 3**config.dims]
    assert (result["floor_l1"] is not None) == config.uses("group")
    assert run.config(Config) == config
    losses = [row["loss"] for row in run.metrics()]
    assert len(losses) == 2
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
    distances = [row["total_l1"] for row in run.metrics()]
    assert distances[0] != distances[1]  # it learns
    assert distances[1] == l1
    assert json.loads((run.directory / "result.json").read_text()) == result
