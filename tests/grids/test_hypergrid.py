from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from ipsrl.grids import HyperGrid


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
    mass = np.bincount(modes, grid.target, minlength=grid.num_modes + 1)[:-1]
    assert grid.num_modes == len(mass) == 2**dims
    np.testing.assert_allclose(mass, mass[0])
    # A mode is where the full reward is.
    np.testing.assert_array_equal(modes < grid.num_modes, grid.rewards > 2.5)


def test_a_coarse_grid_has_no_modes():
    grid = HyperGrid(2, 3)  # |x| is 0 or 1
    assert grid.num_modes == 0
    assert (grid.modes_of(np.arange(9)) == 0).all()


def test_state_queries_agree_in_numpy_and_jax():
    grid = HyperGrid(3, 8)
    states = np.arange(grid.states)
    for query in (grid.coordinates_of, grid.rewards_of, grid.modes_of):
        np.testing.assert_allclose(query(states), query(jnp.asarray(states), jnp), rtol=1e-6)
