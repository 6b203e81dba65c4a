"""What is measured of a policy, beside what is exact, counted by hand or simulated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import log_probs_of

from ipsrl import sampling_floor, total_l1
from ipsrl.grids import Config, HyperGrid, Table, train
from ipsrl.grids import evaluation as module
from ipsrl.grids.evaluation import Evaluator, Recent, recent_of, total_reward
from ipsrl.grids.policy import MLPPolicy, TabularPolicy
from ipsrl.grids.rollout import Everywhere, WhereVisited
from ipsrl.runs import Run


def test_the_distance_of_recent_samples_by_hand(monkeypatch):
    """Rewards .6 .1 .1 .6 of 1.4: the target is 6/14 1/14 1/14 6/14.

    Drawn 0 0 0 1: |3/4 - 3/7| + |1/4 - 1/14| + 1/14 + 3/7 = 9/28 + 5/28 + 1/2 = 1.
    Then 3 3, of which the last four keep 0 1 3 3: 5/28 + 5/28 + 2/28 + 2/28 = 1/2.
    """
    monkeypatch.setattr(module, "WINDOW", 4)
    grid = HyperGrid(1, 4)
    (recent,) = recent_of(grid, Table(grid), 1)
    recent.add(np.array([[0, -1], [0, 0], [-1, 1]]))
    l1, floor = recent.distance()
    assert l1 == pytest.approx(1, abs=1e-6)  # rewards in float32
    assert floor == pytest.approx(sampling_floor([6 / 14, 1 / 14, 1 / 14, 6 / 14], 4), rel=1e-5)
    recent.add(np.array([3, 3, -1]))
    assert recent.ids.tolist() == [0, 1, 3, 3]
    assert recent.distance()[0] == pytest.approx(0.5, abs=1e-6)


def test_a_grid_without_a_table_knows_the_sum_of_its_rewards():
    grid = HyperGrid(2, 8)
    assert total_reward(grid, Table(grid)) == pytest.approx(22.4, rel=1e-6)
    assert total_reward(grid, None) == pytest.approx(22.4)
    by_table, by_counts = (recent_of(grid, table, 1)[0] for table in (Table(grid), None))
    for recent in (by_table, by_counts):
        assert isinstance(recent, Recent)
        recent.add(np.arange(64))
    assert by_table.distance() == pytest.approx(by_counts.distance(), rel=1e-5)


def test_a_mode_without_target_mass_is_not_found():
    """Two modes of eight cells, and a third of none."""

    class OneMore(HyperGrid):
        modes = property(lambda _: 3)

    grid = OneMore(1, 8)
    config, table = Config(dims=1), Table(grid)
    evaluator = Evaluator(config, grid, table, Everywhere(table))
    others = ("modes_visited", "loss", "scaled_reward", "drawn", "cut", "rewards")
    uniform = TabularPolicy(grid.states, grid.actions)
    evaluation = jax.jit(evaluator._exact)(uniform, dict.fromkeys(others, jnp.zeros(())))
    # The nearer has 1/4 of all trajectories, and the other 1/128; the target of each is 13/34.
    assert evaluation.modes_found == 1


def test_the_distance_by_importance_is_near_the_exact_one():
    """8^4 cells, a policy as it starts, and the same policy with another reward: 1.5 and 1.9."""
    config = Config(dims=4, hidden=16, batch=256, estimator="likelihood")
    grid = config.environment()
    table, view = Table(grid), WhereVisited(grid)
    evaluator = Evaluator(config, grid, table, view)
    policy = MLPPolicy(grid.observation, grid.actions, 16, jax.random.key(0))

    @jax.jit
    def estimated(key):
        _, _, (_, final) = view.sample(policy, key, config.batch)
        drawn = view.ids(final)
        return evaluator._by_importance(policy, final, drawn)

    p = table.terminal_distribution(log_probs_of(policy, table))
    exact = float(total_l1(p, jnp.asarray(table.target, jnp.float32)))
    ours = np.array([estimated(jax.random.key(seed)) for seed in range(8)])
    assert ours.std() < 0.1  # .05 each for 128 outcomes
    assert abs(ours.mean() - exact) < 0.05


def test_exact_evaluations_come_as_often_as_their_work_allows(tmp_path):
    """S = 64, T B = 15 * 4 = 60 per update: 2 * 64 / (.2 * 3 * 60) = 3.6, so every fourth one.

    Of ten: the 4th, the 8th, and the last.
    """
    config = Config(
        hidden=4, iterations=10, eval_every=1, checkpoint_every=5, batch=4, group_size=4, seeds=2,
        estimator="likelihood",
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    rows = [row for row in Run.open(tmp_path / "run").metrics() if row["seed"] == 1]
    exact = [row["total_l1"] is not None for row in rows]
    assert exact == [number in (4, 8, 10) for number in range(1, 11)]
    assert rows[-1]["total_l1"] == result.total_l1[1]
    for number, (row, known) in enumerate(zip(rows, exact, strict=True), 1):
        assert ("importance_l1" not in row) == known
        assert (row["modes_found"] is not None) == known
        assert ("sampled_l1" in row) == (not known)
        if not known:
            assert row["sampled"] == 4 * number
            assert 0 <= row["importance_l1"] <= 2
            assert 0 < row["sampled_floor"] < 2
            assert 0 < row["sampled_l1"] < 2
            assert row["expected_reward"] > 0
            assert 1 <= row["effective_outcomes"] <= 4
            assert len(row["mode_mass"]) == 4
    visited = [row["modes_visited"] for row in rows]
    assert visited == sorted(visited)
    assert result.modes_visited[1] == visited[-1]


@pytest.mark.parametrize(
    ("options", "every"),
    [
        ({"batch": 256, "group_size": 256}, 1),  # as cheap as a twentieth of the training
        ({"batch": 4, "group_size": 4, "eval_every": 1}, 4),
        ({"batch": 4, "group_size": 4, "eval_every": 2}, 2),
        ({"batch": 4, "group_size": 4, "eval_every": 1, "epochs": 2}, 2),
        ({"dims": 8, "side": 8}, 0),  # 16 million states: no table
    ],
    ids=str,
)
def test_how_often_is_a_matter_of_work(options, every):
    config = Config(**{"estimator": "likelihood", "hidden": 4, **options})
    grid = config.environment()
    table = Table(grid) if grid.states < 2**20 else None
    assert Evaluator(config, grid, table, WhereVisited(grid)).exact_every == every
