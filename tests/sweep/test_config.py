"""A sweep is every combination of values, each checked before anything runs."""

import pytest

from ipsrl.errors import ConfigError
from ipsrl.grids import Config as Grid
from ipsrl.llm import Config as LLM
from ipsrl.sweep.config import SweepConfig, cells_of, check_functions, measures_of


def cells(folder, **keys):
    return cells_of(SweepConfig(**keys), folder)


def test_every_combination_is_a_cell(tmp_path):
    """2 x 3 cells; the last key changes fastest."""
    found = cells(
        tmp_path, train="hypergrid", seeds=4, config={"side": 3},
        grid={"method": ["grpo", "ips-grpo"], "lr": [0.1, 0.2, 0.3]},
    )  # fmt: skip
    assert [(cell.values["method"], cell.values["lr"]) for cell in found] == [
        ("grpo", 0.1), ("grpo", 0.2), ("grpo", 0.3),
        ("ips-grpo", 0.1), ("ips-grpo", 0.2), ("ips-grpo", 0.3),
    ]  # fmt: skip
    assert found[1].name == "method=grpo,lr=0.2"
    # A grid trains its seeds in one run.
    assert found[1].runs == {found[1].name: Grid(side=3, method="grpo", lr=0.2, seeds=4)}


def test_seeds_are_runs_and_dotted_keys_reach_into_tables(tmp_path):
    """trl is a table; what one axis sets, another and [config] leave."""
    shared = {"dataset": "d.jsonl", "reward": ["r.py:f"], "outcome": "text", "seed": 5}
    (cell, _) = cells(
        tmp_path, train="llm", seeds=2, config={**shared, "trl": {"max_steps": 3}},
        grid={"trl": {"num_generations": [4, 8]}},
    )  # fmt: skip
    assert list(cell.runs) == ["num_generations=4,seed=5", "num_generations=4,seed=6"]
    first, second = cell.runs.values()
    assert isinstance(first, LLM)
    assert (first.seed, second.seed) == (5, 6)
    assert (first.trl["max_steps"], first.trl["num_generations"]) == (3, 4)
    assert first.dataset == str(tmp_path / "d.jsonl")  # a path counts from the file


def test_a_file_is_the_base_and_config_wins(tmp_path):
    (tmp_path / "base.toml").write_text("side = 4\nr2 = 3.0\n")
    base = str(tmp_path / "base.toml")
    (cell,) = cells(tmp_path, train="hypergrid", base=base, config={"side": 5})
    assert cell.runs == {"all": Grid(side=5, r2=3.0, seeds=1)}


