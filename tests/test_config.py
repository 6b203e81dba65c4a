"""A wrong configuration is refused before any work, with a message that says what to change."""

import datetime
import importlib
import json
import math
import os
import re
import tomllib
from itertools import cycle
from pathlib import Path
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

import annotated_types
import pytest
from helpers import steps
from hypothesis import given
from hypothesis import strategies as st

from ipsrl.cli import main
from ipsrl.config import StrictConfig, shipped_configs
from ipsrl.errors import ConfigError
from ipsrl.grids import Config
from ipsrl.molecules.config import Config as MoleculesConfig
from ipsrl.sweep.config import SweepConfig

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
    kind, wrong = field.annotation, ["", [1], True]
    if get_origin(kind) in (Union, UnionType):  # with None, where it is not given
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_args(kind):  # a Literal
        return [*wrong, "no-such-choice", 1, math.nan]
    wrong += ["1", math.nan, math.inf, -math.inf]
    if kind is bool:
        wrong.remove(True)
    if kind is int:
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
            default = Config.model_fields[key].default
            values[typo] = values.pop(key, 1 if default is None else default)
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
    assert code == 2
    assert str(file) in message
    assert list(tmp_path.iterdir()) == [file]  # no run directory, and nothing else
    if right is None:
        assert f"{wrong} = {values[wrong]!r}" in message
    else:
        assert f"unknown key {wrong!r}" in message
        nearest = message.split("nearest key is ")[1].split("'")[1]
        # `seeds` and `seed` may both be one slip away; a key further away is never named.
        assert distance(wrong, nearest) == min(distance(wrong, key) for key in KEYS)


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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('train = "hypergird"', "; the nearest is 'hypergrid'. Choose among hypergrid, env, llm,"),
        ('train = "zzz"', ": there is no such choice. Choose among hypergrid, env, llm,"),
        ("", "the key 'train' must be given"),
    ],
)
def test_a_choice_in_a_file_names_the_nearest_and_all(content, why, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(why)):
        SweepConfig.load(file)


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as raised:
        Config(**{"lr": "fast", "side": 0, "sidee": 3})
    message = str(raised.value)
    assert "lr = 'fast'" in message
    assert "side = 0" in message
    assert "unknown key 'sidee'; the nearest key is 'side'" in message


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
    with pytest.raises(ConfigError, match="cannot be read.*folder"):
        Config.load(tmp_path)


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ConfigError, match="cannot be read.*not a file"):
        Config.load(tmp_path / "pipe.toml")


def test_a_file_that_is_not_there_is_missed_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"there is none in {tmp_path}"):
        Config.load(Path("none.toml"))


# --- strange TOML: most cases are as large as a file may be ---------------------------------------

