"""The hyper-grid of the paper's section 5.1: its rewards, its target, and exact probabilities.

A trajectory starts at the origin corner, adds 1 to one coordinate per step, and ends by stopping.
A state is one integer, row-major; action d < D adds 1 to coordinate d, action D stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class HyperGrid:
    """Grid of `side`^`dims` cells with the reward of Eq. 10.

        R(x) = R0 + R1 prod_i 1[|x_i| > 0.5] + R2 prod_i 1[0.6 < |x_i| < 0.8]

    with x rescaled to [-1, 1].  The indicators are computed with integers: in floating point, cells
    are misplaced wherever side - 1 is a multiple of 5.

    Attributes:
      dims: D >= 1.
      side: H >= 2 cells per dimension.
      r0: reward of every cell.
      r1: added in the corners.
      r2: added in the 2^D modes inside the corners.
    """

    dims: int
    side: int
    r0: float = 0.1
    r1: float = 0.5
    r2: float = 2.0

    @property
    def states(self) -> int:
        return self.side**self.dims

    @property
    def actions(self) -> int:
        return self.dims + 1

    @property
    def horizon(self) -> int:
        """Longest trajectory in actions: all the way to the far corner, and stop."""
        return self.dims * (self.side - 1) + 1

    @cached_property
    def strides(self) -> np.ndarray:
        """What each action adds to the state [A]; stopping adds 0."""
        return np.array([self.side ** (self.dims - 1 - d) for d in range(self.dims)] + [0])

    @cached_property
    def corner_1d(self) -> np.ndarray:
        """Where |x| > 0.5 on one axis [H]."""
        return 2 * self._offset > self.side - 1

    @cached_property
    def ring_1d(self) -> np.ndarray:
        """Where 0.6 < |x| < 0.8 on one axis [H]."""
        return (10 * self._offset > 6 * (self.side - 1)) & (10 * self._offset < 8 * (self.side - 1))

    @property
    def _offset(self) -> np.ndarray:
        return abs(2 * np.arange(self.side) - (self.side - 1))  # |x| (side - 1)

    @property
    def num_modes(self) -> int:
        """One mode per orthant, if the grid is fine enough to have the ring at all."""
        return 2**self.dims if self.ring_1d.any() else 0

    # Of any states [...], as NumPy or JAX arrays (xp).

    def coordinates_of(self, states, xp=np):
        """Coordinates [..., D]."""
        return states[..., None] // xp.asarray(self.strides[:-1]) % self.side

    def rewards_of(self, states, xp=np):
        """R [...]."""
        x = self.coordinates_of(states, xp)
        corner, ring = (xp.asarray(axis)[x].all(-1) for axis in (self.corner_1d, self.ring_1d))
        return self.r0 + self.r1 * corner + self.r2 * ring

    def modes_of(self, states, xp=np):
        """Mode [...], from 0 to num_modes - 1; num_modes for a state in no mode."""
        x = self.coordinates_of(states, xp)
        orthant = (2 * x > self.side - 1) @ xp.asarray(2 ** np.arange(self.dims))
        return xp.where(xp.asarray(self.ring_1d)[x].all(-1), orthant, self.num_modes)

    # Of all states, row by row.

    @cached_property
    def coordinates(self) -> np.ndarray:
        """Coordinates [S, D]."""
        return self.coordinates_of(np.arange(self.states))

    @cached_property
    def rewards(self) -> np.ndarray:
        """R [S]."""
        return self.rewards_of(np.arange(self.states))

    @cached_property
    def target(self) -> np.ndarray:
        """p* = R / sum R [S]."""
        return self.rewards / self.rewards.sum()

    @cached_property
    def legal(self) -> np.ndarray:
        """Allowed actions [S, A]; stopping always is."""
        return np.concatenate(
            [self.coordinates < self.side - 1, np.ones((self.states, 1), bool)], -1
        )

    @cached_property
    def levels(self) -> np.ndarray:
        """States by number of steps from the start [horizon, widest level], padded with S."""
        depth = self.coordinates.sum(-1)
        width = np.bincount(depth).max()
        levels = np.full((self.horizon, width), self.states)
        for level in range(self.horizon):
            members = np.flatnonzero(depth == level)
            levels[level, : len(members)] = members
        return levels

    def terminal_distribution(self, log_pi_SA):
        """Exact distribution of the final state under a policy, by dynamic programming.

            F(s) = sum_{parents s'} F(s') pi(s | s'),   F(origin) = 1,   p(s) = F(s) pi(stop | s)

        Level by level, O(S D) work.  Differentiable, and traceable by `jax.jit` and `vmap`.

        Args:
          log_pi_SA: log-probabilities of the actions in every state [S, A].
        Returns:
          p [S], sums to 1.
        """
        import jax
        import jax.numpy as jnp

        pi = jnp.exp(log_pi_SA)
        moves = jnp.concatenate([pi[:, :-1], jnp.zeros((1, self.dims), pi.dtype)])  # pad state S
        coordinates = np.concatenate([self.coordinates, np.zeros((1, self.dims), int)])
        # A missing parent is the pad state, whose flow is 0.
        parents = np.where(
            coordinates > 0, np.arange(self.states + 1)[:, None] - self.strides[:-1], self.states
        )
        parents = jnp.asarray(parents)

        def step(flow, level):
            above = parents[level]  # [width, D]
            arriving = (flow[above] * moves[above, jnp.arange(self.dims)]).sum(-1)
            return flow.at[level].set(jnp.where(level == self.states, 0.0, arriving)), None

        flow = jnp.zeros(self.states + 1, pi.dtype).at[0].set(1.0)
        flow, _ = jax.lax.scan(step, flow, jnp.asarray(self.levels[1:]))
        return flow[:-1] * pi[:, -1]
