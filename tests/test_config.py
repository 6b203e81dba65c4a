"""A wrong configuration is refused before any work, with a message that says what to change."""

import importlib
import json
import math
import tomllib
from itertools import cycle
from pathlib import Path
from typing import get_args

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipsrl.cli import main
from ipsrl.config import StrictConfig, shipped_configs
from ipsrl.errors import ConfigError
from ipsrl.grids import Config

KEYS = list(Config.model_fields)
SHIPPED = [
    path for folder in ("estimators", "group-size", "table-1")
    for path in shipped_configs(f"hypergrid/{folder}")
]  # fmt: skip


# --- mutations, derived from the model itself ---------------------------------------------------


def typos(key: str) -> list[str]:
    """One slip of the finger each: a letter doubled, swapped, dropped, another case, a hyphen."""
    middle = len(key) // 2
    slips = [
        key + key[-1],
        key[: middle - 1] + key[middle] + key[middle - 1] + key[middle + 1 :] if middle > 1 else "",
        key[:middle] + key[middle + 1 :],
        key.replace("_", "-"),
        key.upper(),
    ]
    return [slip for slip in dict.fromkeys(slips) if slip not in KEYS and len(slip) > 1]


def forbidden_values(key: str) -> list:
    """Values that the field's own annotation excludes."""
    field = Config.model_fields[key]
    wrong = ["", [1], True]
    if get_args(field.annotation):  # a Literal
        return [*wrong, "no-such-choice", 1, math.nan]
    wrong += ["1", math.nan, math.inf, -math.inf]
    if field.annotation is int:
        wrong += [1.5, 1.0]
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=low):
                wrong += [low - 1, -(10**6)]
            case annotated_types.Gt(gt=low):
                wrong += [low, -1]
            case annotated_types.Le(le=high):
                wrong.append(high + 1)
            case annotated_types.Lt(lt=high):
                wrong.append(high)
    return wrong


def mutations():
    """(shipped file, values with exactly one thing wrong, wrong key, right key)."""
    bases = cycle(SHIPPED)
    for key in KEYS:
        for value in forbidden_values(key):
            path = next(bases)
            values = {**tomllib.loads(path.read_text()), key: value}
            yield pytest.param(values, key, None, id=f"{path.stem}-{key}={value!r}")
        for typo in typos(key):
            path = next(bases)
            values = tomllib.loads(path.read_text())
            values[typo] = values.pop(key, Config.model_fields[key].default)
            yield pytest.param(values, typo, key, id=f"{path.stem}-{typo}-for-{key}")


MUTATIONS = list(mutations())


def as_toml(values: dict) -> str:
    def literal(value):
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # TOML writes nan, inf and -inf as Python does
        return json.dumps(value)

    return "".join(f"{key} = {literal(value)}\n" for key, value in values.items())


def distance(a: str, b: str) -> int:
    """Edits between two words: insert, delete, replace, swap neighbours; letter case is free."""
    a, b = a.lower(), b.lower()
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def test_there_are_at_least_200_mutations_and_each_key_has_some():
    assert len(MUTATIONS) >= 200
    for key in KEYS:
        assert forbidden_values(key)
        assert typos(key)


@pytest.mark.parametrize(("values", "wrong", "right"), MUTATIONS)
def test_one_wrong_key_is_refused_before_any_work(
    values, wrong, right, tmp_path, monkeypatch, capsys
):
    work = importlib.import_module("ipsrl.grids.training")
    monkeypatch.setattr(work, "train", lambda *_, **__: pytest.fail("the work has begun"))
    file, out = tmp_path / "mutant.toml", tmp_path / "out"
    file.write_text(as_toml(values))
    code = main(["train", "hypergrid", "--config", str(file), "--out", str(out)])
    message = capsys.readouterr().err
    assert code == 1
    assert str(file) in message
    assert list(tmp_path.iterdir()) == [file]  # no run directory, and nothing else
    if right is None:
        assert f"{wrong} = {values[wrong]!r}" in message
    else:
        assert f"unknown key {wrong!r}" in message
        nearest = message.split("nearest key is ")[1].split("'")[1]
        # `seeds` and `seed` may both be one slip away; a key further away is never named.
        assert distance(wrong, nearest) == min(distance(wrong, key) for key in KEYS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dims", 0), ("side", 1), ("eps", 1.5), ("lr", 0.0), ("lr_log_z", 0.0), ("lr_end", -1e-3),
        ("clip", 0.0), ("clip", 1.0), ("entropy", -0.1), ("kl", -0.1), ("alpha", -1.0),
        ("beta", -1.0), ("r0", -0.1), ("group_size", 0), ("batch", 0), ("iterations", 0),
        ("epochs", 0), ("seeds", 0), ("seed", -1), ("eval_every", 0), ("hidden", 0),
    ],
)  # fmt: skip
def test_the_model_has_the_bounds_that_the_mathematics_needs(key, value):
    """Written out, because the mutations above believe the model."""
    with pytest.raises(ConfigError, match=f"{key} = {value}"):
        Config(**{key: value})


