"""Measures of a policy: exact if all states can be visited, else from its samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipsrl.core.metrics import effective_outcomes, sampling_floor, total_l1
from ipsrl.core.probability import group_frequency
from ipsrl.errors import InvalidInput
from ipsrl.grids.config import Learning
from ipsrl.grids.environment import Enumerable, Environment, State, Summed, numbered
from ipsrl.grids.explore import explored_rows
from ipsrl.grids.rollout import View
from ipsrl.grids.table import Table

SHARE = 0.2
"""Most of the work that exact evaluations may add to training."""
OUTCOMES, PATHS = 128, 4
"""Outcomes whose probability is estimated by importance, and trajectories back from each."""
WINDOW = 200_000
"""Last samples of a run that are compared with the target."""


class Evaluation(NamedTuple):
    """The record of one evaluation of one seed; NaN for unknown values."""

    total_l1: jax.Array  # exact
    importance_l1: jax.Array
    mode_mass: jax.Array
    modes_found: jax.Array  # with a tenth of their target mass, exact
    modes_visited: jax.Array  # by any trajectory so far
    effective_outcomes: jax.Array
    expected_reward: jax.Array
    loss: jax.Array  # NaN also if a parameter is not finite after it
    scaled_reward: jax.Array  # mean of the last batch, if the method changes rewards
    drawn: jax.Array  # ids of outcomes since the last evaluation; -1 for an explorer's
    rewards: jax.Array  # of the last batch
    cut: jax.Array  # whether any trajectory so far was longer than the horizon


class Evaluator:
    """Evaluates a policy exactly as often as the work allows, and from its samples in between.

    Attributes:
      exact_every: every how many evaluations an exact one comes; 0 for never.
    """

    def __init__(
        self, config: Learning, environment: Environment, table: Table | None, view: View
    ) -> None:
        self.config, self.environment, self.table, self.view = config, environment, table, view
        self.own = np.flatnonzero(~explored_rows(config))
        self.exact_every = 0
        if table is not None:
            # Passes over states: two for an evaluation, three per update for training.
            rows = min(table.states, environment.horizon * config.batch)
            training = 3 * config.epochs * config.eval_every * rows
            self.exact_every = math.ceil(2 * table.states / (SHARE * training))
        self.total = total_reward(environment, table, positive=config.needs_log)

    def __call__(
        self,
        learned: Any,
        final_B: State,
        visited: jax.Array,
        cut: jax.Array,
        told: jax.Array,
        drawn: jax.Array,
        number: jax.Array,
        last: jax.Array,
    ) -> Evaluation:
        """The evaluation with this number, from 1 on.

        Args:
          learned: all parameters, `policy` among them.
          final_B: outcomes of the last batch.
          visited: whether any trajectory ended in each mode.
          cut: see `Evaluation`.
          told: loss, and mean scaled reward, of the last batch [2].
          drawn: see `Evaluation`.
          last: whether no other follows.
        """
        policy = learned.policy
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(learned)]).all()
        given = {
            "modes_visited": visited[:-1].sum(),
            "loss": jnp.where(finite, told[0], jnp.nan),
            "scaled_reward": told[1],
            "drawn": drawn,
            "cut": cut,
            "rewards": self.view.rewards(final_B),
        }
        if not self.exact_every:
            return self._of_samples(policy, final_B, given, drawn)
        if self.exact_every == 1:
            return self._exact(policy, given)
        return jax.lax.cond(
            last | (number % self.exact_every == 0),
            lambda: self._exact(policy, given),
            lambda: self._of_samples(policy, final_B, given, drawn),
        )

    def behaviour(self, policy: Any) -> tuple[jax.Array, jax.Array]:
        """Exact terminal distribution [S], and the probabilities of all actions [S, A]."""
        table = self._table()
        log_pi = policy.table(table.observations, table.legal)
        return table.terminal_distribution(log_pi), jnp.exp(log_pi)

    def _table(self) -> Table:
        assert self.table is not None  # exact evaluations are made only with a table
        return self.table

    def _exact(self, policy: Any, given: dict[str, jax.Array]) -> Evaluation:
        table, modes = self._table(), self.environment.modes
        p_S, _ = self.behaviour(policy)
        p_S = p_S / p_S.sum()  # float32 rounding
        target_S = jnp.asarray(table.target, jnp.float32)
        mass = jnp.zeros(modes + 1).at[jnp.asarray(table.modes)].add(p_S)[:-1]
        wanted = np.bincount(table.modes, table.target, minlength=modes + 1)[:-1]
        wanted = jnp.asarray(wanted, jnp.float32)
        found = ((wanted > 0) & (mass >= 0.1 * wanted)).sum().astype(mass.dtype)
        return Evaluation(
            total_l1=total_l1(p_S, target_S),
            importance_l1=jnp.asarray(jnp.nan),
            mode_mass=mass,
            modes_found=found,
            effective_outcomes=effective_outcomes(p_S),
            expected_reward=p_S @ jnp.asarray(table.rewards, jnp.float32),
            **given,
        )

    def _of_samples(
        self, policy: Any, final_B: State, given: dict[str, jax.Array], drawn: jax.Array
    ) -> Evaluation:
        modes = self.environment.modes
        own_B = jax.tree.map(lambda leaf: leaf[self.own], final_B)
        size = len(self.own)
        share = jnp.zeros(modes + 1).at[self.view.modes(own_B)].add(1 / size)
        return Evaluation(
            total_l1=jnp.asarray(jnp.nan),
            importance_l1=self._by_importance(policy, own_B, drawn),
            mode_mass=share[:-1],
            modes_found=jnp.asarray(jnp.nan),
            effective_outcomes=jnp.exp(-jnp.log(group_frequency(self.view.ids(own_B))).mean()),
            expected_reward=self.view.rewards(own_B).mean(),
            **given,
        )

    def _by_importance(self, policy: Any, own_B: State, drawn: jax.Array) -> jax.Array:
        """Total L1 from p(o) of outcomes that the policy drew, by importance sampling.

            sum_o |p - p*| = 2 E_{o ~ p}[(1 - p*(o) / p(o))^+],
            p(o) ~ mean_k P_F(tau_k) / P_B(tau_k | o),   tau_k ~ P_B(. | o)

        The expectation is of values in [0, 1], so that 128 outcomes leave an error of about .05.
        Where P_F and P_B differ much, four trajectories make p(o) too small more often than too
        large, and the distance too small.
        """
        if self.total is None:
            return jnp.asarray(jnp.nan)
        several = jax.tree.map(lambda leaf: jnp.repeat(leaf[:OUTCOMES], PATHS, 0), own_B)
        seed = drawn.astype(jnp.uint32).sum()  # new samples each time
        steps = self.view.walk_back(several, jax.random.key(seed))
        log_pi, _ = self.view.evaluate(policy, steps)
        log_ratio = self.view.taken(log_pi, steps).sum(0) - self.view.log_backward(steps).sum(0)
        log_p = jax.nn.logsumexp(log_ratio.reshape(-1, PATHS), axis=-1) - jnp.log(PATHS)
        outcomes = jax.tree.map(lambda leaf: leaf[:OUTCOMES], own_B)
        target = self.view.rewards(outcomes) / self.total
        return 2 * jnp.maximum(1 - target * jnp.exp(-log_p), 0.0).mean()


def total_reward(
    environment: Environment, table: Table | None, *, positive: bool = False
) -> float | None:
    """Sum of the rewards of all outcomes; None if it is not known.

    Args:
      positive: whether every outcome must earn something.
    Raises:
      InvalidInput: for rewards that define no target, or are 0 where they may not be; for
        `reward_counts` that a table contradicts.
    """
    by_counts = None
    if isinstance(environment, Summed):
        levels, counts = (np.asarray(part, float) for part in environment.reward_counts())
        by_counts, levels = float(levels @ counts), levels[counts > 0]
    if table is not None:
        rewards, total = table.rewards[table.outcomes], table.rewards.sum()
    elif by_counts is not None:
        rewards, total = levels, by_counts
    else:
        return None
    if not (np.isfinite(rewards) & (rewards >= 0)).all() or not total > 0:
        raise InvalidInput(
            f"the outcomes that can be reached earn from {min(rewards):g} to {max(rewards):g}. "
            "The target is R / sum R, so let rewards be finite and at least 0, and one above 0."
        )
    # 1e-4: a table has rewards in float32.
    if by_counts is not None and not math.isclose(by_counts, total, rel_tol=1e-4):
        raise InvalidInput(
            f"reward_counts gives rewards that sum to {by_counts:g}, but those of all "
            f"outcomes sum to {total:g}. Return each reward, and how many outcomes have it."
        )
    if positive and (rewards == 0).any():
        raise InvalidInput(
            "an outcome that can be reached earns 0, which has no logarithm; tb, ppo and transform "
            "log need one. Let every outcome earn something, or use another method."
        )
    return float(total)


class Recent:
    """The last outcomes that one seed's policy drew, beside the target.

    Args:
      environment: whose outcomes have numbers, and whose rewards have a known sum.
      table: of its states, if there is one.
      rewards_of: R of numbers.
    """

    def __init__(
        self, environment: Enumerable, table: Table | None, rewards_of: Callable[[np.ndarray], Any]
    ) -> None:
        self.total = total_reward(environment, table)
        if table is not None:
            rewards, counts = np.unique(table.rewards, return_counts=True)
        else:
            rewards, counts = map(np.asarray, environment.reward_counts())  # type: ignore[attr-defined]
        self.p, self.counts = rewards / self.total, counts
        self._rewards_of = rewards_of
        self.ids = np.zeros(0, np.int32)

    def add(self, drawn: np.ndarray) -> None:
        """Add outcomes in the order in which they were drawn; -1 is left out."""
        drawn = drawn.reshape(-1)
        self.ids = np.concatenate([self.ids, drawn[drawn >= 0]])[-WINDOW:]

    def distance(self) -> tuple[float, float]:
        """Total L1 of their shares to the target, and its expectation for samples of the target."""
        found, counts = np.unique(self.ids, return_counts=True)
        size = len(self.ids)
        padded = np.zeros(1 << (len(found) - 1).bit_length(), np.int32)  # few shapes to compile
        padded[: len(found)] = found
        target = np.asarray(self._rewards_of(padded), float)[: len(found)] / self.total
        l1 = abs(counts / size - target).sum() + 1 - target.sum()
        return float(l1), sampling_floor(self.p, size, counts=self.counts)


def recent_of(environment: Environment, table: Table | None, seeds: int) -> list[Recent]:
    """A `Recent` for each seed; none if the target of a sample is not known."""
    if numbered(environment) and total_reward(environment, table) is not None:
        rewards = jax.jit(jax.vmap(lambda index: environment.reward(environment.state(index))))
        return [Recent(environment, table, rewards) for _ in range(seeds)]
    return []
