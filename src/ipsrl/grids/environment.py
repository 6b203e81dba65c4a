"""What an environment answers.  Training knows nothing else of it.

A trajectory starts in one state, moves, and ends by the action stop, the last one: what is rewarded
is the state that it stopped in, its outcome.  All methods take one state and return one answer, in
JAX; training maps them over batches with `jax.vmap`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int

State = Any
"""One integer, or any pytree of arrays of fixed shapes."""


@runtime_checkable
class Environment(Protocol):
    """A directed graph without circles, in which every state can be left.

    Attributes:
      actions: A, the number of actions; A - 1 is stop.
      horizon: actions of the longest trajectory, with its stop.
      observation: (D, H) of what `observe` returns.
      modes: how many outcomes, or groups of them, are worth finding.
    """

    actions: int
    horizon: int
    observation: tuple[int, int]
    modes: int

    def start(self) -> State:
        """Where every trajectory starts."""
        ...

    def legal(self, state: State) -> Bool[Array, " A"]:
        """What may be done; at least one action."""
        ...

    def step(self, state: State, action: Int[Array, ""]) -> State:
        """Where a move leads; any state if it is not legal, or stop."""
        ...

    def legal_back(self, state: State) -> Bool[Array, " A-1"]:
        """The moves that may have led here, for the backward policy."""
        ...

    def step_back(self, state: State, action: Int[Array, ""]) -> State:
        """The state that this move led here from; any state if it is none of `legal_back`."""
        ...

    def observe(self, state: State) -> Int[Array, " D"]:
        """What the policy sees: D integers from 0 to H - 1, others for every state."""
        ...

    def reward(self, state: State) -> Float[Array, ""]:
        """R >= 0 of a state that one may stop in."""
        ...

    def mode(self, state: State) -> Int[Array, ""]:
        """Number of the mode, from 0 on; `modes` for a state in none."""
        ...


@runtime_checkable
class Enumerable(Environment, Protocol):
    """An environment whose states have numbers: its distributions can be computed exactly.

    Attributes:
      states: S, the number of states.
    """

    states: int

    def state(self, index: Int[Array, ""]) -> State:
        """The state with this number, from 0 to S - 1; 0 is the start."""
        ...

    def index(self, state: State) -> Int[Array, ""]:
        """Its number."""
        ...


@runtime_checkable
class Summed(Environment, Protocol):
    """An environment that knows all its rewards, though it may have too many states to visit."""

    def reward_counts(self) -> tuple[Float[Array, " R"], Float[Array, " R"]]:
        """Rewards that differ, and how many outcomes have each."""
        ...
