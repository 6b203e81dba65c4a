"""Exploration: samples that the policy would hardly draw, with weights that keep estimates right.

A share e of every group is drawn otherwise than by the policy pi, and everything is weighted as
drawn from the mixture of both:

    q(tau) = (1 - e) pi(tau) + e b(tau),   w(tau) = pi(tau) / q(tau) <= 1 / (1 - e)
    E_q[w f] = E_pi[f]  for any f

p is of the current policy, so counts, means and deviations are weighted, and a likelihood stays
P_F / P_B; the advantage of a sample is then multiplied by w.  With the likelihood estimator that is
w r / p^ = r P_B / q: what the policy draws too rarely, and b finds, no longer has a huge weight.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ipsrl.grids.config import Learning
from ipsrl.grids.environment import State
from ipsrl.grids.rollout import Explorer, View
from ipsrl.grids.walk import Rollout, Steps


def explorer_of(config: Learning) -> Explorer | None:
    """The explorer that draws instead of the policy; None if there is none.

    epsilon    b(a | s) = (1 - epsilon) pi(a | s) + epsilon / legal actions
    tempered   b(a | s) in proportion to pi(a | s)^(1 / temperature)
    """
    if config.explore == "epsilon":

        def log_probs(log_pi: Float[Array, "*N A"]) -> Float[Array, "*N A"]:
            legal = log_pi > -1e6  # others are at -1e9
            share = config.epsilon / legal.sum(-1, keepdims=True)
            mixed = jnp.log((1 - config.epsilon) * jnp.exp(log_pi) + share)
            return jnp.where(legal, mixed, log_pi)

    elif config.explore == "tempered":

        def log_probs(log_pi: Float[Array, "*N A"]) -> Float[Array, "*N A"]:
            return jax.nn.log_softmax(log_pi / config.temperature)

    else:
        return None
    return Explorer(log_probs, explored_rows(config))


def explored_rows(config: Learning) -> np.ndarray:
    """True for trajectories that the explorer draws [B]: the last of every group."""
    rank_B = np.arange(config.batch) % config.group_size
    return rank_B >= config.group_size - config.explored


def importance(
    log_pf_B: Float[Array, " B"], log_explorer_B: Float[Array, " B"], share: float
) -> Float[Array, " B"]:
    """w = pi / q of trajectories.

    Args:
      log_pf_B: log pi(tau).
      log_explorer_B: log b(tau).
      share: e.
    """
    ours, other = jnp.log1p(-share) + log_pf_B, jnp.log(share) + log_explorer_B
    return jnp.exp(log_pf_B - jnp.logaddexp(ours, other))


class Memory(NamedTuple):
    """The outcomes found so far with the highest rewards, padded with outcomes of reward 0.

    They are drawn in proportion to their reward, and a trajectory backward from each, so that
    b(tau) = R(o) / sum_memory R * P_B(tau | o).
    """

    states_M: State
    ids_M: Int[Array, " M"]
    rewards_M: Float[Array, " M"]

    @classmethod
    def empty(cls, size: int, like: State) -> Memory:
        """A memory of states like these [B, ...]."""
        states = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape[1:]), leaf.dtype), like)
        return cls(states, jnp.full(size, -1, jnp.int32), jnp.zeros(size))

    @property
    def is_empty(self) -> Bool[Array, ""]:
        """True while nothing that earns was found: there is no b."""
        return ~(self.rewards_M > 0).any()

    def with_found(self, final_B: State, ids_B: Array, rewards_B: Array) -> Memory:
        """The memory after these outcomes."""
        earlier = jnp.tril(ids_B[:, None] == ids_B, -1).any(-1)
        known = (ids_B[:, None] == self.ids_M).any(-1)
        rewards_B = jnp.where(earlier | known, 0.0, rewards_B)
        rewards, best = jax.lax.top_k(
            jnp.concatenate([self.rewards_M, rewards_B]), len(self.rewards_M)
        )

        def chosen(old: Array, new: Array) -> Array:
            return jnp.concatenate([old, new.astype(old.dtype)])[best]

        states = jax.tree.map(chosen, self.states_M, final_B)
        ids = jnp.where(rewards > 0, chosen(self.ids_M, ids_B), -1)
        return Memory(states, ids, rewards)

    def trajectories(self, view: View, key: Key[Array, ""], batch: int) -> Steps:
        """Trajectories to outcomes of the memory."""
        which_key, walk_key = jax.random.split(key)
        which_B = jax.random.categorical(which_key, jnp.log(self.rewards_M), shape=(batch,))
        return view.walk_back(jax.tree.map(lambda leaf: leaf[which_B], self.states_M), walk_key)

    def log_probs(self, ids_B: Array, log_pb_B: Array) -> Float[Array, " B"]:
        """log b of trajectories that end in these outcomes."""
        remembered = jnp.where(ids_B[:, None] == self.ids_M, self.rewards_M, 0.0).sum(-1)
        return jnp.log(remembered / self.rewards_M.sum()) + log_pb_B


def joined(rows_B: np.ndarray, ours: Rollout, theirs: Steps, ours_only: Array) -> Rollout:
    """A batch in which the chosen rows are replaced by other trajectories, one for each row.

    Args:
      ours_only: True to leave the batch as it is.
    """
    rows = np.flatnonzero(rows_B)

    def chosen(a: Any, b: Any) -> Any:
        return a.at[:, rows].set(jnp.where(ours_only, a[:, rows], b.astype(a.dtype)))

    steps = jax.tree.map(chosen, ours.steps, theirs)
    stopped_B = steps.live_TB.sum(0) - 1
    ends = jax.tree.map(
        lambda leaf: jnp.take_along_axis(
            leaf, stopped_B.reshape(1, -1, *(1,) * (leaf.ndim - 2)), 0
        )[0],
        steps.states_TB,
    )
    return Rollout(steps, ends)
