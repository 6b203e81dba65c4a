"""Options out of bounds, or that do not fit together, are refused."""

import pytest

from ipsrl.errors import ConfigError
from ipsrl.grids import Config, DeceptiveGrid, EnvConfig, HyperGrid


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dims", 0), ("side", 1), ("eps", 1.5), ("lr", 0.0), ("lr_log_z", 0.0), ("lr_end", -1e-3),
        ("clip", 0.0), ("clip", 1.0), ("entropy", -0.1), ("kl", -0.1), ("alpha", -1.0),
        ("beta", -1.0), ("r0", -0.1), ("group_size", 0), ("batch", 0), ("iterations", 0),
        ("epochs", 0), ("seeds", 0), ("seed", -1), ("eval_every", 0), ("hidden", 0),
        ("gae_lambda", 1.1), ("lr_critic", 0.0), ("explore_share", 0.0), ("explore_share", 1.0),
        ("epsilon", 0.0), ("temperature", 0.0), ("memory", 0), ("reward_temperature", 0.5),
    ],
)  # fmt: skip
def test_the_model_has_the_bounds_that_the_mathematics_needs(key, value):
    """Written out, because the mutations of tests/test_config.py believe the model."""
    with pytest.raises(ConfigError, match=f"{key} (=|is) {value}"):
        Config(**{key: value})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"batch": 100, "group_size": 64}, ["batch = 100", "group_size = 64"]),
        ({"checkpoint_every": 15, "eval_every": 10}, ["checkpoint_every = 15", "eval_every = 10"]),
        ({"r0": 0.0, "r1": 0.0, "r2": 0.0}, ["r0", "r1", "r2"]),
        ({"r0": 0.0, "method": "tb"}, ["r0 = 0", "tb"]),
        ({"r0": 0.0, "transform": "log"}, ["r0 = 0", "transform log"]),
        ({"dims": 20, "side": 1000}, ["side^dims = 1000^20"]),
        ({"dims": 6, "side": 20, "policy": "tabular"}, ["policy tabular"]),
        ({"dims": 6, "side": 20, "estimator": "exact"}, ["exact"]),
        ({"dims": 6, "side": 20, "estimator": "replay"}, ["replay"]),
        ({"epsilon": 0.2}, ["epsilon", "explore none"]),
        (
            {"explore": "epsilon", "temperature": 3.0},
            ["temperature", "explore epsilon", "tempered"],
        ),
        ({"explore": "tempered", "memory": 10}, ["memory", "explore tempered", "replay"]),
        ({"explore_share": 0.5}, ["explore_share", "explore none"]),
        (
            {"explore": "epsilon", "group_size": 4, "batch": 4, "explore_share": 0.1},
            ["explore_share = 0.1", "group_size = 4"],
        ),
        ({"explore": "epsilon", "estimator": "leave-one-out"}, ["leave-one-out", "epsilon"]),
        ({"explore": "replay", "estimator": "replay"}, ["estimator replay", "explore = replay"]),
        ({"backward": "learned"}, ["backward = learned", "likelihood"]),
        ({"method": "ppo", "r0": 0.0}, ["r0 = 0", "ppo"]),
        ({"group_size": 1}, ["group_size = 1", "ips-grpo"]),
        ({"group_size": 1, "method": "flowrl"}, ["group_size = 1", "flowrl"]),
        ({"group_size": 1, "method": "ips-ppo"}, ["group_size = 1", "ips-ppo"]),
    ],
)
def test_keys_that_do_not_fit_together_are_named_together(values, named):
    with pytest.raises(ConfigError) as raised:
        Config(**values)
    assert all(words in str(raised.value) for words in named)


def test_one_trajectory_is_enough_for_what_compares_none():
    for method in ({"method": "tb"}, {"method": "ppo"}, {"method": "dpg", "dpg_z": 2.0}):
        Config(group_size=1, estimator="likelihood" if "dpg_z" in method else None, **method)


def test_each_reward_has_the_defaults_of_its_grid():
    assert Config().environment() == HyperGrid(2, 8)
    assert Config(reward="deceptive").environment() == DeceptiveGrid(2, 8)
    assert Config(reward="deceptive", r0=0.1).environment() == DeceptiveGrid(2, 8, r0=0.1)


@pytest.mark.parametrize(
    ("env", "title"),
    [
        ("coins.py:make", "coins"),
        ("coins.py:Coins", "Coins"),
        ("ipsrl.grids:BitSequences", "BitSequences"),
    ],
)
def test_an_environment_is_called_after_its_class_or_file(env, title):
    assert EnvConfig(env=env).title == EnvConfig(env=env).run_name == title


@pytest.mark.parametrize(
    "values",
    [
        {"method": "grpo", "estimator": "exact"},
        {"method": "grpo", "eps": 0.1},
        {"method": "flowrl", "alpha": 2.0},
        {"method": "tb", "scale": "none"},
        {"method": "ips-grpo", "beta": 1.0},
        {"method": "grpo", "lr_log_z": 0.2},
        {"method": "grpo", "gae_lambda": 0.5},
        {"method": "tb", "lr_critic": 0.1},
        {"method": "maxrl", "explore": "epsilon"},
        {"method": "flowrl", "explore": "tempered"},
        {"method": "ppo", "explore": "replay"},
    ],
    ids=str,
)
def test_options_without_effect_are_refused(values):
    (key,) = values.keys() - {"method"}
    with pytest.raises(ConfigError, match=f"{key} has no effect with method {values['method']}"):
        Config(**values)
