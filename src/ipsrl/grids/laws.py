"""The laws of an environment, tested on random trajectories before a policy is trained in it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import Repr
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipsrl.errors import InvalidInput, words
from ipsrl.grids.environment import Environment, State, numbered

WALKS = 64
"""Trajectories, half of which stop only where they must."""
STEPS = 2000
"""Most states of each that are looked at: a second or two."""

_LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (jax, np))
_OURS = str(Path(__file__).parents[1])
_KINDS = {"bool": "a boolean", "integral": "an integer", "real floating": "a floating-point"}
_brief = Repr()
_brief.maxlist = 20


def checked(environment: object, name: str, *, positive: bool = False) -> Environment:
    """Return the environment if random trajectories keep its laws; all states are not visited.

    Args:
      environment: of the user.
      name: what errors call it.
      positive: whether every outcome must earn something.
    Raises:
      InvalidInput: as `check_environment`.
    """
    try:
        kept = _complete(environment)
        start = _start(kept)
        _check_forms(kept, start)
        _check_walks(kept, start, positive)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error.__cause__
    return kept


def _complete(environment: Any) -> Environment:
    """The environment if it has all attributes, and the numbers among them are numbers."""
    if isinstance(environment, type):
        kind = environment.__name__
        raise InvalidInput(f"this is the class {kind}, not an object of it. Write {kind}().")
    least = {"actions": 2, "horizon": 1, "modes": 0}
    wanted = {one for one in dir(Environment) if not one.startswith("_")}
    if hasattr(environment, "states"):
        least["states"] = 1
        wanted |= {"state", "index"}
    missing = sorted(
        one for one in {*wanted, *least, "observation"} if not hasattr(environment, one)
    )
    if missing:
        raise InvalidInput(
            f"a {type(environment).__name__} has no {', '.join(missing)}. An environment has all "
            "that ipsrl.grids.Environment lists, and one with `states` also `state` and `index` "
            "(docs/extending.md)."
        )
    for one, lowest in least.items():
        value = getattr(environment, one)
        if not _is_count(value, lowest):
            raise InvalidInput(f"{one} is {value!r}. Write an integer of at least {lowest}.")
    seen = environment.observation
    if not (isinstance(seen, tuple | list) and len(seen) == 2 and all(_is_count(n) for n in seen)):
        raise InvalidInput(
            f"observation is {seen!r}. Write two integers (D, H), of at least 1: `observe` gives D "
            "integers from 0 to H - 1."
        )
    return environment


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int | np.integer) and bool(value >= least)


def _start(environment: Environment) -> State:
    start = _asked("start()", lambda: jax.tree.map(jnp.asarray, environment.start()))
    if not jax.tree.leaves(start):
        raise InvalidInput("start() gives no array. Return a state: a number, or a pytree of them.")
    return start


def _check_forms(environment: Environment, start: State) -> None:
    """Shapes and dtypes of all answers to traced states, as in training."""
    actions, numbers = environment.actions, environment.observation[0]
    forms: dict[str, tuple[str, tuple[int, ...], str]] = {
        "legal": ("actions", (actions,), "bool"),
        "legal_back": ("actions - 1", (actions - 1,), "bool"),
        "observe": ("observation[0]", (numbers,), "integral"),
        "reward": ("", (), "real floating"),
        "mode": ("", (), "integral"),
    }
    number = jnp.zeros((), jnp.int32)
    states: dict[str, tuple[Any, ...]] = {"step": (start, number), "step_back": (start, number)}
    if numbered(environment):
        forms["index"] = ("", (), "integral")
        states["state"] = (number,)
    for one, (length, shape, kind) in forms.items():
        answer = _traced(environment, one, start)
        found = f"a {type(answer).__name__}"
        if isinstance(answer, jax.ShapeDtypeStruct):
            if answer.shape == shape and jnp.isdtype(answer.dtype, kind):
                continue
            found = f"shape {answer.shape} and dtype {answer.dtype}"
        wanted = f"an array of {length} = {shape[0]} elements" if shape else "a scalar"
        raise InvalidInput(f"{one} gives {found}. Return {wanted}, of {_KINDS[kind]} dtype.")
    for one, given in states.items():
        after = _traced(environment, one, *given)
        if _form(after) != _form(start):
            raise InvalidInput(
                f"{one} gives {_form(after)}, but start() {_form(start)}. Return a state of the "
                "same structure, shapes and dtypes."
            )


def _traced(environment: Environment, one: str, *given: Any) -> Any:
    return _asked(one, lambda: jax.eval_shape(getattr(environment, one), *given))


def _asked(what: str, ask: Callable[[], Any]) -> Any:
    """An answer of the user's code; what it raises becomes an error that says where."""
    try:
        return ask()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        of_user = (f for f in frames if not f.filename.startswith((_OURS, *_LIBRARIES)))
        place = next((f" in {f.filename}, line {f.lineno}" for f in of_user), "")
        remedy = "Mend that."
        if isinstance(error, jax.errors.JAXTypeError):
            remedy = (
                "Compute with jax.numpy, whose values are not known while it compiles: write "
                "jnp.where for a condition, and jnp.asarray(X)[i] for an element of an array X."
            )
        first = words(error).partition("\n")[0].rstrip(". ")
        raise InvalidInput(f"{what} raised {first},{place}. {remedy}") from error