@pytest.mark.parametrize(("values", "wrong", "right"), MUTATIONS[::7])
def test_the_same_mutation_without_the_fault_is_accepted(values, wrong, right):
    """The refusals above are due to the mutation alone."""
    healed = {key: value for key, value in values.items() if key != wrong}
    Config(**healed)


@pytest.mark.parametrize("typo", ["itterations", "lrr", "group-size", "Seeds"])
def test_a_typo_from_python_is_a_config_error_that_names_the_nearest_key(typo):
    right = {"itterations": "iterations", "lrr": "lr", "group-size": "group_size", "Seeds": "seeds"}
    with pytest.raises(ConfigError) as raised:
        Config(**{typo: 1})
    assert repr(typo) in str(raised.value)
    assert repr(right[typo]) in str(raised.value)


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as raised:
        Config(**{"lr": "fast", "side": 0, "sidee": 3})
    message = str(raised.value)
    assert "lr = 'fast'" in message
    assert "side = 0" in message
    assert "unknown key 'sidee'; the nearest key is 'side'" in message


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
    ],
)
def test_keys_that_do_not_fit_together_are_named_together(values, named):
    with pytest.raises(ConfigError) as raised:
        Config(**values)
    assert all(words in str(raised.value) for words in named)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"lr = ", "not valid TOML"),
        (b"lr = 1\nlr = 2\n", "not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=["cut", "twice", "not-utf8", "absent"],
)
def test_a_file_that_is_no_toml_is_named(content, why, tmp_path):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as raised:
        Config.load(path)
    assert str(path) in str(raised.value)


def test_a_directory_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path)


# --- what is written can be read, and a hash means equality ---------------------------------------


class Sample(StrictConfig):
    number: float = 0.0
    count: int = 0
    flag: bool = False
    text: str = ""


samples = st.builds(
    Sample,
    number=st.floats(allow_nan=False, allow_infinity=False),
    count=st.integers(-(2**63), 2**63 - 1),  # the integers of TOML
    flag=st.booleans(),
    text=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Z", "S"])),
)


@given(samples)
def test_dump_and_parse_are_inverse(sample):
    assert Sample(**tomllib.loads(sample.dump())) == sample


@given(samples, samples)
def test_digests_are_equal_iff_the_configurations_are(one, other):
    # 0.0 == -0.0 although they are written apart
    if math.copysign(1, one.number) == math.copysign(1, other.number):
        assert (one.digest() == other.digest()) == (one == other)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_survives_dump_and_load(path, tmp_path):
    config = Config.load(path)
    copy = tmp_path / "copy.toml"
    copy.write_text(config.dump())
    assert Config.load(copy) == config
    assert set(tomllib.loads(config.dump())) == set(KEYS)


def test_an_integer_where_a_number_is_wanted_is_that_number():
    assert Config(lr=1).digest() == Config(lr=1.0).digest()


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().lr = 0.5


def test_shipped_configurations_are_sorted_and_an_unknown_folder_is_empty():
    assert shipped_configs("hypergrid/table-1") == sorted(shipped_configs("hypergrid/table-1"))
    assert shipped_configs("hypergrid/no-such-folder") == []
    assert all(isinstance(path, Path) and path.is_file() for path in SHIPPED)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "grpo", "estimator": "exact"},
        {"method": "grpo", "eps": 0.1},
        {"method": "flowrl", "alpha": 2.0},
        {"method": "tb", "scale": "none"},
        {"method": "ips-grpo", "beta": 1.0},
        {"method": "grpo", "lr_log_z": 0.2},
    ],
    ids=str,
)
def test_options_without_effect_are_refused(values):
    (key,) = values.keys() - {"method"}
    with pytest.raises(ConfigError, match=f"{key} has no effect with method {values['method']}"):
        Config(**values)