@pytest.mark.parametrize(
    ("keys", "seeds"),
    [({}, 1), ({"config": {"seeds": 5}}, 5), ({"base": "b.toml"}, 8),
     ({"config": {"seeds": 5}, "seeds": 1}, 1), ({"grid": {"seeds": [7]}, "seeds": 2}, 7)],
    ids=str,
)  # fmt: skip
def test_the_seeds_of_a_grid_are_those_that_are_given(keys, seeds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.toml").write_text("seeds = 8\n")
    (cell,) = cells(tmp_path, train="hypergrid", **keys)
    assert [config.seeds for config in cell.runs.values()] == [seeds]


def test_an_axis_of_seeds_says_the_seeds(tmp_path):
    """With several seeds of each cell, it would be the same run several times."""
    keys = {
        "train": "llm", "config": {"dataset": "d.jsonl", "reward": ["r.py:f"], "outcome": "text"},
        "grid": {"seed": [3, 4]},
    }  # fmt: skip
    runs = {
        run: config.seed for cell in cells(tmp_path, **keys) for run, config in cell.runs.items()
    }
    assert runs == {"seed=3": 3, "seed=4": 4}
    with pytest.raises(ConfigError, match=r"seeds = 3 and grid\.seed both"):
        cells(tmp_path, **keys, seeds=3)


def test_paths_in_the_base_count_from_its_folder(tmp_path):
    """Those in the sweep win, and count from the folder of the sweep."""
    inner = tmp_path / "base"
    inner.mkdir()
    (inner / "r.py").touch()
    (tmp_path / "mine.py").touch()
    (inner / "b.toml").write_text(
        'dataset = "d.jsonl"\nreward = ["r.py:f"]\n[trl]\ndeepspeed = "deep.json"\n'
    )
    found = cells(
        tmp_path, train="llm", base=str(inner / "b.toml"), config={"trl": {"max_steps": 3}},
        grid={"outcome": ["text", "mine.py:f"]},
    )  # fmt: skip
    configs = [config for cell in found for config in cell.runs.values()]
    assert [config.outcome for config in configs] == ["text", f"{tmp_path / 'mine.py'}:f"]
    for config in configs:
        assert config.dataset == str(inner / "d.jsonl")
        assert config.reward == [f"{inner / 'r.py'}:f"]
        assert config.trl == {"deepspeed": str(inner / "deep.json"), "max_steps": 3}


def test_a_function_in_a_file_that_is_not_there_is_refused(tmp_path):
    """Also in a table within a list, with the name of the run and the nearest file."""
    (tmp_path / "score.py").touch()
    of = [[{"kind": "function", "function": f"{name}.py:f"}] for name in ("score", "scor")]
    (there, missing) = cells(tmp_path, train="molecules", grid={"components": of})
    for run, config in there.runs.items():
        check_functions(run, config.model_dump())
    for run, config in missing.runs.items():
        with pytest.raises(ConfigError, match=r"run comp.*/scor\.py'; the nearest is 'score\.py'"):
            check_functions(run, config.model_dump())


def test_names_of_cells_are_names_of_folders_and_differ(tmp_path):
    shared = {"dataset": "d.jsonl", "reward": ["r.py:f"], "outcome": "text"}
    long = [f"{'x' * 300}{i}" for i in range(2)]
    found = cells(
        tmp_path, train="llm", config=shared, grid={"model": ["a/b", "a_b", "../a", *long]}
    )
    names = [cell.name for cell in found]
    assert len(set(names)) == 5
    assert not any("/" in name or len(name) > 100 for name in names)
    assert names[1] == "model=a_b"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"grid": {"lr": [0.1, 0.0]}}, "cell lr=0.0: lr = 0.0"),
        ({"grid": {"lrr": [0.1]}}, "unknown key 'lrr'; the nearest key is 'lr'"),
        ({"grid": {"lr": 0.1}}, "grid.lr = 0.1 is not a list"),
        ({"grid": {"lr": []}}, "is not a list of values"),
        ({"grid": {"lr": [0.1, 0.1]}}, "two cells have the same values"),
        ({"seeds": 0}, "seeds = 0"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(keys, why, tmp_path):
    with pytest.raises(ConfigError, match=why):
        cells(tmp_path, train="hypergrid", **keys)


@pytest.mark.parametrize(
    ("train", "measure"),
    [
        ("hypergrid", "total_l1"),
        ("env", "total_l1.1"),  # of the second seed
        ("hypergrid", "trajectories_to.0.3"),
        ("llm", "effective"),
        ("hypospace", "test.recovery.3.0"),
        ("hypospace", "test.verdicts.no answer"),
        ("molecules", "best"),
    ],
)
def test_a_number_of_a_result_is_a_measure(train, measure):
    assert measures_of(SweepConfig(train=train, measures=[measure])) == [measure]


@pytest.mark.parametrize(
    ("train", "measure", "nearest"),
    [
        ("hypergrid", "total_l2", "total_l1"),
        ("hypergrid", "modes_total.0", "modes_total"),
        ("llm", "rewards", "reward"),
        ("hypospace", "test.recovery_rate", "test.recovery_rate.0"),
        ("molecules", "hit", "hits"),
    ],
)
def test_what_no_result_has_is_refused_with_the_nearest(train, measure, nearest):
    with pytest.raises(ConfigError, match=f"no number '{measure}'; the nearest is '{nearest}'"):
        measures_of(SweepConfig(train=train, measures=[measure]))


def test_text_in_a_result_is_not_a_measure():
    """`ended` is text, and no number is called anything like it."""
    with pytest.raises(ConfigError, match="no number 'ended'. There are calls, failed"):
        measures_of(SweepConfig(train="molecules", measures=["ended"]))
