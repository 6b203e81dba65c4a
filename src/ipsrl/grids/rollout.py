"""Trajectories, and the policy's log-probabilities along them.

Two ways with one interface.  `Everywhere` evaluates the policy once on all states, so that sampling
and every later question is table look-up.  `WhereVisited` evaluates it along the trajectories, for
environments with more states than a batch visits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ipsrl.core.losses import policy_entropy
from ipsrl.grids.environment import Environment, State, numbered
from ipsrl.grids.table import Table
from ipsrl.grids.walk import Rollout, Steps, anyone, led, walk, walk_back

_BLOCK = 256  # steps that are evaluated at once on the way back: their layers stay in the cache


Pullback = Callable[[Array], tuple[Any]]


class Explorer(NamedTuple):
    """The part that draws some samples of a batch instead of the policy."""

    log_probs: Callable[[Array], Array]  # of all actions, from the policy's, [..., A] to [..., A]
    rows_B: np.ndarray  # which trajectories


@runtime_checkable
class View(Protocol):
    """The set of states on which the policy is evaluated; `log_pi` is opaque but differentiable."""

    def sample(
        self, policy: Any, key: Key[Array, ""], batch: int, explorer: Explorer | None = None
    ) -> tuple[Array, Pullback, Rollout]:
        """`log_pi`, the pullback of its gradient to the policy, and a batch drawn from it."""
        ...

    def starts(self, batch: int) -> State:
        """The start state, once for each trajectory."""
        ...

    def evaluate(self, policy: Any, steps: Steps) -> tuple[Array, Pullback]:
        """`log_pi` of a policy, sufficient for these steps, and the pullback of its gradient."""
        ...

    def evaluate_back(self, policy: Any, steps: Steps) -> tuple[Array, Pullback]:
        """The same for a backward policy, over the moves that may have led to each state."""
        ...

    def taken(self, log_pi: Array, steps: Steps) -> Float[Array, "*M T B"]:
        """Log-probability of each action taken, 0 after the stop."""
        ...

    def taken_back(self, log_pb: Array, steps: Steps) -> Float[Array, "T B"]:
        """Log-probability, given each state, of the move that led to it; 0 at the start."""
        ...

    def entropy(self, log_pi: Array, steps: Steps) -> Float[Array, "T B"]:
        """Entropy of the policy in each state visited."""
        ...

    def divergence(self, log_pi: Array, log_old: Array, steps: Steps) -> Float[Array, "T B"]:
        """KL of a policy to another one in each state visited, over all actions."""
        ...

    def observations(self, steps: Steps) -> Int[Array, "T B D"]:
        """The observation of each visited state."""
        ...

    def walk_back(self, final_B: State, key: Key[Array, ""]) -> Steps:
        """Trajectories to these outcomes, drawn backward with equal chances for all parents."""
        ...

    def log_backward(self, steps: Steps) -> Float[Array, "T B"]:
        """The result of `taken_back` for that backward policy."""
        ...

    def rewards(self, final_B: State) -> Float[Array, " B"]:
        """Rewards R of outcomes."""
        ...

    def ids(self, final_B: State) -> Int[Array, " B"]:
        """Ids of outcomes."""
        ...

    def modes(self, final_B: State) -> Int[Array, " B"]:
        """Numbers of the modes of outcomes."""
        ...


class Everywhere:
    """All states are evaluated at once: a state is its number, and `log_pi` is a table [S, A]."""

    def __init__(self, table: Table) -> None:
        self.environment, self.table = table.environment, table
        self._rewards_S = jnp.asarray(table.rewards, jnp.float32)
        self._modes_S = jnp.asarray(table.modes)
        self._after = jnp.asarray(table.after.reshape(-1), jnp.int32)
        self._nearest = jnp.asarray(table.nearest_legal.reshape(-1), jnp.int32)
        self._legal_back = np.zeros((table.states, self.environment.actions - 1), bool)
        state, which = (table.parents < table.states).nonzero()
        self._legal_back[state, table.moves[state, which]] = True
        count_S = np.maximum(self._legal_back.sum(-1), 1)
        self._log_parents_S = jnp.asarray(np.log(count_S), jnp.float32)

    def sample(self, policy, key, batch, explorer=None):
        log_pi, pullback = jax.vjp(self._table, policy)
        thresholds_SA = others_SA = _thresholds(log_pi)
        if explorer is not None:
            others_SA = _thresholds(explorer.log_probs(log_pi))
        actions = self.environment.actions

        def act(state_B, uniform_B):
            thresholds_B = thresholds_SA[state_B]
            if explorer is not None:
                thresholds_B = jnp.where(explorer.rows_B[:, None], others_SA[state_B], thresholds_B)
            action_B = (uniform_B[:, None] > thresholds_B).sum(-1)
            return self._nearest[state_B * actions + action_B], ()

        def move(state_B, action_B):
            return self._after[state_B * actions + action_B]

        rollout, _ = walk(self.environment, key, self.starts(batch), act, move)
        return log_pi, pullback, rollout

    def starts(self, batch):
        return jnp.zeros(batch, jnp.int32)

    def evaluate(self, policy, steps):
        return jax.vjp(self._table, policy)

    def evaluate_back(self, policy, steps):
        return jax.vjp(lambda p: p.table(self.table.observations, self._legal_back), policy)

    def _table(self, policy):
        return policy.table(self.table.observations, self.table.legal)

    def taken(self, log_pi, steps):
        index = steps.states_TB * self.environment.actions + steps.actions_TB
        return jnp.where(steps.live_TB, log_pi.reshape(-1)[index], 0.0)

    def taken_back(self, log_pb, steps):
        moves, led_TB = led(steps)
        index = steps.states_TB * (self.environment.actions - 1) + moves
        return jnp.where(led_TB, log_pb.reshape(-1)[index], 0.0)

    def entropy(self, log_pi, steps):
        return policy_entropy(log_pi)[steps.states_TB]

    def divergence(self, log_pi, log_old, steps):
        return _divergence(log_pi, log_old)[steps.states_TB]

    def observations(self, steps):
        return jnp.asarray(self.table.observations)[steps.states_TB]

    def walk_back(self, final_B, key):
        parents = jnp.asarray(self.table.parents, jnp.int32)
        moves = jnp.asarray(self.table.moves, jnp.int32)
        count_S = jnp.asarray((self.table.parents < self.table.states).sum(-1))

        def undo(state_B, uniform_B):
            which_B = (uniform_B * count_S[state_B]).astype(jnp.int32)
            which_B = jnp.minimum(which_B, jnp.maximum(count_S[state_B] - 1, 0))
            return parents[state_B, which_B], moves[state_B, which_B], count_S[state_B] > 0

        return walk_back(self.environment, key, final_B, undo)

    def log_backward(self, steps):
        return -jnp.where(led(steps)[1], self._log_parents_S[steps.states_TB], 0.0)

    def rewards(self, final_B):
        return self._rewards_S[final_B]

    def ids(self, final_B):
        return final_B

    def modes(self, final_B):
        return self._modes_S[final_B]


class WhereVisited:
    """States are evaluated along the trajectories; `log_pi` is [T, B, A], one row per step."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._legal = jax.vmap(environment.legal)
        self._legal_back = jax.vmap(environment.legal_back)
        self._observe = jax.vmap(environment.observe)
        self._step = jax.vmap(environment.step)

    def sample(self, policy, key, batch, explorer=None):
        def act(state_B, uniform_B):
            legal, observed = self._legal(state_B), self._observe(state_B)
            log_pi = ours = policy.at(observed, legal)
            if explorer is not None:
                ours = jnp.where(explorer.rows_B[:, None], explorer.log_probs(log_pi), log_pi)
            action_B = (uniform_B[:, None] > _thresholds(ours)).sum(-1)
            last_B = self.environment.actions - 1 - jnp.argmax(legal[:, ::-1], axis=-1)
            allowed = jnp.take_along_axis(legal, action_B[:, None], -1)[:, 0]
            return jnp.where(allowed, action_B, last_B), (observed, legal, log_pi)

        rollout, kept = walk(self.environment, key, self.starts(batch), act, self._step)
        observed_TB, legal_TB, log_pi = kept
        pullback = _pullback(policy, observed_TB, legal_TB, rollout.steps.live_TB)
        return log_pi, pullback, rollout

    def evaluate(self, policy, steps):
        return self._evaluate(policy, steps.states_TB, self._legal, steps.live_TB)

    def evaluate_back(self, policy, steps):
        return self._evaluate(policy, steps.states_TB, self._legal_back, led(steps)[1])

    def _evaluate(self, policy, states_TB, legal, live_TB):
        observed_TB, legal_TB = jax.vmap(self._observe)(states_TB), jax.vmap(legal)(states_TB)
        log_pi = policy.at(observed_TB, legal_TB)
        return log_pi, _pullback(policy, observed_TB, legal_TB, live_TB)

    def starts(self, batch):
        start = jax.tree.map(jnp.asarray, self.environment.start())
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), start)

    def taken(self, log_pi, steps):
        return jnp.where(steps.live_TB, _at(log_pi, steps.actions_TB), 0.0)

    def taken_back(self, log_pb, steps):
        moves_TB, led_TB = led(steps)
        return jnp.where(led_TB, _at(log_pb, moves_TB), 0.0)

    def entropy(self, log_pi, steps):
        return policy_entropy(log_pi)

    def divergence(self, log_pi, log_old, steps):
        return _divergence(log_pi, log_old)

    def observations(self, steps):
        return jax.vmap(self._observe)(steps.states_TB)

    def walk_back(self, final_B, key):
        def undo(state_B, uniform_B):
            legal = self._legal_back(state_B)
            rank = jnp.cumsum(legal, -1)  # of the allowed moves, from 1 on
            which_B = jnp.floor(uniform_B * rank[:, -1]).astype(rank.dtype)
            which_B = jnp.minimum(which_B, rank[:, -1] - 1)
            move_B = (rank <= which_B[:, None]).sum(-1)
            move_B = jnp.minimum(move_B, legal.shape[-1] - 1)
            return jax.vmap(self.environment.step_back)(state_B, move_B), move_B, legal.any(-1)

        return walk_back(self.environment, key, final_B, undo)

    def log_backward(self, steps):
        count_TB = jax.vmap(self._legal_back)(steps.states_TB).sum(-1)
        return -jnp.where(led(steps)[1], jnp.log(jnp.maximum(count_TB, 1)), 0.0)

    def rewards(self, final_B):
        return jax.vmap(self.environment.reward)(final_B)

    def ids(self, final_B):
        return outcome_numbers(self.environment, final_B)

    def modes(self, final_B):
        return jax.vmap(self.environment.mode)(final_B)


