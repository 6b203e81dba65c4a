"""All trajectories of a small grid, one by one: the brute force that the tests compare with."""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipsrl.grids import HyperGrid, Table
from ipsrl.grids.walk import Rollout, Steps


@dataclass(frozen=True)
class AllTrajectories:
    """Every trajectory of a grid: states and actions [T, N], padded."""

    grid: HyperGrid
    table: Table
    steps: Steps
    final: np.ndarray

    def log_probs(self, log_pi_SA: jax.Array) -> jax.Array:
        """log P_F of every trajectory [N], written without the code under test."""
        per_step = log_pi_SA[self.steps.states_TB, self.steps.actions_TB]
        return (per_step * self.steps.live_TB).sum(0)

    def numbers(self, steps: Steps) -> np.ndarray:
        """Which of the trajectories these are [B]; each is known by its actions."""
        codes = _codes(steps)
        known = _codes(self.steps)
        order = np.argsort(known)
        found = order[np.minimum(np.searchsorted(known[order], codes), len(order) - 1)]
        np.testing.assert_array_equal(known[found], codes)
        live = np.asarray(steps.live_TB)
        states = np.asarray(steps.states_TB)
        np.testing.assert_array_equal(states[live], self.steps.states_TB[:, found][live])
        return found

    def groups(self, size: int):
        """Indices of every ordered group of that size [N^size, size]."""
        return np.array(list(itertools.product(range(len(self.final)), repeat=size)))

    def rollout(self, index) -> Rollout:
        steps = Steps(*(jnp.asarray(part)[:, index] for part in self.steps))
        return Rollout(steps, jnp.asarray(self.final, jnp.int32)[index])


def _codes(steps: Steps) -> np.ndarray:
    """Actions of each trajectory, the stop included, as digits of one integer [B]."""
    actions = np.where(steps.live_TB, np.asarray(steps.actions_TB, np.int64) + 1, 0)
    return (actions * 8 ** np.arange(len(actions))[:, None]).sum(0)


def enumerate_trajectories(grid: HyperGrid) -> AllTrajectories:
    found = []

    def extend(state, path):
        stop = [*path, (state, grid.dims)]
        found.append(stop)
        for d in range(grid.dims):
            if grid.coordinates[state][d] < grid.side - 1:
                extend(state + int(grid.strides[d]), [*path, (state, d)])

    extend(0, [])
    shape = (grid.horizon, len(found))
    states, actions, live = np.zeros(shape, int), np.full(shape, grid.dims), np.zeros(shape, bool)
    for n, path in enumerate(found):
        for t, (state, action) in enumerate(path):
            states[t, n], actions[t, n], live[t, n] = state, action, True
        states[len(path) :, n] = path[-1][0]
    final = np.array([path[-1][0] for path in found])
    return AllTrajectories(
        grid, Table(grid), Steps(states.astype(np.int32), actions.astype(np.int32), live), final
    )


@pytest.fixture(params=[(1, 4), (2, 2), (2, 3), (3, 2)], ids=lambda p: f"{p[1]}^{p[0]}")
def small(request) -> AllTrajectories:
    return enumerate_trajectories(HyperGrid(*request.param))


@pytest.fixture
def two_by_two() -> AllTrajectories:
    return enumerate_trajectories(HyperGrid(2, 2))


@pytest.fixture
def two_by_three() -> AllTrajectories:
    return enumerate_trajectories(HyperGrid(2, 3))