PARTS = ".".join(["a"] * 20_000)
STRANGE = {
    "nested lists": ("lr = " + "[" * 5_000, "nested more than 32 deep"),
    "closed lists": ("lr = " + "[" * 5_000 + "]" * 5_000, "nested more than 32 deep"),
    "lists of 100": ("lr = " + "[" * 100 + "]" * 100, "nested more than 32 deep"),
    "nested tables": ("lr = " + "{a=" * 5_000, "nested more than 32 deep"),
    "integer": ("seed = " + "9" * 5_000, "thousands of digits"),
    "negative integer": ("seed = -" + "9" * 900_000, "thousands of digits"),
    "hexadecimal integer": ("seed = 0x" + "f" * 5_000, "seed: the integer does not fit 64 bits"),
    "65 bits": ("seed = 9223372036854775808", "seed: the integer does not fit 64 bits"),
    "large for a float": ("lr = 9223372036854775808", "lr: the integer does not fit 64 bits"),
    "overflow": ("lr = 1e999", "lr = inf"),
    "digits of a float": ("lr = " + "1" * 900_000 + ".0", "lr = inf"),
    "date": ("lr = 1979-05-27", "lr: a date is not text, a number"),
    "time": ("seed = 07:32:00", "seed: a time is not"),
    "dates": ("lr = [1979-05-27T07:32:00Z]", "lr.0: a datetime is not"),
    "dotted key": (f"{PARTS} = 1", "Shorten the dotted key"),
    "dotted key, spaced": (f"{PARTS.replace('.', ' . ')} = 1", "Shorten the dotted key"),
    "dotted key, quoted": ("'='.a." * 10_000 + "a = 1", "Shorten the dotted key"),
    "dotted header": (f"[{PARTS}]", "Shorten the dotted key"),
    "dotted list": (f"[[{PARTS}]]", "Shorten the dotted key"),
    "dotted key of a table": (f"lr = {{{PARTS} = 1}}", "Shorten the dotted key"),
    "unknown keys": ("".join(f"k{i}=1\n" for i in range(100_000)), "and 99996 more"),
    "unknown tables": ("".join(f"[k{i}]\n" for i in range(90_000)), "and 89996 more"),
    "long key": ("k" * 900_000 + " = 1", "unknown key 'kkk"),
    "long text": (f'method = "{"a" * 900_000}"', "method = 'aaa"),
    "long list": (f"lr = [{'1,' * 200_000}]", r"lr = \[1, 1, 1"),
    "large integers": (f"lr = [{'9223372036854775808,' * 40_000}]", "lr.0: the integer does not"),
    "100 MB": (None, "more than 1 MB"),
    "NUL": ('method = "grpo\\u0000"', "method = 'grpo.x00': a NUL"),
    "NUL in a key": ('"lr\\u0000" = 1', "NUL"),
    "bare NUL": ("lr = 1\0", "not valid TOML"),
    "half a character": ('method = "\\ud800"', "not valid TOML"),
    **{
        f"key {key}": (f"{key} = 1", f"unknown key '{key}'")
        for key in ("self", "cls", "values", "model_config", "model_fields", "copy", "__class__",
                    "__init__", "__pydantic_self__", "load", "digest", "_abc_impl")
    },
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), STRANGE.values(), ids=STRANGE)
def test_strange_toml_is_refused_in_a_few_words(text, why, tmp_path, capsys):
    """That each takes less than a second was measured; what grew with a square took minutes."""
    file, out = tmp_path / "strange.toml", tmp_path / "out"
    with file.open("w") as content:
        if text is None:
            content.truncate(10**8)  # of zeros, which take no place on the disk
        else:
            content.write(text)
    command = ["train", "hypergrid", "--config", str(file), "--out", str(out)]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert re.search(why, message)
    assert len(message) < 2000
    assert not out.exists()
    # Up to 47 for a byte, and 30,000 however short the file is.
    assert steps(lambda: main(command)) < 60_000 + 100 * file.stat().st_size


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[components]]\nkindd=1\n" * 40_000, "at most 100"),
        (f"[[components]]\nkind='alert'\nsmarts=[{'1,' * 200_000}]", "smarts.0 = 1"),
        (f"[[components]]\nkind='alert'\nsmarts=['{'C' * 900_000}', 1]", "smarts.1 = 1"),
        (f"outcome = '{'a' * 900_000}'", "'aaa.*a function of your own"),
        ("[[components]]\nself = 1\nkind = 'qed'", "unknown key 'self'"),
    ],
    ids=["components", "list", "text", "outcome", "self"],
)
def test_strange_tables_within_tables_are_refused_in_a_few_words(text, why, tmp_path):
    (tmp_path / "strange.toml").write_text(text)
    with pytest.raises(ConfigError, match=why) as raised:
        MoleculesConfig.load(tmp_path / "strange.toml")
    assert len(str(raised.value)) < 2000


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path):
    """Some editors of Windows write it."""
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbflr = 0.5\n")
    assert Config.load(tmp_path / "mine.toml").lr == 0.5


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["max_steps=" + "9" * 5_000], "max_steps"),
        (["max_steps=" + "[" * 50_000], "max_steps"),
        (["max_steps={" + "a." * 20_000 + "a=1}"], "max_steps"),
        (["max_steps=1979-05-27"], "max_steps: a date"),
        (["max_steps=1\nbeta=2"], "max_steps"),
        (["max_steps=nan"], "max_steps"),
        (["max_steps=9223372036854775808"], "max_steps: the integer"),
        (["k" * 50_000 + "=1"], "no key 'kkk"),
        (["run_name=a\udcff"], "half a character"),
        (["max_steps=1", "max_steps=2"], "max_steps.*two values"),
        (["=1"], "KEY=VALUE"),
        (["max_steps"], "KEY=VALUE"),
        (["self=1"], "no key 'self'"),
        (["-x=1"], "-x"),
        ([f"k{i}=1" for i in range(5_000)], "no key 'k0'"),
    ],
    ids=lambda value: value[0][:24] if isinstance(value, list) else "",
)
def test_strange_fields_on_the_command_line_are_refused_in_a_few_words(
    words, why, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "a.jsonl", "--reward", "os.path:join", "--outcome", "os.path:join"]
    assert main(["train", "llm", *options, "--trl", *words]) == 2
    said = capsys.readouterr().err
    assert re.search(why, said)
    assert len(said) < 1000
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_down_is_refused_in_code_too():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, {"a": deep}, 10**5_000, "\ud800", "a\0", Path("x"), datetime.date.today()):
        with pytest.raises(ConfigError) as raised:
            Config(lr=value)
        assert len(str(raised.value)) < 2000


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
    read = {key for key in KEYS if getattr(config, key) is not None}
    assert set(tomllib.loads(config.dump())) == read


def test_an_integer_where_a_number_is_wanted_is_that_number():
    assert Config(lr=1).digest() == Config(lr=1.0).digest()


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().lr = 0.5


def test_shipped_configurations_are_sorted_and_an_unknown_folder_is_empty():
    assert shipped_configs("hypergrid/table-1") == sorted(shipped_configs("hypergrid/table-1"))
    assert shipped_configs("hypergrid/no-such-folder") == []
    assert all(isinstance(path, Path) and path.is_file() for path in SHIPPED)
