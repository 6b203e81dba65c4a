"""Stages: one objective after another, each from the agent of the one before."""

import pyarrow.parquet as pq
import pytest
from searches import files

from ipsrl.cli import main
from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.molecules import ComponentConfig, Config, Prior, StageConfig, train
from ipsrl.molecules.search.loop import RECENT
from ipsrl.runs import Run

QED = ComponentConfig(kind="qed")
RINGS = ComponentConfig(kind="rings", transform={"kind": "step", "low": 1.0})


class Stop(Exception):
    pass


@pytest.fixture
def staged(config):
    def make(*stages, **options) -> Config:
        ours = config(**options).model_dump(exclude={"components", "budget", "stages"})
        return Config(**ours, stages=list(stages))

    return make


def stage(component=QED, budget=40, **options) -> StageConfig:
    return StageConfig(components=[component], budget=budget, **options)


def weights(folder):
    return Prior.load(folder).model.state_dict()


def test_each_stage_is_a_search_of_its_own_objective(staged, tmp_path):
    result = train(staged(stage(RINGS, 30), stage(QED, 50)), tmp_path / "run")
    for number, (column, budget) in enumerate((("rings", 30), ("qed", 50)), 1):
        table = pq.read_table(tmp_path / f"run/stage-{number}/calls.parquet")
        assert table.num_rows == budget
        assert column in table.column_names
    assert Run.open(tmp_path / "run").result() == Run.open(tmp_path / "run/stage-2").result()
    assert (result.calls, result.ended) == (50, "budget")


def test_a_stage_begins_with_the_agent_of_the_one_before(config, staged, tmp_path, monkeypatch):
    """With nothing to learn the agent of the second is that of the first."""
    alone = config(components=[RINGS], budget=30)
    train(alone, tmp_path / "alone")
    train(staged(stage(RINGS, 30), stage(QED, 50)), tmp_path / "run")
    assert files(tmp_path / "run/stage-1") == files(tmp_path / "alone")
    monkeypatch.setattr("ipsrl.molecules.search.loop.update", lambda *_: 0.0)
    train(staged(stage(RINGS, 30), stage(QED, 50)), tmp_path / "idle")
    first, second, prior = (
        weights(folder)
        for folder in (
            tmp_path / "idle/stage-1/agent",
            tmp_path / "idle/stage-2/agent",
            alone.prior,
        )
    )
    assert all(second[name].equal(first[name]) and first[name].equal(prior[name]) for name in prior)
    moved, again = (weights(tmp_path / f"run/stage-{n}/agent") for n in (1, 2))
    assert not all(moved[name].equal(prior[name]) for name in prior)
    assert not all(moved[name].equal(again[name]) for name in prior)


def test_a_stage_is_over_when_its_mean_reward_is_reached(staged, config, tmp_path):
    """The median of rings is reached at once: after as many batches as are looked at."""
    result = train(staged(stage(RINGS, 500, until=0.05), stage(QED, 20)), tmp_path / "run")
    first = Run.open(tmp_path / "run/stage-1").result()
    assert (first["ended"], first["steps"]) == ("until", RECENT)
    assert first["calls"] < 500
    assert result.ended == "budget"
    out_of_reach = train(config(budget=40, until=0.999), tmp_path / "alone")
    assert (out_of_reach.ended, out_of_reach.calls) == ("budget", 40)


def test_the_mean_of_the_last_batches_counts(config, tmp_path):
    chosen = config(budget=400, until=0.55)
    result = train(chosen, tmp_path / "run")
    rewards = [row["reward"] for row in Run.open(tmp_path / "run").metrics()]
    means = [sum(rewards[i : i + RECENT]) / RECENT for i in range(len(rewards) - RECENT + 1)]
    over = [mean > 0.55 for mean in means]
    assert over.index(True) == len(over) - 1 if result.ended == "until" else not any(over)


