import contextlib
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from ipsrl import METHODS, floor_l1, total_l1
from ipsrl.errors import ConfigError, RunError
from ipsrl.grids import Config, HyperGrid, train
from ipsrl.grids.config import EnvConfig, Learning
from ipsrl.grids.evaluation import Evaluation
from ipsrl.grids.loop import Loop
from ipsrl.grids.training import _check_diverged, _warn
from ipsrl.runs import Run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished run whose iterations are no multiple of the intervals."""
    config = Config(
        side=5, hidden=8, iterations=37, eval_every=5, checkpoint_every=10, batch=64,
        group_size=32, seeds=3, seed=7, lr=1e-2,
    )  # fmt: skip
    out = tmp_path_factory.mktemp("run") / "tiny"
    return config, train(config, out), Run.open(out)


def test_result_file_holds_what_train_returns(tiny):
    config, result, run = tiny
    assert run.result() == json.loads(json.dumps(vars(result)))
    assert result.trajectories == 37 * 64
    assert len(result.total_l1) == len(result.modes_found) == config.seeds
    assert set(result.trajectories_to) == {"0.3", "0.15", "0.05"}
    # 1e-6: training has rewards in float32
    assert result.floor_l1 == pytest.approx(floor_l1(HyperGrid(2, 5).rewards, 32), rel=1e-6)


def test_distances_agree_by_two_routes(tiny):
    config, result, run = tiny
    arrays = run.arrays()
    np.testing.assert_allclose(  # 1e-6: float32 sums over 25 states
        total_l1(arrays["terminal"] / arrays["terminal"].sum(-1, keepdims=True), arrays["target"]),
        result.total_l1, atol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(np.array(result.mean_l1) * 25, result.total_l1)
    last = [row["total_l1"] for row in run.metrics()[-config.seeds :]]
    assert last == result.total_l1


def test_metrics_have_one_line_per_evaluation_and_seed(tiny):
    _, _, run = tiny
    rows = run.metrics()
    expected = [5 * 64 * k for k in range(1, 8)] + [37 * 64]
    assert [row["trajectories"] for row in rows[::3]] == expected
    assert [row["seed"] for row in rows[:3]] == [7, 8, 9]
    # Of each group of 32 the sum over its outcomes: more than any mean of rewards, and less than
    # the sum over all 25 cells.
    rewards = HyperGrid(2, 5).rewards
    assert all(rewards.max() < row["ips/reward"] < rewards.sum() for row in rows)


def test_outcomes_are_counted_with_their_rewards(tiny):
    config, _, run = tiny
    table = pq.read_table(run.outcomes_path).to_pydict()
    steps = np.array(table["step"])
    assert sorted(set(table["step"])) == [10, 20, 30, 37]
    counts = np.array(table["count"])
    for step in set(table["step"]):
        assert counts[steps == step].sum() == config.seeds * config.batch
    rewards = HyperGrid(2, 5).rewards_of(np.array(table["outcome"]))
    np.testing.assert_allclose(table["mean_reward"], rewards)


def test_first_passage_times_are_those_of_the_metrics(tmp_path):
    config = Config(
        side=5, policy="tabular", estimator="exact", lr=0.1, iterations=300, batch=64,
        group_size=64, seeds=2, checkpoint_every=100,
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    rows = Run.open(tmp_path / "run").metrics()
    for threshold, reached in result.trajectories_to.items():
        for seed in range(2):
            below = [
                row["trajectories"]
                for row in rows
                if row["seed"] == seed and row["total_l1"] <= float(threshold)
            ]
            assert reached[seed] == (below[0] if below else None)
    assert all(result.trajectories_to["0.3"]), "the test needs a threshold that is reached"


def test_nothing_is_written_without_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(Config(side=3, hidden=4, iterations=2, batch=8, group_size=8, seeds=1))
    assert not list(tmp_path.iterdir())


def test_a_grid_too_large_to_enumerate_trains_on_visited_states(tmp_path):
    """8^7 is 2 million states: no table, no exact distance, but modes and rewards are seen."""
    config = Config(
        dims=7, hidden=8, estimator="likelihood", advantage_clip=5.0, iterations=4, eval_every=2,
        checkpoint_every=2, batch=32, group_size=32, seeds=2,
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert result.total_l1 == [None, None]
    assert result.floor_l1 is None
    assert result.modes_total == 128
    rows = Run.open(tmp_path / "run").metrics()
    assert all(1 <= row["effective_outcomes"] <= 32 for row in rows)
    assert not any("mode_mass" in row for row in rows)  # nor is it known
    assert all(np.isfinite(row["loss"]) and row["expected_reward"] > 0 for row in rows)


def test_methods_other_than_group_ips_have_no_floor(tmp_path):
    options = {"side": 3, "hidden": 4, "iterations": 1, "batch": 8, "group_size": 8, "seeds": 1}
    assert train(Config(method="grpo", **options), tmp_path / "run").floor_l1 is None
    assert "ips/reward" not in Run.open(tmp_path / "run").metrics()[0]  # nor a scaled reward
    assert train(Config(estimator="exact", **options)).floor_l1 is None


class Overflowing(Learning):
    """The modes pay 8e37, which over a share of 1/8 is more than float32 can hold."""

    title = property(lambda _: "a grid that overflows")

    def environment(self):
        return HyperGrid(2, 8, r2=8e37)


def test_a_seed_that_diverged_is_named_and_has_no_distance(tmp_path, capsys):
    """Seven in a hundred trajectories end in a mode, so among 16 some seeds have one."""
    config = Overflowing(
        policy="tabular", batch=8, group_size=8, seeds=5, iterations=2, eval_every=1,
        checkpoint_every=1,
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    assert 0 < len(result.diverged) < 5, "the test needs both"
    said, run = capsys.readouterr().err, Run.open(tmp_path / "run")
    for seed, last in enumerate(run.metrics()[-5:]):
        lost = seed in result.diverged
        assert (result.total_l1[seed] is None) == (result.sampled_l1[seed] is None) == lost
        assert (f"seed {seed} has diverged by iteration" in said) == lost
        assert (last["loss"] is None) == (last["expected_reward"] is None) == lost
    assert "NaN" not in run.metrics_path.read_text()


def test_a_run_ends_with_an_error_when_all_seeds_have_diverged():
    """The first of two evaluations loses seed 7, and the second loses seed 8."""
    config, ends = Config(method="tb", seed=7, seeds=2, lr=0.5), np.array([10, 20])
    lost = np.array([[True, True], [False, True]])
    with pytest.raises(RunError, match=r"all seeds .* by iteration 20: .*below 0.5.* all above 0"):
        _check_diverged(config, lost, np.array([True, False]), ends)
    earlier = _check_diverged(config, lost[:, :1], np.array([True, False]), ends)
    assert earlier.tolist() == [True, False]


ENVIRONMENT = """
from ipsrl.grids import HyperGrid


