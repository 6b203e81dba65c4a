"""Sums over equal ids, on which every frequency of outcomes is built."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import is_jax_array, is_numpy_array

from ipsrl.core.arrays import Array, placement

FEW_PAIRS = 2**14
FEW_PAIRS_OF_JAX = 2**22
"""So many comparisons are faster than sorting, which takes more steps; XLA sorts slowly."""


def sum_over_equal(xp: Any, ids: Array, among: Array, weights: Array) -> Array:
    """Sum the weights of all entries that have the same id.

        s_i = sum_j w_j 1[among_j = ids_i]

    Many are sorted, which puts equal ids side by side: time N log N and memory N, for N = I + J.

    Args:
      ids: integers [..., I].
      among: integers that count [..., J]; `ids` itself is faster than a copy of it.
      weights: floats of at least 32 bits [..., J].
    Returns:
      sums [..., I], in the dtype of the weights; 0 for ids that are not among those that count.
    """
    pairs = math.prod(ids.shape) * among.shape[-1]
    if pairs <= (FEW_PAIRS_OF_JAX if is_jax_array(ids) else FEW_PAIRS):
        same = xp.astype(ids[..., :, None] == among[..., None, :], weights.dtype)
        return xp.matmul(same, weights[..., None])[..., 0]
    if among is ids:
        return _sum_over_equal(xp, ids, weights)
    weightless = xp.zeros_like(ids, dtype=weights.dtype)
    together = xp.concat([ids, among], axis=-1)
    sums = _sum_over_equal(xp, together, xp.concat([weightless, weights], axis=-1))
    return sums[..., : ids.shape[-1]]


def _sum_over_equal(xp: Any, ids: Array, weights: Array) -> Array:
    *lead, size = ids.shape
    rows = xp.reshape(xp.arange(math.prod(lead), **placement(ids)), (*lead, 1))
    order = xp.argsort(ids, axis=-1) + size * rows  # positions among all ids of all rows
    ordered = xp.reshape(ids, (-1,))[order]
    changes = ordered[..., 1:] != ordered[..., :-1]
    runs = xp.cumulative_sum(changes, axis=-1, include_initial=True) + size * rows
    sums = _added(xp, runs, xp.reshape(weights, (-1,))[order])
    return xp.reshape(_added(xp, order, sums[runs]), ids.shape)


def _added(xp: Any, positions: Array, values: Array) -> Array:
    """Sums [N] of the values that have the same position, 0 <= position < N."""
    positions, values = xp.reshape(positions, (-1,)), xp.reshape(values, (-1,))
    if is_numpy_array(values):
        import numpy as np

        return np.bincount(positions, values, values.size).astype(values.dtype)
    zeros = xp.zeros_like(values)
    if is_jax_array(values):
        return zeros.at[positions].add(values)
    return zeros.scatter_add(0, positions, values)
