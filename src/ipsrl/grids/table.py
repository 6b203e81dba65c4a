"""All states of an environment at once, and exact distributions over its outcomes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ipsrl.errors import InvalidInput
from ipsrl.grids.config import TABLE_LIMIT
from ipsrl.grids.environment import Enumerable, Environment


class Table:
    """The answers of an enumerable environment for every state, row by row, as NumPy arrays.

    Attributes:
      legal: allowed actions [S, A].
      after: number of the next state [S, A]; the state itself for stop and for illegal actions.
      observations: [S, D].
      levels: states by the number of moves from the start, at most [levels, widest], padded with S.
      parents: states that a move leads here from [S, P], padded with S.
      moves: which move that is [S, P].
      reachable: whether a trajectory can come there [S].
      outcomes: whether one can stop there [S].
      rewards: R [S]; 0 where none can stop.
      modes: number of the mode [S]; that of none where none can stop.
    """

    def __init__(self, environment: Enumerable) -> None:
        self.environment, self.states = environment, environment.states

        def answers(index: Any) -> tuple[Any, ...]:
            state, moves = environment.state(index), jnp.arange(environment.actions - 1)
            after = jax.vmap(lambda move: environment.index(environment.step(state, move)))(moves)
            return (
                environment.legal(state),
                jnp.append(after, index),
                environment.observe(state),
                environment.reward(state),
                environment.mode(state),
                environment.index(state),
            )

        found = jax.jit(jax.vmap(answers))(jnp.arange(self.states))
        found = map(np.asarray, found)
        self.legal, after, self.observations, rewards, modes, numbers = found
        self.after = np.where(self.legal, after, np.arange(self.states)[:, None])
        self._trace()
        reached = (self.levels < self.states).nonzero()
        self.reachable = np.zeros(self.states, bool)
        self.reachable[self.levels[reached]] = True
        if (wrong := self.reachable & (numbers != np.arange(self.states))).any():
            number = int(wrong.argmax())
            raise InvalidInput(
                f"index(state({number})) is {numbers[number]}, but must be {number}: `state` and "
                "`index` of an environment are inverse, and a state has one number."
            )
        self.outcomes = self.reachable & self.legal[:, -1]
        self.rewards = np.where(self.outcomes, rewards, 0).astype(float)
        self.modes = np.where(self.outcomes, modes, environment.modes)

    def _trace(self) -> None:
        """Levels, parents and moves from the start; a state's level is the longest way to it."""
        size = self.states
        frontier, seen = np.zeros(1, int), np.zeros(size, bool)
        seen[0] = True
        edges = []  # (state, move, next)
        while len(frontier):
            state, move = self.legal[frontier, :-1].nonzero()
            state = frontier[state]
            after = self.after[state, move]
            if (wrong := (after < 0) | (after >= size)).any():
                raise InvalidInput(
                    f"a move leads to the index {after[wrong][0]}, but states is {size}, and an "
                    "index is less. Raise `states`, or mend `index`."
                )
            edges.append((state, move, after))
            frontier = np.unique(after[~seen[after]])
            seen[frontier] = True
        state, move, after = (np.concatenate(part) for part in zip(*edges, strict=True))

        order = np.argsort(after, kind="stable")
        state, move, after = state[order], move[order], after[order]
        count = np.bincount(after, minlength=size)
        rank = np.arange(len(after)) - (np.cumsum(count) - count)[after]
        self.parents = np.full((size, max(count.max(initial=0), 1)), size)
        self.moves = np.zeros_like(self.parents)
        self.parents[after, rank], self.moves[after, rank] = state, move

        levels, waiting, level = [], count.copy(), np.zeros(1, int)
        while len(level) and not count[0]:
            levels.append(level)
            here, taken = self.legal[level, :-1].nonzero()
            children = self.after[level[here], taken]
            np.subtract.at(waiting, children, 1)
            children = np.unique(children)
            level = children[waiting[children] == 0]
        if count[0] or sum(map(len, levels)) < seen.sum():
            raise InvalidInput(
                "the environment has a circle: a state can be reached from itself. Let every move "
                "lead to a new state, for example by counting the moves."
            )
        if len(levels) > self.environment.horizon:
            raise InvalidInput(
                f"horizon is {self.environment.horizon}, but a trajectory may have {len(levels)} "
                "actions, with its stop. Raise it."
            )
        width = max(map(len, levels))
        self.levels = np.full((len(levels), width), size)
        for depth, level in enumerate(levels):
            self.levels[depth, : len(level)] = level

    @cached_property
    def target(self) -> np.ndarray:
        """p* = R / sum R [S]."""
        return self.rewards / self.rewards.sum()

    @cached_property
    def nearest_legal(self) -> np.ndarray:
        """The action itself if it is allowed, else the last allowed one [S, A].

        Sampling by inversion needs it: a cumulative sum may round to just below 1.
        """
        actions = self.legal.shape[-1]
        last = actions - 1 - np.argmax(self.legal[:, ::-1], axis=-1)
        return np.where(self.legal, np.arange(actions), last[:, None])

    def terminal_distribution(self, log_pi_SA: Float[Array, "S A"]) -> Float[Array, " S"]:
        """Exact distribution of the final state under a policy, by dynamic programming.

            F(s) = sum_{parents s'} F(s') pi(s | s'),   F(start) = 1,   p(s) = F(s) pi(stop | s)

        Level by level, O(S P) work.  Differentiable, and traceable by `jax.jit` and `vmap`.

        Args:
          log_pi_SA: log-probabilities of the actions in every state [S, A].
        Returns:
          p [S], sums to 1.
        """
        pi = jnp.exp(log_pi_SA)
        padded = jnp.concatenate([pi, jnp.zeros((1, pi.shape[-1]), pi.dtype)])  # pad state S
        # A missing parent is the pad state, whose flow is 0.
        nobody = np.full((1, self.parents.shape[1]), self.states)
        parents = jnp.asarray(np.concatenate([self.parents, nobody]))
        moves = jnp.asarray(np.concatenate([self.moves, np.zeros_like(nobody)]))

        def step(flow, level):
            above = parents[level]  # [width, P]
            arriving = (flow[above] * padded[above, moves[level]]).sum(-1)
            return flow.at[level].set(jnp.where(level == self.states, 0.0, arriving)), None

        flow = jnp.zeros(self.states + 1, pi.dtype).at[0].set(1.0)
        flow, _ = jax.lax.scan(step, flow, jnp.asarray(self.levels[1:]))
        return flow[:-1] * pi[:, -1]


def table_of(environment: Environment) -> Table | None:
    """The table of an environment; None if its states have no numbers, or are too many."""
    if isinstance(environment, Enumerable) and environment.states <= TABLE_LIMIT:
        return Table(environment)
    return None
