"""The figures of the lattice show the numbers of their runs."""

import math
from io import BytesIO

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ipsrl.grids import Lattice, LatticeConfig, Table
from ipsrl.report.figures import as_png
from ipsrl.report.lattice import figure_3, shares_of_a, variants
from ipsrl.runs import Run

# P(A), P(B) of three seeds, at two moments
MASSES = {16: [(0.3, 0.1), (0.2, 0.2), (0.5, 0.3)], 32: [(0.9, 0.1), (0.2, 0.6), (0.3, 0.3)]}
SHARES = [0.9, 0.25, 0.5]  # .9/1, .2/.8, .3/.6; the median is the third seed


def policies(count=3):
    """Legal policies in the free geometry, one per seed."""
    rng = np.random.default_rng(0)
    policy = np.where(Table(Lattice()).legal, rng.random((count, 64, 3)), 0)
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
    p = np.asarray(Table(Lattice()).terminal_distribution(jnp.log(policies()[2] + 1e-30)))
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


@pytest.mark.parametrize("name", ["figure-3", "variants"])
def test_the_same_files_give_the_same_valid_picture(name, tmp_path):
    run = finished(tmp_path / "run")

    def draw():
        return figure_3(run, run) if name == "figure-3" else variants({"only": run})

    png = as_png(draw())
    assert as_png(draw()) == png
    Image.open(BytesIO(png)).verify()  # reads every chunk and its checksum
    assert Image.open(BytesIO(png)).format == "PNG"
    assert len(np.unique(np.asarray(Image.open(BytesIO(png)).convert("L")))) > 10
