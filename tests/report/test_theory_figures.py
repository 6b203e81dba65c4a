"""The figures of the lattice and of the theorems show the numbers of their files."""

import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ipsrl.grids import Lattice, LatticeConfig
from ipsrl.report.figures import as_png
from ipsrl.report.lattice import figure_3, shares_of_a, variants
from ipsrl.report.theory import (
    CORNERS,
    finite_group_floor,
    log_ratio_slopes,
    simplex_trajectories,
)
from ipsrl.runs import Run

# P(A), P(B) of three seeds, at two moments
MASSES = {16: [(0.3, 0.1), (0.2, 0.2), (0.5, 0.3)], 32: [(0.9, 0.1), (0.2, 0.6), (0.3, 0.3)]}
SHARES = [0.9, 0.25, 0.5]  # .9/1, .2/.8, .3/.6; the median is the third seed


def policies(count=3):
    """Legal policies in the free geometry, one per seed."""
    rng = np.random.default_rng(0)
    policy = np.where(Lattice().legal, rng.random((count, 64, 3)), 0)
    return (policy / policy.sum(-1, keepdims=True)).astype(np.float32)


def finished(directory, masses=MASSES):
    run = Run.create(directory, LatticeConfig(seeds=3))
    for drawn, seeds in masses.items():
        run.log(
            {"trajectories": drawn, "seed": seed, "mode_mass": list(mass)}
            for seed, mass in enumerate(seeds)
        )
    run.finish({"total_l1": [0.5] * 3}, {"policy": policies(), "target": Lattice().target})
    return directory


def words(axis):
    return {text.get_text(): text.get_position() for text in axis.texts}


# --- lattice --------------------------------------------------------------------------------------


def test_shares_are_those_of_the_last_moment(tmp_path):
    np.testing.assert_allclose(shares_of_a(finished(tmp_path / "run")), SHARES)


def test_arrows_are_the_policy_of_the_median_seed(tmp_path):
    run = finished(tmp_path / "run")
    figure = figure_3(run, run)
    field = figure.axes[0]
    (quiver,) = field.collections
    assert len(quiver.X) == 28  # 1 + 2 + ... + 7 cells with x + y < 7
    for x, y, right, up in zip(quiver.X, quiver.Y, quiver.U, quiver.V, strict=True):
        np.testing.assert_allclose([right, up], policies()[2, int(x) * 8 + int(y), :2], rtol=1e-6)


def test_counts_of_paths_and_ends_are_written_on_the_field(tmp_path):
    run = finished(tmp_path / "run")
    field = figure_3(run, run).axes[0]
    near = {}
    for text in field.texts:
        x, y = text.get_position()
        if text.get_text().isdigit():
            near[round(x), round(y)] = int(text.get_text())
    assert near == {(x, y): math.comb(x + y, x) for x in range(8) for y in range(8 - x)}
    assert (near[4, 3], near[6, 1]) == (35, 7)
    p = np.asarray(Lattice().terminal_distribution(np.log(policies()[2] + 1e-30)))
    told = {text.split(": ")[0]: float(text.split(": ")[1]) for text in words(field) if ":" in text}
    assert told == {
        "A, 35 paths": pytest.approx(p[4 * 8 + 3], abs=0.005),
        "B, 7 paths": pytest.approx(p[6 * 8 + 1], abs=0.005),
    }  # fmt: skip


def test_frequencies_are_medians_with_the_range_of_all_seeds(tmp_path):
    run = finished(tmp_path / "run")
    panel = figure_3(run, run).axes[1]
    for mode, line in enumerate(panel.get_lines()):
        np.testing.assert_array_equal(line.get_xdata(), [16, 32])
        seeds = np.array([[mass[mode] for mass in MASSES[t]] for t in (16, 32)])
        np.testing.assert_allclose(line.get_ydata(), np.median(seeds, axis=1))
        heights = panel.collections[mode].get_paths()[0].vertices[:, 1]
        assert set(np.round([seeds.min(1), seeds.max(1)], 9).ravel()) == set(np.round(heights, 9))
    assert [line.get_label() for line in panel.get_lines()] == ["A, median", "B, median"]


def test_each_method_has_its_own_row(tmp_path):
    one = finished(tmp_path / "one")
    other = finished(tmp_path / "other", {16: [(0.1, 0.7)] * 3})
    axes = figure_3(one, other).axes
    assert [axis.get_title().split(":")[0] for axis in axes] == [
        "(a) GRPO", "(d) GRPO", "(b) IPS-GRPO", "(c) IPS-GRPO",
    ]  # fmt: skip
    assert axes[1].get_lines()[1].get_ydata()[-1] == pytest.approx(0.3)
    assert axes[3].get_lines()[1].get_ydata()[-1] == pytest.approx(0.7)


def test_variants_have_one_dot_per_seed(tmp_path):
    runs = {"first": finished(tmp_path / "1"), "second": finished(tmp_path / "2")}
    (axis,) = variants(runs).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second"]
    for height, line in enumerate(axis.get_lines()):
        np.testing.assert_allclose(line.get_xdata(), SHARES)
        assert set(line.get_ydata()) == {height}


