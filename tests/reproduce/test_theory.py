"""`ipsrl reproduce theory`: arrays, table and page say the same as the runs."""

import json
import statistics

import numpy as np
import pytest
from helpers import SIGMAS
from safetensors.numpy import load_file

from ipsrl.core.floor import floor_l1, stationary_distribution
from ipsrl.grids import Config, HyperGrid
from ipsrl.reproduce import reproduce, theory
from ipsrl.runs import Run

TOY = {"policy": "tabular", "group_size": 8, "batch": 8, "iterations": 4, "eval_every": 2,
       "checkpoint_every": 4, "seeds": 3, "lr": 0.1}  # fmt: skip

CLIPS = {
    "hypergrid/group-size": {"8x8-0008": {}},
    "hypergrid/eps": {"8x8-eps0.1": {"eps": 0.1, "group_size": 256, "batch": 256}},
}


@pytest.fixture(scope="module")
def theorems(compiled, tmp_path_factory):
    """Small configurations in place of the shipped ones; everything behind them is real."""
    root, out = tmp_path_factory.mktemp("configs"), tmp_path_factory.mktemp("theory")
    for folder, cells in CLIPS.items():
        (root / folder).mkdir(parents=True)
        for name, changes in cells.items():
            (root / folder / f"{name}.toml").write_text(Config(**{**TOY, **changes}).dump())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theory, "shipped_configs", lambda f: sorted((root / f).glob("*.toml")))
        patch.setattr(theory, "WRONG_ANSWERS", {"three right": (2.0, 3, 1.0)})
        patch.setattr(theory, "WALKS", ((8, 0.4), (32, 0.8)))
        reproduce("theory", "paper", out)
    return out


def test_theory_leaves_a_figure_per_statement(theorems, pictures):
    assert pictures(theorems) == {
        "index-slopes.png", "index-simplex.png", "index-floor.png", "index-ties.png",
    }  # fmt: skip
    assert (theorems / "index.html").read_text().count('"src":"data:image/png;base64,') == 4


def test_the_integrated_flows_obey_the_theorems(theorems):
    arrays = load_file(theorems / "flows.safetensors")
    assert {key.split("/")[0] for key in arrays if key.endswith("/p")} == set(theory.FLOWS)
    wanted = arrays["rewards"] / arrays["rewards"].sum()
    for name, flow in theory.FLOWS.items():
        p = arrays[f"{name}/p"]
        assert p.shape == (12, len(arrays["times"]), 3)
        np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-12)
        if f"{name}/end" in arrays:
            np.testing.assert_array_equal(arrays[f"{name}/end"], flow.stationary())
            away = np.abs(p - arrays[f"{name}/end"]).sum(-1)
            # Under expected return rare outcomes come back slowly, at a rate of beta p.
            assert (away[:, -1] < 0.2 * away[:, 0]).all()
            assert away[:, -1].max() < (1e-6 if flow.alpha == 1 else 0.05)
    np.testing.assert_allclose(arrays["4: IPS (Theorem 4.1)/end"], wanted)
    assert "1: expected return (Theorem 3.1)/end" not in arrays


@pytest.mark.parametrize("theorem", ["1: expected return (Theorem 3.1)", "4: IPS (Theorem 4.1)"])
def test_measured_slopes_lie_on_the_predicted_ones(theorem, theorems):
    """The figure differentiates the path by second-order differences, good to about a percent."""
    arrays = load_file(theorems / "flows.safetensors")
    for pair in ("01", "02", "12"):
        measured = arrays[f"{theorem}/measured/{pair}"]
        predicted = arrays[f"{theorem}/predicted/{pair}"]
        assert np.abs(predicted).max() > 0.01
        assert np.abs(measured - predicted).max() < 0.02 * np.abs(predicted).max()


