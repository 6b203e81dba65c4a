"""A figure shows the numbers of the files, and the same files give the same picture."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ipsrl.errors import RunError
from ipsrl.grids import Config
from ipsrl.report.figures import as_png, learning_curves, terminal_distributions
from ipsrl.runs import Run

TOTAL_L1 = [0.9, 0.2, 0.5]


def distributions(dims: int, side: int, count: int) -> np.ndarray:
    p = np.random.default_rng(0).random((count, side**dims)).astype(np.float32)
    return p / p.sum(-1, keepdims=True)


def finished(directory, dims=2, side=3, floor=0.1, l1=TOTAL_L1):
    """A run directory as training leaves it, with numbers of our own."""
    run = Run.create(directory, Config(dims=dims, side=side, seeds=len(l1)))
    for drawn, factor in ((256, 4.0), (512, 1.0)):
        run.log(
            {"trajectories": drawn, "seed": seed, "total_l1": value and factor * value}
            for seed, value in enumerate(l1)
        )
    arrays = {}
    if any(l1):
        arrays["target"] = distributions(dims, side, 1)[0]
        arrays["terminal"] = distributions(dims, side, len(l1))
    run.finish({"total_l1": l1, "floor_l1": floor}, arrays)
    return directory


def panels(figure):
    return [axis for axis in figure.axes if axis.images]


def test_panels_are_the_target_and_the_median_seed_of_each_run(tmp_path):
    run = finished(tmp_path / "run")
    figure = terminal_distributions({"ours": run, "again": run})
    assert [axis.get_title() for axis in panels(figure)] == [
        "target", "ours\ntotal L1 0.500", "again\ntotal L1 0.500",
    ]  # fmt: skip
    target, ours, _ = (axis.images[0].get_array() for axis in panels(figure))
    arrays = Run.open(run).arrays()
    # State 3 x + y; the image has x to the right and y upwards, so pixel [y, x].
    np.testing.assert_array_equal(target, arrays["target"].reshape(3, 3).T)
    np.testing.assert_array_equal(ours, arrays["terminal"][2].reshape(3, 3).T)
    assert panels(figure)[0].images[0].origin == "lower"


def test_the_median_seed_is_among_those_that_did_not_diverge(tmp_path):
    figure = terminal_distributions({"ours": finished(tmp_path / "run", l1=[0.9, None, 0.2])})
    assert [axis.get_title() for axis in panels(figure)] == ["target", "ours\ntotal L1 0.900"]


def test_panels_share_one_scale(tmp_path):
    figure = terminal_distributions({"ours": finished(tmp_path / "run")})
    assert len({axis.images[0].get_clim() for axis in panels(figure)}) == 1


def test_more_dimensions_are_summed_out(tmp_path):
    run = finished(tmp_path / "run", dims=4)
    plane = panels(terminal_distributions({"ours": run}))[0].images[0].get_array()
    target = Run.open(run).arrays()["target"].reshape(3, 3, 3, 3)
    np.testing.assert_allclose(plane, target.sum((2, 3)).T, rtol=1e-6)  # float32 sums of 9
    assert plane.sum() == pytest.approx(1, rel=1e-6)


def test_one_dimension_is_a_row(tmp_path):
    run = finished(tmp_path / "run", dims=1, side=5)
    plane = panels(terminal_distributions({"ours": run}))[0].images[0].get_array()
    assert plane.shape == (1, 5)


def test_curves_are_medians_over_seeds_with_their_range(tmp_path):
    figure = learning_curves({"ours": finished(tmp_path / "run")})
    (axis,) = figure.axes
    curve, floor = axis.get_lines()
    np.testing.assert_array_equal(curve.get_xdata(), [256, 512])
    np.testing.assert_array_equal(curve.get_ydata(), [2.0, 0.5])
    assert curve.get_label() == "ours"
    np.testing.assert_array_equal(floor.get_ydata(), [0.1, 0.1])
    (band,) = axis.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert {0.2, 0.8, 0.9, 3.6} <= set(np.round(heights, 12))


def test_a_run_without_a_floor_has_no_dotted_line(tmp_path):
    (axis,) = learning_curves({"ours": finished(tmp_path / "run", floor=None)}).axes
    assert len(axis.get_lines()) == 1


@pytest.mark.parametrize("label", ["ours", "", "_hidden", "$x_$", "<b>"])
def test_any_label_can_be_drawn(label, tmp_path):
    runs = {label: finished(tmp_path / "run")}
    assert as_png(learning_curves(runs))
    assert as_png(terminal_distributions(runs))


def test_unknown_distances_leave_an_empty_picture(tmp_path):
    run = finished(tmp_path / "run", l1=[None, None], floor=None)
    assert learning_curves({"large": run}).axes[0].get_lines()[:] == []
    assert as_png(learning_curves({"large": run}))


def test_a_seed_whose_distance_is_unknown_once_is_left_out(tmp_path):
    """A diverged seed has no distance (JSON has no NaN), while the others go on."""
    run = finished(tmp_path / "run")
    rows = Run.open(run).metrics()
    rows[-1]["total_l1"] = None
    Run.open(run).metrics_path.write_bytes(b"")
    Run.open(run).log(rows)
    curve = learning_curves({"ours": run}).axes[0].get_lines()[0]
    np.testing.assert_allclose(curve.get_ydata(), [2.0, 0.55])  # (0.9 + 0.2) / 2


def test_the_median_is_of_the_seeds_that_have_a_distance_first(tmp_path):
    """One that diverged is further than any: of 0.2, 0.5 and it, the median is 0.5."""
    run = finished(tmp_path / "run")
    arrays = Run.open(run).arrays()
    Run.open(run).finish({"total_l1": [None, 0.2, 0.5], "floor_l1": 0.1}, arrays)
    figure = terminal_distributions({"ours": run})
    assert panels(figure)[1].get_title() == "ours\ntotal L1 0.500"


@pytest.mark.parametrize("draw", [learning_curves, terminal_distributions])
def test_the_same_files_give_the_same_valid_picture(draw, tmp_path):
    runs = {"ours": finished(tmp_path / "run")}
    png = as_png(draw(runs))
    assert as_png(draw(runs)) == png
    Image.open(BytesIO(png)).verify()  # reads every chunk and its checksum
    assert Image.open(BytesIO(png)).format == "PNG"
    other = {"ours": finished(tmp_path / "other", l1=[0.9, 0.3, 0.6])}
    assert as_png(draw(other)) != png


def test_an_unfinished_run_is_explained(tmp_path):
    Run.create(tmp_path / "run", Config())
    with pytest.raises(RunError, match="no run|has not ended"):
        terminal_distributions({"ours": tmp_path / "run"})