@pytest.mark.parametrize("stop", [2, 5])
def test_resumed_is_uninterrupted(staged, tmp_path, monkeypatch, stop):
    """In the first stage, and in the second."""
    chosen = staged(stage(RINGS, 40), stage(QED, 60), checkpoint_every=1)
    train(chosen, tmp_path / "whole")
    log, seen = Run.log, []

    def stopping(run, rows):
        rows = list(rows)
        log(run, rows)
        seen.append(rows)
        if len(seen) == stop:
            raise Stop

    monkeypatch.setattr(Run, "log", stopping)
    with pytest.raises(Stop):
        train(chosen, tmp_path / "parts")
    monkeypatch.undo()
    train(chosen, tmp_path / "parts", resume=True)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert train(chosen, tmp_path / "parts", resume=True).ended == "budget"  # which has ended


def test_a_stage_does_not_go_on_from_another_agent(staged, tmp_path, monkeypatch):
    chosen = staged(stage(RINGS, 20), stage(QED, 60), checkpoint_every=1)
    finish = Run.finish

    def stopping(run, *rest):
        if run.directory.name == "stage-2":
            raise Stop
        finish(run, *rest)

    monkeypatch.setattr(Run, "finish", stopping)
    with pytest.raises(Stop):
        train(chosen, tmp_path / "run")
    monkeypatch.undo()
    agent = tmp_path / "run/stage-1/agent"
    prior = Prior.load(agent)
    next(iter(prior.model.parameters())).data.add_(1.0)
    prior.save(agent)
    with pytest.raises(RunError, match="agent of the stage before"):
        train(chosen, tmp_path / "run", resume=True)


def test_a_later_stage_that_cannot_be_built_is_told_before_the_first(staged, tmp_path):
    file = tmp_path / "later.py"
    mine = ComponentConfig(kind="function", function=f"{file}:score")
    chosen = staged(stage(QED, 20), stage(mine, 20))
    with pytest.raises(InvalidInput, match="later.py"):
        train(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()  # so that the run can begin when the file is there
    file.write_text("def score(smiles):\n    return [0.5] * len(smiles)\n")
    assert train(chosen, tmp_path / "run").best == 0.5


def test_a_cache_keeps_the_values_of_those_stages_that_have_some():
    kept = ComponentConfig(kind="synthesis", synthesis={})
    chosen = Config(stages=[stage(QED), stage(kept)], cache="x.sqlite")
    assert [chosen.of_stage(number).cache for number in (0, 1)] == ["", chosen.cache]


def test_stages_are_tables_of_the_file(small_prior, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text(
        f'prior = "{small_prior}"\nbatch = 16\naugmentations = 0\n'
        '[[stages]]\nbudget = 20\nuntil = 0.9\n[[stages.components]]\nkind = "rings"\n'
        'transform = {kind = "step", low = 1.0}\n'
        '[[stages]]\nbudget = 30\n[[stages.components]]\nkind = "qed"\n'
    )
    words = ["--config", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]
    assert main(["train", "molecules", *words]) == 0
    assert "30 oracle calls" in capsys.readouterr().out
    assert main(["train", "molecules", "--resume", str(tmp_path / "run")]) == 0
    stages = [str(tmp_path / f"run/stage-{number}") for number in (1, 2)]
    assert main(["report", *stages, "--out", str(tmp_path / "report")]) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 10}, "each has its own budget"),
        ({"components": [RINGS]}, "each has its own components"),
        ({"until": 0.5}, "each has its own until"),
        ({"stages": [{"components": [{"kind": "tpsa"}], "budget": 5}]}, "stages.0: .*'tpsa'"),
        ({"stages": [{"components": [], "budget": 5}]}, "components"),
        ({"stages": [{"components": [{"kind": "qed"}]}]}, "budget"),
        ({"cache": "x.sqlite"}, "cache has no effect"),
    ],
)
def test_stages_that_make_no_sense(options, says):
    with pytest.raises(ConfigError, match=says):
        Config(**{"stages": [stage()]} | options)