def test_the_predicted_floor_is_the_closed_form(theorems):
    arrays = load_file(theorems / "floor.safetensors")
    rewards = HyperGrid(2, 8).rewards
    for i in (0, 20, -1):
        size, eps = int(arrays["group_size"][i]), float(arrays["eps"][min(i, 30)])
        assert arrays["floor_of_group_size"][i] == floor_l1(rewards, size)
        assert arrays["floor_of_eps"][min(i, 30)] == floor_l1(rewards, 256, eps=eps)
    assert (np.diff(arrays["floor_of_group_size"]) < 1e-6).all()
    assert (np.diff(arrays["floor_of_eps"]) > -1e-6).all()


def test_the_trained_rows_are_those_of_the_runs(theorems):
    rows = {row["cell"]: row for row in json.loads((theorems / "table.json").read_text())}
    assert list(rows) == ["8x8-0008", "8x8-eps0.1"]
    for cell, row in rows.items():
        run = Run.open(theorems / cell)
        config, l1 = run.config(Config), run.result()["total_l1"]
        assert (row["group_size"], row["eps"], row["seeds"]) == (config.group_size, config.eps, 3)
        floor = floor_l1(HyperGrid(2, 8).rewards, row["group_size"], eps=row["eps"])
        assert row["floor_l1"] == pytest.approx(floor, rel=1e-6)  # training has float32 rewards
        assert row["total_l1"] == {"median": statistics.median(l1), "low": min(l1), "high": max(l1)}


def test_the_table_of_success_tells_what_right_answers_keep(theorems):
    rows = json.loads((theorems / "success.json").read_text())
    assert [row["method"] for row in rows] == ["GRPO", "IPS", "IPS with success"]
    at_rest = stationary_distribution([2.0] * 3 + [1.0] * 7, 16)[:3].sum()
    assert [row["predicted"] for row in rows] == [None, at_rest, pytest.approx(1)]
    grpo, ips, success = rows
    # The standard deviation of GRPO is not in the closed form: within .05 (docs/theory.md).
    assert abs(ips["right"]["median"] - at_rest) < 0.05
    assert success["right"]["low"] > 0.9 > ips["right"]["high"]
    assert success["least_right"]["low"] > grpo["least_right"]["high"]
    for row in rows:
        assert row["seeds"] == 5
        assert row["right"]["low"] <= row["right"]["median"] <= row["right"]["high"]


def test_the_table_of_ties_is_what_noise_and_drift_do(theorems):
    rows = json.loads((theorems / "ties.json").read_text())
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        assert row["seeds"] == 200
        grpo = row["method"] == "GRPO"
        if row["case"] == "equal" and grpo:
            # the same path of ten points, by the rate at each and by what it gained
            assert abs(row["derived"] - row["gained"]) < SIGMAS * row["error"]
        elif row["case"] == "equal":
            assert row["gained"] < row["derived"] / 2  # IPS holds what noise alone would spread
            assert row["effective"] > 6.5
        else:  # drift leaves one outcome; IPS rests at two parts of nine and at its floor
            assert (row["effective"] < 1.5) == grpo
    arrays = load_file(theorems / "ties.safetensors")
    drawn = {key.rsplit("/", 1)[0] for key in arrays}
    assert "GRPO, unequal/drift alone" in drawn
    assert "GRPO, equal/rate at the start" in drawn
    walk = arrays["GRPO, equal/G = 8, lr = 0.4/effective"]
    assert walk[0] == pytest.approx(8)
    assert rows[0]["effective"] == pytest.approx(walk[-1])


def test_the_arrays_of_theory_are_the_same_each_time(theorems, tmp_path):
    from safetensors.numpy import save_file

    save_file(theory._integrate(), tmp_path / "again.safetensors")
    again, first = (
        load_file(tmp_path / "again.safetensors"),
        load_file(theorems / "flows.safetensors"),
    )
    assert again.keys() == first.keys()
    for key, values in first.items():
        np.testing.assert_array_equal(again[key], values)