def make():
    return HyperGrid(1, 3)
"""


def test_a_run_goes_on_in_the_environment_that_it_began_in(tmp_path):
    file = tmp_path / "envs.py"
    file.write_text(ENVIRONMENT)
    config = EnvConfig(env=f"{file}:make", policy="tabular", batch=4, group_size=4, seeds=1)
    with Run.create(tmp_path / "run", config, config.inputs()) as run:
        run.checkpoint(500, {"carry.0": np.zeros((1, 2))})
    file.write_text(ENVIRONMENT.replace("3", "4"))
    with pytest.raises(RunError, match=r"other files .*envs\.py:make: \w{16}, now \w{16}"):
        train(config, tmp_path / "run", resume=True)
    file.write_text(ENVIRONMENT)  # what it imports may have changed
    with pytest.raises(RunError, match="parameters of other shapes"):
        train(config, tmp_path / "run", resume=True)


def test_a_small_group_is_warned_of(capsys):
    train(Config(hidden=4, iterations=1, batch=16, group_size=16, eps=0.05, seeds=1))
    warnings = capsys.readouterr().err
    assert "eps = 0.05 has no effect" in warnings
    assert "G - 1 = 15" in warnings


@pytest.mark.parametrize(("above", "warned"), [(None, True), (0.1, False)])
def test_what_is_not_right_is_not_warned_of(above, warned, capsys):
    config = Config(group_size=4, batch=4, seeds=1, eval_every=1, success_above=above)
    chunk = Evaluation(*[None] * len(Evaluation._fields))._replace(
        drawn=np.array([[[[0, 1, 1, 2]]]]), rewards=np.array([[[2.0, 2.0, 2.0, 0.1]]])
    )
    _warn(config, chunk, 1)
    assert ("Rewards differ by a factor of 20" in capsys.readouterr().err) == warned


def test_the_bar_of_a_terminal_says_that_it_compiles(tmp_path):
    terminal, stderr = os.openpty()
    words = [sys.executable, "-m", "ipsrl", "train", "hypergrid", "--side", "3"]
    words += ["--iterations", "2", "--seeds", "1", "--out", str(tmp_path / "run")]
    run = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, "TERM": "xterm"}
    )
    os.close(stderr)
    shown = b""
    with open(terminal, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # EIO: the end
        while part := screen.read(4096):
            shown += part
    assert run.wait() == 0
    first, _, last = shown.decode().rpartition("compiling")
    assert "100%" not in first
    assert "100% total L1" in last


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_from_finite_advantages(method):
    """Six steps of a tiny grid, in which the corners alone are right."""
    above = {"success_above": 0.3} if "success" in METHODS[method].reads else {}
    known = {"gapo_known": 4} if method == "gapo" else {}
    config = Config(
        method=method, side=3, policy="tabular", group_size=8, batch=16, seeds=1, iterations=6,
        eval_every=6, checkpoint_every=6, lr=0.05, **above, **known,
    )  # fmt: skip
    loop = Loop(config)
    seeds = jnp.arange(1)
    before = loop.init(seeds)
    after, evaluation = loop.run(before, seeds, 0)
    moved = [
        float(abs(a - b).max())
        for a, b in zip(
            jax.tree.leaves(before.learned.policy), jax.tree.leaves(after.learned.policy),
            strict=True,
        )
    ]  # fmt: skip
    assert all(np.isfinite(moved))
    assert max(moved) > 0
    shaped = method in ("ips-grpo", "dra", "unlikeliness")
    assert np.isfinite(evaluation.scaled_reward).all() == shaped


def test_visits_count_all_that_was_drawn_before():
    config = Config(
        method="ucb", side=3, group_size=8, batch=16, seeds=2, iterations=6, eval_every=6,
        checkpoint_every=6,
    )  # fmt: skip
    loop = Loop(config)
    carry = loop.init(jnp.arange(2))
    assert not carry.drawn_S.any()
    carry, _ = loop.run(carry, jnp.arange(2), 0)
    assert carry.drawn_S.sum(1).tolist() == [6 * 16, 6 * 16]


def test_visits_need_states_that_can_be_numbered():
    with pytest.raises(ConfigError, match=r"1000\^3 states.*method ucb"):
        Config(method="ucb", side=1000, dims=3)