def outcome_numbers(environment: Environment, final_B: State) -> Int[Array, " B"]:
    """Ids of outcomes: their numbers if these fit 31 bits, else a hash of the observation.

    Two of N outcomes have the same hash with probability N^2 / 2^32: 1.5e-5 for 256.
    """
    if numbered(environment):
        return jax.vmap(environment.index)(final_B)
    observed = jax.vmap(environment.observe)(final_B).astype(jnp.uint32)
    mixed = jnp.full(observed.shape[:-1], 0x9E3779B9, jnp.uint32)
    for d in range(observed.shape[-1]):  # the finaliser of MurmurHash3 after every number
        mixed = mixed ^ (observed[..., d] + jnp.uint32(0x7F4A7C15) * (d + 1))
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
        mixed = mixed ^ (mixed >> 16)
    return (mixed >> 1).astype(jnp.int32)


def _at(rows: Float[Array, "*N A"], index: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """Select one entry of every row by a dense product, whose gradient is dense too."""
    chosen = index[..., None] == jnp.arange(rows.shape[-1])
    return jnp.where(chosen, rows, 0.0).sum(-1)


def _divergence(log_p: Float[Array, "*N A"], log_q: Float[Array, "*N A"]) -> Float[Array, "*N"]:
    """KL(p || q); illegal actions have p = 0."""
    return (jnp.exp(log_p) * (log_p - log_q)).sum(-1)


def _pullback(policy: Any, observed_TB: Array, legal_TB: Array, live_TB: Array) -> Pullback:
    """The pullback of a gradient of log-probabilities [T, B, A] to the policy.

    Most of a batch that is padded to the horizon has ended, so live steps are gathered in blocks,
    and evaluated again there: keeping the network's layers from the first time costs more.
    """

    def flat(part: Array) -> Array:
        return part.reshape(-1, *part.shape[2:])

    def pullback(gradient: Array) -> tuple[Any]:
        live = flat(live_TB)
        size = len(live)
        place = jnp.where(live, jnp.cumsum(live) - 1, size + _BLOCK)
        order = jnp.full(size + _BLOCK, size, jnp.int32)
        order = order.at[place].set(jnp.arange(size, dtype=jnp.int32), mode="drop")

        def block(carry: tuple[Array, Any]) -> tuple[Array, Any]:
            done, total = carry
            rows = jax.lax.dynamic_slice(order, (done,), (_BLOCK,))
            exists, rows = (rows < size)[:, None], jnp.minimum(rows, size - 1)
            observed, legal, slope = (flat(x)[rows] for x in (observed_TB, legal_TB, gradient))
            _, back = jax.vjp(lambda p: p.at(observed, legal), policy)
            update = back(jnp.where(exists, slope, 0.0))[0]
            return done + _BLOCK, jax.tree.map(jnp.add, total, update)

        nothing = jax.tree.map(jnp.zeros_like, policy)
        start, alive = jnp.zeros((), jnp.int32), live.sum()
        return (
            jax.lax.while_loop(lambda carry: anyone(carry[0] < alive), block, (start, nothing))[1],
        )

    return pullback


def _thresholds(log_pi: Float[Array, "*N A"]) -> Float[Array, "*N moves"]:
    """Cumulative probabilities; an action is the number of them that a uniform draw exceeds."""
    return jnp.cumsum(jnp.exp(log_pi), -1)[..., :-1]