# --- theorems -------------------------------------------------------------------------------------


@pytest.fixture
def flows(tmp_path):
    rng = np.random.default_rng(1)
    times = np.linspace(0, 5, 51)
    p = rng.dirichlet(np.ones(3), (2, 51))
    arrays = {"times": times, "rewards": np.array([1.0, 2.0, 1.0]), "IPS/p": p, "other/p": p[:1],
              "IPS/end": np.array([0.25, 0.5, 0.25])}  # fmt: skip
    for pair in ("01", "02", "12"):
        arrays[f"IPS/measured/{pair}"] = rng.random(51)
        arrays[f"IPS/predicted/{pair}"] = rng.random(51)
    save_file(arrays, tmp_path / "flows.safetensors")
    return arrays, tmp_path / "flows.safetensors"


def test_slopes_are_lines_where_measured_and_dots_where_predicted(flows):
    arrays, path = flows
    (axis,) = log_ratio_slopes(path).axes
    assert axis.get_title() == "IPS"
    for n, pair in enumerate(("01", "02", "12")):
        line, dots = axis.get_lines()[2 * n : 2 * n + 2]
        np.testing.assert_array_equal(line.get_xdata(), arrays["times"][1:])
        np.testing.assert_array_equal(line.get_ydata(), arrays[f"IPS/measured/{pair}"][1:])
        chosen = np.searchsorted(arrays["times"], dots.get_xdata())
        np.testing.assert_array_equal(dots.get_ydata(), arrays[f"IPS/predicted/{pair}"][chosen])
        assert line.get_label() == f"log p{int(pair[0]) + 1}/p{int(pair[1]) + 1}"
        assert line.get_color() == dots.get_color()


def test_trajectories_are_the_files_in_the_plane_of_the_simplex(flows):
    arrays, path = flows
    figure = simplex_trajectories(path)
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert set(panels) == {"IPS", "other"}
    drawn = [line.get_xydata() for line in panels["IPS"].get_lines()]
    for p in arrays["IPS/p"]:
        assert any(xy.shape == (51, 2) and np.allclose(xy, p @ CORNERS) for xy in drawn)
    points = {line.get_label(): line.get_xydata() for line in panels["IPS"].get_lines()}
    # r / R = (1/4, 1/2, 1/4) lies at 1/2 (1, 0) + 1/4 (1/2, sqrt(3)/2)
    np.testing.assert_allclose(points["r / R"], [[0.625, 3**0.5 / 8]])
    np.testing.assert_allclose(points["closed-form end"], [[0.625, 3**0.5 / 8]])
    assert "closed-form end" not in {line.get_label() for line in panels["other"].get_lines()}


def cell(size, eps, low, median, high):
    l1 = {"low": low, "median": median, "high": high}
    return {"group_size": size, "eps": eps, "total_l1": l1}


ROWS = [cell(16, 0.0, 0.9, 1.0, 1.2), cell(256, 0.0, 0.2, 0.25, 0.3), cell(256, 0.1, 0.7, 0.8, 1.0)]


@pytest.fixture
def floor(tmp_path):
    arrays = {
        "group_size": np.array([8, 64, 512]), "floor_of_group_size": np.array([1.5, 0.5, 0.1]),
        "eps": np.array([0.01, 0.1]), "floor_of_eps": np.array([0.4, 1.1]),
    }  # fmt: skip
    save_file(arrays, tmp_path / "floor.safetensors")
    return arrays, tmp_path / "floor.safetensors"


def test_the_floor_has_curves_and_trained_ranges(floor):
    arrays, path = floor
    by_size, by_eps = finite_group_floor(path, ROWS).axes
    for axis, key in ((by_size, "group_size"), (by_eps, "eps")):
        np.testing.assert_array_equal(axis.get_lines()[0].get_xdata(), arrays[key])
        np.testing.assert_array_equal(axis.get_lines()[0].get_ydata(), arrays[f"floor_of_{key}"])
    dots, _, (bars,) = by_size.containers[0]
    np.testing.assert_array_equal(dots.get_xydata(), [[16, 1.0], [256, 0.25]])
    ranges = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ranges, [[0.9, 1.2], [0.2, 0.3]])
    dots, _, _ = by_eps.containers[0]
    np.testing.assert_array_equal(dots.get_xydata(), [[0.1, 0.8]])


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["figure-3", "variants", "slopes", "simplex", "floor"])
def test_the_same_files_give_the_same_valid_picture(name, flows, floor, tmp_path):
    run = finished(tmp_path / "run")

    def draw():
        return {
            "figure-3": lambda: figure_3(run, run),
            "variants": lambda: variants({"only": run}),
            "slopes": lambda: log_ratio_slopes(flows[1]),
            "simplex": lambda: simplex_trajectories(flows[1]),
            "floor": lambda: finite_group_floor(floor[1], ROWS),
        }[name]()

    png = as_png(draw())
    assert as_png(draw()) == png
    Image.open(BytesIO(png)).verify()  # reads every chunk and its checksum
    assert Image.open(BytesIO(png)).format == "PNG"
    assert len(np.unique(np.asarray(Image.open(BytesIO(png)).convert("L")))) > 10
