from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from environment_suite import SummedSuite

from ipsrl.errors import InvalidInput
from ipsrl.grids import DeceptiveGrid, HyperGrid, Table


class TestHyperGrid(SummedSuite):
    environment = HyperGrid(2, 8)


class TestHyperGridInThree(SummedSuite):
    environment = HyperGrid(3, 4)


class TestDeceptiveGrid(SummedSuite):
    environment = DeceptiveGrid(2, 16)


class TestDeceptiveGridInThree(SummedSuite):
    environment = DeceptiveGrid(3, 6)


def test_rewards_of_the_paper_by_hand():
    """8x8: |x| = k/7 with k = 7 5 3 1.  Corner: 5/7, 1 > .5; ring: only .6 < 5/7 < .8.

    4 modes of .1 + .5 + 2 = 2.6, 4 * 3 other corner cells of .6, 48 cells of .1: 22.4 in all.
    """
    grid = HyperGrid(2, 8)
    values, counts = np.unique(np.round(grid.rewards, 12), return_counts=True)
    assert values.tolist() == [0.1, 0.6, 2.6]
    assert counts.tolist() == [48, 12, 4]
    assert grid.rewards.sum() == pytest.approx(22.4)
    assert grid.target.sum() == pytest.approx(1)


@pytest.mark.parametrize("side", range(2, 62))
def test_indicators_are_exact(side):
    """Against rational arithmetic; floats fail where side - 1 is a multiple of 5."""
    grid = HyperGrid(1, side, r0=0.0, r1=1.0, r2=10.0)
    for cell in range(side):
        x = abs(Fraction(2 * cell, side - 1) - 1)
        expected = (x > Fraction(1, 2)) + 10 * (Fraction(3, 5) < x < Fraction(4, 5))
        assert grid.rewards[cell] == expected


@pytest.mark.parametrize(("dims", "side"), [(1, 8), (2, 8), (2, 20), (3, 8), (4, 8)])
def test_modes_are_one_per_orthant_and_alike(dims, side):
    grid = HyperGrid(dims, side)
    modes = grid.modes_of(np.arange(grid.states))
    mass = np.bincount(modes, grid.target, minlength=grid.modes + 1)[:-1]
    assert grid.modes == len(mass) == 2**dims
    np.testing.assert_allclose(mass, mass[0])
    # A mode is where the full reward is.
    np.testing.assert_array_equal(modes < grid.modes, grid.rewards > 2.5)


@pytest.mark.parametrize(("dims", "side"), [(0, 8), (2, 1)])
def test_what_is_no_grid_is_refused(dims, side):
    with pytest.raises(InvalidInput, match=f"dims = {dims} and side = {side} do not make a grid"):
        HyperGrid(dims, side)


def test_a_coarse_grid_has_no_modes():
    grid = HyperGrid(2, 3)  # |x| is 0 or 1
    assert grid.modes == 0
    assert (grid.modes_of(np.arange(9)) == 0).all()


def test_state_queries_agree_in_numpy_and_jax():
    grid = HyperGrid(3, 8)
    states = np.arange(grid.states)
    for query in (grid.coordinates_of, grid.rewards_of, grid.modes_of):
        np.testing.assert_allclose(query(states), query(jnp.asarray(states), jnp), rtol=1e-6)


# --- the deceptive grid ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "side", "modes", "total"), [(4, 32, 1296, 61_558), (2, 256, 2601, 7_594.7)]
)
def test_the_deceptive_grid_is_the_published_one(dims, side, modes, total):
    """Modes: 6^4, and 51^2 with the authors' rounding of x = .6 (50^2 without).

    Totals were counted with the authors' code, to five digits.
    """
    grid = DeceptiveGrid(dims, side)
    assert grid.modes == modes
    rewards, counts = grid.reward_counts()
    assert rewards @ counts == pytest.approx(total, rel=1e-5)
    # At most one coordinate on the far side.
    assert counts.sum() == (side - 1) ** dims + dims * (side - 1) ** (dims - 1)
    assert counts[np.argmax(rewards)] == modes


def test_the_deceptive_grid_by_its_table():
    grid = DeceptiveGrid(2, 256)
    table = Table(grid)
    stoppable = table.reachable & table.legal[:, -1]
    assert stoppable.sum() == 255**2 + 2 * 255
    assert table.rewards.sum() == pytest.approx(7_594.7, rel=1e-5)
    assert (np.bincount(table.modes[stoppable], minlength=2602)[:-1] == 1).all()
    np.testing.assert_array_equal(table.modes[stoppable] < 2601, table.rewards[stoppable] > 2)


def test_the_deceptive_rewards_by_hand():
    """16 cells, |x| = k/15 with k = 15 13 11 ... 1: k <= 3 is the centre, k = 11 in the ring, and
    k = 9, x = .6, on the high side only.

    The cross of the centre: 16^2 - 12^2 cells of .10001; 3^2 modes of 2.00001.
    """
    grid = DeceptiveGrid(2, 16)
    values, counts = np.unique(np.round(grid.rewards, 12), return_counts=True)
    assert values.tolist() == [0.00001, 0.10001, 2.00001]
    assert counts.tolist() == [12**2 - 9, 16**2 - 12**2, 9]
    assert grid.rewards[0] == 1e-5
    ring = {tuple(cell) for cell in grid.coordinates[grid.rewards > 2]}
    assert ring == {(x, y) for x in (2, 12, 13) for y in (2, 12, 13)}


def test_the_far_side_of_the_deceptive_grid_is_an_end():
    """On 3 x 3 cells: (2, 0) may only stop and comes from (1, 0); (2, 2) is never reached."""
    grid = DeceptiveGrid(2, 3)
    table, far = Table(grid), 2 * 3
    assert table.legal[far].tolist() == [False, False, True]
    assert np.asarray(grid.legal_back(jnp.asarray(2 * 3 + 1))).tolist() == [True, False]
    assert sorted(np.flatnonzero(~table.reachable)) == [8]
    assert table.rewards[8] == 0 == table.target[8]
