"""Policies on a grid, away from uniform, so that a mix-up of states or actions shows."""

import jax

from ipsrl.grids.grid import Grid
from ipsrl.grids.policy import MLPPolicy, TabularPolicy


def policy_of(kind: str, grid: Grid, seed: int = 0) -> MLPPolicy | TabularPolicy:
    """A policy of this kind, "mlp" or "tabular"."""
    if kind == "mlp":
        return jax.tree.map(lambda x: 3 * x, MLPPolicy(grid, 16, jax.random.key(seed)))
    logits = jax.random.normal(jax.random.key(seed), (grid.states, grid.actions))
    return jax.tree.map(lambda _: logits, TabularPolicy(grid))
