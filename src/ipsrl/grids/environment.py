"""The interface of an environment, which is all that training knows about it.

A trajectory starts in one state, moves, and ends by the action stop, the last one: what is rewarded
is the state that it stopped in, its outcome.  All methods take one state and return one answer, in
JAX; training maps them over batches with `jax.vmap`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

from jaxtyping import Array, Bool, Float, Int

State = Any
"""One integer, or any pytree of arrays of fixed shapes."""


@runtime_checkable
class Environment(Protocol):
    """A directed graph without cycles, in which every state can be left.

    Attributes:
      actions: A, the number of actions; A - 1 is stop.
      horizon: actions of the longest trajectory, with its stop, or more; memory grows with it.
      observation: (D, H) of what `observe` returns.
      modes: how many outcomes, or groups of them, are worth finding; may be 0.
    """

    actions: int
    horizon: int
    observation: tuple[int, int]
    modes: int

    def start(self) -> State:
        """The state in which every trajectory starts."""
        ...

    def legal(self, state: State) -> Bool[Array, " A"]:
        """The allowed actions; there is at least one."""
        ...

    def step(self, state: State, action: Int[Array, ""]) -> State:
        """The state after a move; any state if the move is not legal, or is stop."""
        ...

    def legal_back(self, state: State) -> Bool[Array, " A-1"]:
        """The moves that may have led here, for the backward policy; none lead to the start."""
        ...

    def step_back(self, state: State, action: Int[Array, ""]) -> State:
        """The state from which this move led here; any state if the move is not in `legal_back`."""
        ...

    def observe(self, state: State) -> Int[Array, " D"]:
        """The observation of the policy: D integers from 0 to H - 1, different for every state."""
        ...

    def reward(self, state: State) -> Float[Array, ""]:
        """R >= 0 of a state in which a trajectory may stop."""
        ...

    def mode(self, state: State) -> Int[Array, ""]:
        """Number of the mode, from 0 on; `modes` for a state outside all modes."""
        ...


@runtime_checkable
class Enumerable(Environment, Protocol):
    """An environment whose states have numbers: its distributions can be computed exactly.

    Attributes:
      states: S, the number of states; numbers that no state has may be among them.
    """

    states: int

    def state(self, index: Int[Array, ""]) -> State:
        """The state with this number, from 0 to S - 1; 0 is the start."""
        ...

    def index(self, state: State) -> Int[Array, ""]:
        """The number of the state."""
        ...


@runtime_checkable
class Summed(Environment, Protocol):
    """An environment that knows the sum of its rewards, even if it has too many states to visit."""

    def reward_counts(self) -> tuple[Float[Array, " R"], Float[Array, " R"]]:
        """The different rewards, and the number of outcomes with each."""
        ...


def numbered(environment: Environment) -> TypeGuard[Enumerable]:
    """True if its states have numbers that fit 32 bits."""
    return isinstance(environment, Enumerable) and environment.states <= 2**31