def _form(state: State) -> str:
    form = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", state)
    return str(form).replace("'", "")


# --- trajectories ---------------------------------------------------------------------------------


def _check_walks(environment: Environment, start: State, positive: bool) -> None:
    """The laws in every state of random trajectories."""
    rng, walks = np.random.default_rng(0), _Walks()
    actions, stop = environment.actions, environment.actions - 1
    state = before = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (WALKS, *leaf.shape)), start)
    action_N, live_N = np.zeros(WALKS, np.int32), np.ones(WALKS, bool)
    look = jax.jit(jax.vmap(lambda *given: _laws(environment, *given), (0, 0, 0, None, 0)))
    while live_N.any() and (time := len(walks.actions)) < STEPS:
        if time == environment.horizon:
            raise InvalidInput(
                f"horizon is {time}, but a trajectory goes on {walks.at(int(live_N.argmax()))}. "
                "Raise it to the actions of the longest trajectory, with its stop; or forbid moves "
                "in `legal`."
            )
        draws = rng.random((WALKS, 2, actions))
        draws[: WALKS // 2, 0, stop] = 0  # the smallest: these stop where nothing else is legal
        *found, after = look(state, before, action_N, time, draws)
        facts, seen_N, chosen_N = jax.tree.map(np.asarray, found)
        if not positive:
            del facts["log"]
        states = {n: row.tobytes() for n, row in enumerate(_rows(state)) if live_N[n]}
        walks.check_circles(states)
        walks.check_laws(facts, live_N, environment)
        walks.check_observations(states, seen_N)
        walks.actions.append(chosen_N)
        before, state, action_N, live_N = state, after, chosen_N, live_N & (chosen_N != stop)


@dataclass
class _Walks:
    """What was met on random trajectories: their actions, states and observations so far."""

    actions: list[np.ndarray] = field(default_factory=list)
    passed: set[tuple[int, bytes]] = field(default_factory=set)
    observed: dict[bytes, tuple[bytes, int, int]] = field(default_factory=dict)
    """The state of an observation; on which trajectory, and when, it was met."""

    def at(self, n: int, time: int | None = None) -> str:
        moves = [int(action_N[n]) for action_N in self.actions[:time]]
        return f"after the moves {_brief.repr(moves)}" if moves else "at the start"

    def check_circles(self, states: dict[int, bytes]) -> None:
        for n, state in states.items():
            if (n, state) in self.passed:
                raise InvalidInput(
                    f"the state {self.at(n)} was passed before, so moves lead in a circle. Let "
                    "every move lead to a new state, for example by counting the moves."
                )
            self.passed.add((n, state))

    def check_laws(
        self, facts: dict[str, tuple[Any, Any]], live_N: np.ndarray, environment: Environment
    ) -> None:
        for law, text in _LAWS.items():
            holds_N, shown_N = facts.get(law, (live_N, live_N))
            if (broken_N := live_N & ~holds_N).any():
                n = int(broken_N.argmax())
                shown = _brief.repr(shown_N[n].tolist())
                raise InvalidInput(text.format(shown, at=self.at(n), its=environment))

    def check_observations(self, states: dict[int, bytes], seen_N: np.ndarray) -> None:
        for n, state in states.items():
            seen, time = seen_N[n], len(self.actions)
            known, *where = self.observed.setdefault(seen.tobytes(), (state, n, time))
            if known != state:
                raise InvalidInput(
                    f"observe gives {_brief.repr(seen.tolist())} in two states, {self.at(*where)} "
                    f"and {self.at(n)}, so a policy cannot tell them apart. Let it show how they "
                    "differ."
                )


_LAWS = {
    "legal": "legal allows nothing {at}. Allow a move, or stop.",
    "observe": "observe gives {0} {at}, but observation[1] is {its.observation[1]}. Return "
    "integers from 0 to one less than that.",
    "start": "legal_back gives {0} at the start. Return False for all moves: none lead there.",
    "legal_back": "legal_back gives False for the move {0} {at}. Return True for every move that "
    "may have led to a state.",
    "step_back": "step_back does not undo the move {0} {at}. Return the state before that move.",
    "forth": "legal_back allows the move {0} {at}, but where step_back leads, that move is not "
    "legal, or leads elsewhere. Allow only what may have led to a state.",
    "reward": "reward gives {0} {at}. Return a finite number of at least 0.",
    "log": "reward gives {0} {at}, which has no logarithm; tb, ppo and transform log need one. Let "
    "every outcome earn something, or use another method.",
    "mode": "mode gives {0} {at}, but modes is {its.modes}. Return an integer from 0 to one less "
    "than that, or modes itself outside all modes.",
    "index": "index gives {0} {at}, but states is {its.states}. Return an integer from 0 to one "
    "less than that.",
    "first": "index gives {0} at the start. Return 0.",
    "state": "index gives {0} {at}, but state({0}) is another state. Let one undo the other.",
}
"""What an error says of a law: the answer, which state, and what it should be."""


def _laws(
    environment: Environment, state: State, before: State, action: Any, time: Any, draws_2A: Any
) -> tuple[dict[str, tuple[Any, Any]], Any, Any, State]:
    """Laws in one state; its observation; a random legal action, and the state after that.

    Args:
      before: the state from which the action led here, at a time above 0.
      draws_2A: uniform numbers, which choose the action, and a move that may have led here.
    Returns:
      of each law, whether it holds and what an error shows; and the rest as above.
    """
    later, legal, back = time > 0, environment.legal(state), environment.legal_back(state)
    seen, reward, mode = (
        answer(state) for answer in (environment.observe, environment.reward, environment.mode)
    )
    undone = environment.step_back(state, action)
    move = jnp.argmax(jnp.where(back, draws_2A[1, :-1], -1.0)).astype(jnp.int32)
    parent = environment.step_back(state, move)
    forth = environment.legal(parent)[move] & _same(environment.step(parent, move), state)
    in_range = ((seen >= 0) & (seen < environment.observation[1])).all()
    laws = {
        "legal": (legal.any(), time),
        "observe": (in_range, seen),
        "start": (later | ~back.any(), back),
        "legal_back": (~later | back[action], action),
        "step_back": (~later | _same(undone, before), action),
        "forth": (~back.any() | forth, move),
        "reward": (~legal[-1] | (jnp.isfinite(reward) & (reward >= 0)), reward),
        "log": (~legal[-1] | (reward > 0), reward),
        "mode": (~legal[-1] | ((mode >= 0) & (mode <= environment.modes)), mode),
    }
    if numbered(environment):
        index = environment.index(state)
        laws["index"] = ((index >= 0) & (index <= environment.states - 1), index)
        laws["first"] = (later | (index == 0), index)
        laws["state"] = (_same(environment.state(index), state), index)
    chosen = jnp.argmax(jnp.where(legal, draws_2A[0], -1.0)).astype(jnp.int32)
    return laws, seen, chosen, environment.step(state, chosen)


def _same(a: State, b: State) -> Any:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.stack([(one == other).all() for one, other in pairs]).all()


def _rows(state: State) -> np.ndarray:
    """One row of numbers for each state."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], -1)
