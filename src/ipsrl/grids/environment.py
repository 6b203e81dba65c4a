"""The interface of an environment, which is all that training knows about it.

A trajectory starts in one state, moves, and ends by the action stop, the last one: what is rewarded
is the state that it stopped in, its outcome.  All methods take one state and return one answer, in
JAX; training maps them over batches with `jax.vmap`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ipsrl.errors import InvalidInput

State = Any
"""One integer, or any pytree of arrays of fixed shapes."""


@runtime_checkable
class Environment(Protocol):
    """A directed graph without cycles, in which every state can be left.

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
        """The state in which every trajectory starts."""
        ...

    def legal(self, state: State) -> Bool[Array, " A"]:
        """The allowed actions; there is at least one."""
        ...

    def step(self, state: State, action: Int[Array, ""]) -> State:
        """The state after a move; any state if the move is not legal, or is stop."""
        ...

    def legal_back(self, state: State) -> Bool[Array, " A-1"]:
        """The moves that may have led here, for the backward policy."""
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
      states: S, the number of states.
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


def checked(environment: object, name: str) -> Environment:
    """Return the environment if its answers at the start have the required types and shapes.

    Args:
      environment: of the user.
      name: what errors call it.
    Raises:
      InvalidInput: naming the first answer that is missing or wrong, and its required form.
    """
    wanted = [name for name in dir(Environment) if not name.startswith("_")]
    wanted += ["actions", "horizon", "observation", "modes"]
    missing = sorted({one for one in wanted if not hasattr(environment, one)})
    if missing or not isinstance(environment, Environment):
        raise InvalidInput(
            f"{name} made a {type(environment).__name__} without {', '.join(missing)}. An "
            "environment has all that ipsrl.grids.Environment lists (docs/extending.md)."
        )
    actions, (numbers, _) = environment.actions, environment.observation
    start = jax.tree.map(jnp.asarray, environment.start())
    answers = {
        "legal": (lambda: environment.legal(start), (actions,), "bool"),
        "legal_back": (lambda: environment.legal_back(start), (actions - 1,), "bool"),
        "observe": (lambda: environment.observe(start), (numbers,), "integral"),
        "reward": (lambda: environment.reward(start), (), "real floating"),
        "mode": (lambda: environment.mode(start), (), "integral"),
    }
    for one, (ask, shape, kind) in answers.items():
        answer = _asked(f"{name}: {one}(start)", ask)
        if answer.shape != shape or not jnp.isdtype(answer.dtype, kind):
            raise InvalidInput(
                f"{name}: {one}(start) has shape {answer.shape} and dtype {answer.dtype}. "
                f"Return {shape or 'a scalar'} of a {kind} dtype."
            )
    for one in ("step", "step_back"):
        move = getattr(environment, one)
        after = _asked(
            f"{name}: {one}(start, 0)", lambda m=move: m(start, jnp.zeros((), jnp.int32))
        )
        if _shapes(after) != _shapes(start):
            raise InvalidInput(
                f"{name}: {one} returns {_shapes(after)} for a state of {_shapes(start)}. Return a "
                "state of the same structure, shapes and dtypes."
            )
    if not jnp.any(environment.legal(start)):
        raise InvalidInput(f"{name}: legal(start) allows nothing. Allow a move, or stop.")
    return environment


def _asked(what: str, ask: Any) -> Any:
    """Shapes of an answer to a traced array, as in training."""
    try:
        return jax.eval_shape(ask)
    except Exception as error:  # from the user's code, or a value that cannot be traced
        raise InvalidInput(
            f"{what} failed: {type(error).__name__}: {str(error).splitlines()[0]}. Compute with "
            "jax.numpy, without conditions on values (use jnp.where)."
        ) from error


def _shapes(state: State) -> str:
    leaves, structure = jax.tree.flatten(state)
    kinds = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
    return f"{structure} of {', '.join(kinds)}"
