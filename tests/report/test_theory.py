"""The figures of the theorems show the numbers of their files."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from ipsrl.report.figures import as_png
from ipsrl.report.theory import (
    CORNERS,
    finite_group_floor,
    log_ratio_slopes,
    simplex_trajectories,
    ties_and_drift,
)


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


@pytest.fixture
def walks(tmp_path):
    arrays = {}
    for n, panel in enumerate(("GRPO, equal", "GRPO, unequal", "IPS, equal", "IPS, unequal")):
        for m, line in enumerate(("G = 8, lr = 0.2", "drift alone")):
            arrays[f"{panel}/{line}/time"] = np.array([0.0, 1.0, 2.0])
            arrays[f"{panel}/{line}/effective"] = np.array([8.0, 7.0 - n, 6.0 - n - m / 2])
    save_file(arrays, tmp_path / "ties.safetensors")
    return arrays, tmp_path / "ties.safetensors"


def test_ties_stand_above_and_drift_below(walks):
    arrays, path = walks
    axes = ties_and_drift(path).axes
    titles = [axis.get_title() for axis in axes]
    assert titles == [f"{name} rewards" for name in
                      ("GRPO, equal", "IPS, equal", "GRPO, unequal", "IPS, unequal")]  # fmt: skip
    for axis in axes:
        panel = axis.get_title().removesuffix(" rewards")
        for line in axis.get_lines():
            name = line.get_label()
            np.testing.assert_array_equal(line.get_ydata(), arrays[f"{panel}/{name}/effective"])
            assert (line.get_linestyle() == "--") == (name == "drift alone")
        assert ("noise" in axis.get_xlabel()) == panel.endswith(", equal")


@pytest.mark.parametrize("name", ["slopes", "simplex", "floor", "ties"])
def test_the_same_files_give_the_same_valid_picture(name, flows, floor, walks):
    def draw():
        return {
            "slopes": lambda: log_ratio_slopes(flows[1]),
            "simplex": lambda: simplex_trajectories(flows[1]),
            "floor": lambda: finite_group_floor(floor[1], ROWS),
            "ties": lambda: ties_and_drift(walks[1]),
        }[name]()

    png = as_png(draw())
    assert as_png(draw()) == png
    Image.open(BytesIO(png)).verify()  # reads every chunk and its checksum
    assert Image.open(BytesIO(png)).format == "PNG"
    assert len(np.unique(np.asarray(Image.open(BytesIO(png)).convert("L")))) > 10
