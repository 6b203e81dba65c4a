"""What every environment must answer.  A new one subclasses the suite of what it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from policies import log_probs_of, policy_of

from ipsrl.grids.environment import Enumerable, Environment, Summed
from ipsrl.grids.rollout import WhereVisited
from ipsrl.grids.table import Table

WALKS = 64  # half of which stop only where they must
FLOAT32_SUM = 2e-6  # sums of some hundred float32 products of probabilities


@dataclass(frozen=True)
class Walks:
    """Random legal walks, and what the environment says of each state: all [T, N, ...]."""

    states: Any
    actions: np.ndarray
    live: np.ndarray
    legal: np.ndarray
    back: np.ndarray
    seen: np.ndarray
    rewards: np.ndarray
    modes: np.ndarray

    @property
    def moves(self) -> np.ndarray:
        """Steps that lead to another one [T - 1, N]."""
        return self.live[1:]


@cache
def walks_of(environment: Environment) -> Walks:
    rng = np.random.default_rng(0)
    stop = environment.actions - 1
    asked = (environment.legal, environment.legal_back, environment.observe)
    asked += (environment.reward, environment.mode)
    ask = jax.jit(jax.vmap(lambda state: (state, *(answer(state) for answer in asked))))
    step = jax.jit(jax.vmap(environment.step))

    start = jax.tree.map(jnp.asarray, environment.start())
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (WALKS, *leaf.shape)), start)
    live, steps = np.ones(WALKS, bool), []
    for _ in range(environment.horizon):
        answers = jax.tree.map(np.asarray, ask(state))
        legal = answers[1]
        assert legal.any(-1)[live].all(), "a state without a legal action"
        weight = np.where(legal, rng.random(legal.shape), -1)
        weight[: WALKS // 2, stop] = np.where(legal[: WALKS // 2, stop], 0, -1)
        action = weight.argmax(-1)
        steps.append((answers, action, live))
        live = live & (action != stop)
        after = step(state, jnp.asarray(action, jnp.int32))
        state = jax.tree.map(lambda new, old, go=live: _where(go, new, old), after, state)
    assert not live.any(), "a walk that is longer than the horizon"
    together = jax.tree.map(lambda *parts: np.stack(parts), *steps)
    (states, *facts), actions, live = together
    return Walks(states, actions, live, *facts)


def _where(go: np.ndarray, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(go.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def rows_of(states: Any, chosen: np.ndarray) -> np.ndarray:
    """One row of integers per chosen state."""
    leaves = [leaf[chosen] for leaf in jax.tree.leaves(states)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], -1)


class EnvironmentSuite:
    """Laws of `Environment`."""

    environment: ClassVar[Any]

    def test_it_is_one(self):
        assert isinstance(self.environment, Environment)

    def test_every_walk_ends_within_the_horizon_and_only_by_stopping(self):
        """`walks_of` would not end, otherwise; here, that the longest needs all of it."""
        walks, stop = walks_of(self.environment), self.environment.actions - 1
        np.testing.assert_array_equal(
            walks.live[1:], walks.live[:-1] & (walks.actions[:-1] != stop)
        )
        assert walks.live.sum(0).max() <= self.environment.horizon

    def test_nothing_leads_to_the_start(self):
        environment = self.environment
        back = environment.legal_back(environment.start())
        assert back.shape == (environment.actions - 1,)
        assert not np.asarray(back).any()
        assert np.asarray(environment.legal(environment.start())).any()

    def test_the_way_back_of_every_step(self):
        """The move that led to a state is among those that may have, and undoing it leads back."""
        walks, moves = walks_of(self.environment), walks_of(self.environment).moves
        action = walks.actions[:-1][moves]
        assert walks.back[1:][moves][np.arange(len(action)), action].all()
        after = jax.tree.map(lambda leaf: jnp.asarray(leaf[1:][moves]), walks.states)
        undone = jax.jit(jax.vmap(self.environment.step_back))(after, jnp.asarray(action))
        undone = jax.tree.map(np.asarray, undone)
        every = np.ones(len(action), bool)
        before = jax.tree.map(lambda leaf: leaf[:-1], walks.states)
        np.testing.assert_array_equal(rows_of(undone, every), rows_of(before, moves))

    def test_every_way_back_leads_forward_again(self):
        """Whatever may have led to a state is legal there, and leads to the state."""
        environment, walks = self.environment, walks_of(self.environment)
        states = jax.tree.map(lambda leaf: jnp.asarray(leaf[walks.live]), walks.states)
        moves = jnp.arange(environment.actions - 1)

        def round_trip(state, move):
            before = environment.step_back(state, move)
            return environment.legal(before)[move], environment.step(before, move)

        every = jax.vmap(jax.vmap(round_trip, (None, 0)), (0, None))
        legal, again = jax.tree.map(np.asarray, jax.jit(every)(states, moves))
        state, move = walks.back[walks.live].nonzero()
        assert len(state), "the test needs states that a move leads to"
        assert legal[state, move].all()
        again = jax.tree.map(lambda leaf: leaf[state, move], again)
        here = jax.tree.map(lambda leaf: np.asarray(leaf)[state], states)
        every_row = np.ones(len(state), bool)
        np.testing.assert_array_equal(rows_of(again, every_row), rows_of(here, every_row))

    def test_states_that_differ_look_different(self):
        walks, (numbers, values) = walks_of(self.environment), self.environment.observation
        seen = walks.seen[walks.live]
        assert seen.shape[-1] == numbers
        assert (seen >= 0).all()
        assert (seen < values).all()
        states = rows_of(walks.states, walks.live)
        pairs = np.unique(np.concatenate([states, seen], -1), axis=0)
        assert len(pairs) == len(np.unique(states, axis=0)) == len(np.unique(seen, axis=0))

    def test_rewards_and_modes_of_outcomes(self):
        walks, modes = walks_of(self.environment), self.environment.modes
        ended = walks.live & (walks.actions == self.environment.actions - 1)
        assert ended.sum() == WALKS
        stoppable = walks.live & walks.legal[..., -1]
        assert np.isfinite(walks.rewards[stoppable]).all()
        assert (walks.rewards[stoppable] >= 0).all()
        assert np.issubdtype(walks.modes.dtype, np.integer)
        assert (walks.modes[stoppable] >= 0).all()
        assert (walks.modes[stoppable] <= modes).all()


class EnumerableSuite(EnvironmentSuite):
    """Laws of `Enumerable`, for an environment of a few hundred states."""

    def test_it_is_one(self):
        assert isinstance(self.environment, Enumerable)

    def test_states_are_numbered(self):
        environment = self.environment
        numbers = np.unique(np.linspace(0, environment.states - 1, 1000).astype(int))
        there_and_back = jax.vmap(lambda i: environment.index(environment.state(i)))
        np.testing.assert_array_equal(there_and_back(jnp.asarray(numbers)), numbers)
        start, first = environment.start(), environment.state(jnp.asarray(0))
        for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(first), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_parents_in_the_table_are_the_ways_back(self):
        environment, table = self.environment, Table(self.environment)

        def ways(index):
            state, moves = environment.state(index), jnp.arange(environment.actions - 1)
            before = jax.vmap(lambda move: environment.step_back(state, move))(moves)
            return environment.legal_back(state), jax.vmap(environment.index)(before)

        legal, before = jax.jit(jax.vmap(ways))(jnp.arange(table.states))
        state, move = (np.asarray(legal) & table.reachable[:, None]).nonzero()
        before = np.asarray(before)[state, move]
        kept = table.reachable[before]  # what cannot be reached leads nowhere
        ours = set(zip(state[kept], move[kept], before[kept], strict=True))
        child, which = (table.parents < table.states).nonzero()
        theirs = zip(child, table.moves[child, which], table.parents[child, which], strict=True)
        assert ours == set(theirs)
        assert kept.all(), "a way back from where no way leads: its P_B would be lost"

    def test_the_exact_distribution_is_that_of_samples(self):
        environment, table, size = self.environment, Table(self.environment), 20_000
        policy = policy_of("mlp", environment)
        p = np.asarray(table.terminal_distribution(log_probs_of(policy, table)), float)
        assert abs(p.sum() - 1) < FLOAT32_SUM
        _, _, rollout = WhereVisited(environment).sample(policy, jax.random.key(2), size)
        drawn = np.asarray(jax.vmap(environment.index)(rollout.final_B))
        share = np.bincount(drawn, minlength=table.states) / size
        # Five standard errors, once in two million cells; and a sample where p is hardly one.
        assert (abs(share - p) < 5 * np.sqrt(p * (1 - p) / size) + 2 / size).all()


class SummedSuite(EnumerableSuite):
    """Laws of `Summed`, which say what a table says."""

    def test_it_is_one(self):
        assert isinstance(self.environment, Enumerable)
        assert isinstance(self.environment, Summed)

    def test_rewards_are_counted(self):
        table = Table(self.environment)
        found = table.rewards[table.reachable & table.legal[:, -1]]
        rewards, counts = self.environment.reward_counts()
        expected: dict[float, float] = {}
        for reward, count in zip(rewards, counts, strict=True):
            key = float(np.float32(reward))
            expected[key] = expected.get(key, 0) + float(count)
        values, times = np.unique(found.astype(np.float32), return_counts=True)
        ours = {float(value): int(n) for value, n in zip(values, times, strict=True)}
        assert ours == {key: count for key, count in expected.items() if count}
        np.testing.assert_allclose(rewards @ counts, table.rewards.sum(), rtol=FLOAT32_SUM)
