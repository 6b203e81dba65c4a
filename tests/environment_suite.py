"""What every environment must answer.  A new one subclasses the suite of what it is."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from policies import log_probs_of, policy_of

from ipsrl.grids import Enumerable, Environment, Summed, Table, check_environment
from ipsrl.grids.rollout import WhereVisited

FLOAT32_SUM = 2e-6  # sums of some hundred float32 products of probabilities


class EnvironmentSuite:
    """Laws of `Environment`."""

    environment: ClassVar[Any]

    def test_it_keeps_the_laws(self):
        assert isinstance(self.environment, Environment)
        check_environment(self.environment)


class EnumerableSuite(EnvironmentSuite):
    """Laws of `Enumerable`, for an environment of a few hundred states."""

    def test_it_is_one(self):
        assert isinstance(self.environment, Enumerable)

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
