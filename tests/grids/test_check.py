"""An environment is checked before work, and an error says what is wrong with it."""

import jax.numpy as jnp
import numpy as np
import pytest

from ipsrl.errors import InvalidInput
from ipsrl.grids import Config, EnvConfig, Table, check_environment, train

REWARDS = np.array([0.0, 1.0, 2.0, 1.0])


def switches(on):
    return on >> jnp.arange(2) & 1


class Two:
    """Two switches, each of which may be turned on once: four states."""

    actions = 3
    horizon = 3
    observation = (2, 2)
    modes = 1
    states = 4

    def start(self):
        return 0

    def legal(self, on):
        return jnp.append(switches(on) == 0, True)

    def step(self, on, switch):
        return on | (1 << switch)

    def legal_back(self, on):
        return switches(on) == 1

    def step_back(self, on, switch):
        return on & ~(1 << switch)

    def observe(self, on):
        return switches(on)

    def reward(self, on):
        return jnp.asarray(REWARDS)[on]

    def mode(self, on):
        return jnp.where(on == 2, 0, self.modes)

    def state(self, index):
        return index

    def index(self, on):
        return on


_PARTS = {name: one for name, one in vars(Two).items() if name not in ("states", "state")}
Unnumbered = type("Unnumbered", (), _PARTS)


def made(**faults):
    return type("Faulty", (Two,), faults)()


def raises(self):
    raise ValueError("no data file")


def test_what_keeps_the_laws_passes():
    # The horizon is a bound, and numbers of states may be of none.
    check_environment(made(modes=0, mode=lambda self, on: 0, horizon=1000, states=8))
    check_environment(Unnumbered())


def test_a_mode_counts_only_where_a_trajectory_may_stop():
    environment = made(
        legal=lambda self, on: jnp.append(switches(on) == 0, on == 3),
        mode=lambda self, on: jnp.where(on == 3, 0, -1),
    )
    check_environment(environment)
    assert Table(environment).modes.tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"actions": 1}, "actions is 1. Write an integer of at least 2"),
        ({"horizon": "3"}, "horizon is '3'. Write an integer"),
        ({"modes": -3}, "modes is -3. Write an integer of at least 0"),
        ({"states": 4.0}, "states is 4.0. Write an integer"),
        ({"observation": 2}, "observation is 2. Write two integers"),
        ({"observation": (2, 2.0)}, "observation is .2, 2.0.. Write two integers"),
        ({"start": lambda self: None}, "start.. gives no array"),
        ({"start": raises}, "start.. raised ValueError: no data file, in .*test_check.py, line"),
        ({"actions": 4}, r"legal gives shape \(3,\) .* an array of actions = 4 elements"),
        ({"legal": lambda self, on: jnp.ones(3)}, "legal gives .* float32. .* a boolean dtype"),
        ({"reward": lambda self, on: 1}, "reward gives .* Return a scalar, of a floating-point"),
        ({"reward": lambda self, on: None}, "reward gives a NoneType. Return a scalar"),
        ({"reward": lambda self, on: REWARDS[on]}, r"reward raised Tracer.*jnp.asarray\(X\)\[i\]"),
        ({"step": lambda self, on, _: on if on else 1}, "step raised Tracer.* write jnp.where"),
        ({"step": lambda self, on, _: on + 1.0}, r"step gives float32\[\], but start.. int32\[\]"),
        ({"state": lambda self, i: i[None]}, r"state gives int32\[1\], but start.. int32\[\]"),
        ({"index": lambda self, on: on + 0.0}, "index gives .* an integer dtype"),
        # Found on trajectories.
        ({"legal": lambda self, on: jnp.zeros(3, bool)}, "legal allows nothing"),
        ({"observation": (2, 1)}, r"observe gives \[.*\] after the moves .* observation\[1\] is 1"),
        ({"observe": lambda self, on: jnp.zeros(2, int)}, "observe gives .* in two states, at the"),
        ({"legal_back": lambda self, on: jnp.ones(2, bool)}, "legal_back gives .* at the start"),
        (
            {"legal_back": lambda self, on: jnp.zeros(2, bool)},
            "legal_back gives False for the move",
        ),
        ({"legal_back": lambda self, on: jnp.full(2, on > 0)}, "legal_back allows the move"),
        ({"step_back": lambda self, on, switch: on}, "step_back does not undo the move"),
        ({"legal": lambda self, on: jnp.ones(3, bool)}, "was passed before, so moves lead in a c"),
        ({"horizon": 2}, "horizon is 2, but a trajectory goes on after the moves"),
        ({"reward": lambda self, on: jnp.log(on - 1.0)}, "reward gives nan at the start"),
        ({"reward": lambda self, on: on - 2.0}, "reward gives -2.0 at the start"),
        ({"mode": lambda self, on: on}, "mode gives . after the moves .*, but modes is 1"),
        ({"states": 3}, "index gives 3 after the moves .*, but states is 3"),
        ({"index": lambda self, on: on ^ 1}, "index gives 1 at the start"),
        ({"state": lambda self, i: i ^ 1}, "index gives 0 at the start, but state.0. is another"),
        # Found in the table of all states.
        ({"reward": lambda self, on: on * 0.0}, "earn from 0 to 0"),
        (
            {"reward_counts": lambda self: (np.array([0.0, 1.0, 2.0]), np.array([1, 2, 3]))},
            "reward_counts gives rewards that sum to 8, but those of all outcomes sum to 4",
        ),
    ],
)
def test_a_fault_is_named(faults, said):
    with pytest.raises(InvalidInput, match=said):
        check_environment(made(**faults))


def test_what_is_missing_is_named():
    with pytest.raises(InvalidInput, match="a NoneType has no actions, .*, step_back. An env"):
        check_environment(None)
    with pytest.raises(InvalidInput, match="the class Two, not an object of it. Write Two()"):
        check_environment(Two)
    halves = {name: value for name, value in vars(Two).items() if name != "state"}
    with pytest.raises(InvalidInput, match="a Half has no state"):
        check_environment(type("Half", (), halves)())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Two", "reward gives 0.0 at the start, which has no logarithm"),
        ("Unnumbered", "reward gives 0.0 at the start, which has no logarithm"),
        ("raises", "cannot be called: .* 'self'"),
    ],
)
def test_a_run_begins_with_the_check(name, said, tmp_path):
    config = EnvConfig(env=f"{__file__}:{name}", method="tb")
    with pytest.raises(InvalidInput, match=said):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_grid_of_nothing_is_refused_before_it_is_trained(tmp_path):
    """The modes are what earns, and 3 cells a side have none."""
    for dims in (2, 15):  # with a table, and with a sum
        config = Config(dims=dims, side=3, r0=0.0, r1=0.0, estimator="likelihood")
        with pytest.raises(InvalidInput, match="earn from 0 to 0"):
            train(config, tmp_path / "run")
