"""A shipped configuration with one thing wrong is refused before any work (promise 17).

What can be wrong is derived from the models: a slip in a key, a value of another kind, out of
range or not finite; then come TRL's fields and, by hand, what has no effect or does not fit.
Not among them is what may be right: another text where any text may stand (a name, a pattern, a
path, which are read when the work begins) and a key that is left out.
"""

import copy
import math
import random
import shutil
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from helpers import promised
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ipsrl.cli import main
from ipsrl.config import toml
from ipsrl.errors import ConfigError
from ipsrl.grids.config import Config as GridConfig
from ipsrl.grids.lattice import LatticeConfig
from ipsrl.hypospace.config import Config as HypoSpaceConfig
from ipsrl.hypospace.domains import DOMAINS
from ipsrl.llm.config import Config as LLMConfig
from ipsrl.molecules.config import Config as MoleculesConfig
from ipsrl.runs import Run

ROOT = Path(__file__).parents[1]
FAMILIES: dict[str, tuple[type[BaseModel], list[str]]] = {
    "hypergrid": (GridConfig, ["configs/hypergrid"]),
    "lattice": (LatticeConfig, ["configs/lattice"]),
    "llm": (LLMConfig, ["examples/llm"]),
    "hypospace": (HypoSpaceConfig, ["configs/hypospace"]),
    "molecules": (MoleculesConfig, ["configs/molecules", "examples/molecules"]),
}

Place = tuple[str | int, ...]
Mutation = tuple[Place, Any]  # where to write what


def shipped(family: str) -> list[Path]:
    return [
        path for folder in FAMILIES[family][1] for path in sorted((ROOT / folder).rglob("*.toml"))
    ]


# --- what can be wrong ----------------------------------------------------------------------------


def typos(key: str, known: Any) -> list[str]:
    """One slip of the finger each: a letter doubled, swapped, dropped, another case, a hyphen."""
    middle = len(key) // 2
    swapped = key[: middle - 1] + key[middle] + key[middle - 1] + key[middle + 1 :]
    slips = [key + key[-1], swapped, key[:middle] + key[middle + 1 :], key.upper(), f"-{key}"]
    return [slip for slip in dict.fromkeys(slips) if slip not in known and len(slip) > 1]


def kinds(annotation: Any, bounds: list[Any]) -> tuple[Any, list[Any]]:
    """A type without Annotated and None, and what bounds it."""
    while True:
        if get_origin(annotation) is Annotated:
            bounds = [*bounds, *annotation.__metadata__]
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = [one for one in get_args(annotation) if one is not type(None)]
        else:
            flat = [
                part for b in bounds for part in (b.metadata if isinstance(b, FieldInfo) else [b])
            ]
            return annotation, flat


def forbidden(annotation: Any, bounds: list[Any]) -> list[Any]:
    """Values that a field must not have."""
    kind, bounds = kinds(annotation, bounds)
    wrong: list[Any] = []
    if get_origin(kind) is Literal:
        return ["", "no-such-choice", get_args(kind)[0].upper(), 1, True, math.nan, [1]]
    if kind is str:
        wrong = [1, True, 1.5, math.inf, ["a"], "a\0b"]
    elif kind is bool:
        wrong = [1, "true", "", 0.0, [True]]
    elif kind is int:
        wrong = ["", "1", [1], True, 1.5, 1.0, math.nan, 2**63]
    elif kind is float:
        wrong = ["", "1", [1], True, math.nan, math.inf, -math.inf, 2**63]
    elif get_origin(kind) is list:
        (part,) = get_args(kind)
        wrong = [1, "a", True, *([one] for one in forbidden(part, []))]
        if isinstance(part, type) and issubclass(part, BaseModel):
            wrong = [1, "a", True, [1], ["a"]]
    else:  # a table
        wrong = [1, "a", True, [1], math.nan]
    for bound in bounds:
        match bound:
            case annotated_types.Ge(ge=low):
                wrong += [low - 1, -(10**6)]
            case annotated_types.Gt(gt=low):
                wrong += [low, low - 1]
            case annotated_types.Le(le=high):
                wrong.append(high + 1)
            case annotated_types.Lt(lt=high):
                wrong.append(high)
            case annotated_types.MinLen(min_length=low):
                wrong.append("" if kind is str else [])
    return wrong


def of_model(
    model: type[BaseModel], values: dict[str, Any], place: Place = ()
) -> Iterator[Mutation]:
    """Mutations of the keys of a table, and of the tables in it."""
    for key, field in model.model_fields.items():
        for typo in typos(key, model.model_fields):
            yield (*place, typo), 1
        for value in forbidden(field.annotation, field.metadata):
            yield (*place, key), value
        kind, _ = kinds(field.annotation, [])
        inner = get_args(kind)[0] if get_origin(kind) is list else kind
        if isinstance(inner, type) and issubclass(inner, BaseModel) and key in values:
            tables = values[key] if isinstance(values[key], list) else [values[key]]
            for number, table in enumerate(tables):
                where = (key, number) if get_origin(kind) is list else (key,)
                yield from of_model(inner, table, (*place, *where))


def of_trl() -> Iterator[Mutation]:
    from ipsrl.llm.options import _RANGES, GRPOConfig

    fields = [key for key, field in GRPOConfig.__dataclass_fields__.items() if field.init]
    for key in fields:
        for slip in (key + key[-1], key.upper(), f"-{key}"):
            yield ("trl", slip), 1
        yield ("trl", key), [[1.5]]
    for key, kind in _RANGES.items():
        if key in fields and get_origin(kind) is Annotated:
            for value in forbidden(kind, []):
                # A field that TRL lets be two kinds is refused for its range alone.
                if isinstance(value, int | float) and not isinstance(value, bool):
                    yield ("trl", key), value
    for key, value in {
        "loss_type": "no-such", "scale_rewards": "no-such", "importance_sampling_level": "no-such",
        "vllm_mode": "no-such", "log_level": "no-such", "optim": "no-such", "debug": "no-such",
        "lr_scheduler_type": "no-such", "save_strategy": "no-such", "eval_strategy": "steps",
        "logging_strategy": "no-such", "hub_strategy": "no-such", "report_to": "no-such",
        "optim_args": "no-such", "output_dir": "x", "seed": 1, "data_seed": 1,
        "resume_from_checkpoint": "x", "save_only_model": True, "shuffle_dataset": True,
        "auto_find_batch_size": True, "logging_steps": 0, "warmup_steps": -1.0,
        "lr_scheduler_kwargs": {"no_such": 1}, "accelerator_config": {"no_such": 1},
        "num_generations": 1, "max_steps": 0,
    }.items():  # fmt: skip
        yield ("trl", key), value


_SCALED = {"estimator": "exact", "transform": "sqrt", "eps": 0.3, "alpha": 3.0}
_CRITIC = {"gae_lambda": 0.3, "lr_critic": 0.5}
EFFECTS: dict[str, dict[str, Any]] = {
    "grpo": {**_SCALED, **_CRITIC, "beta": 3.0, "lr_log_z": 0.5, "backward": "learned"},
    "ips-grpo": {**_CRITIC, "beta": 3.0, "lr_log_z": 0.5},
    "flowrl": {**_SCALED, **_CRITIC, "explore": "replay"},
    "tb": {**_SCALED, **_CRITIC, "scale": "none", "advantage_clip": 3.0, "clip": 0.3, "beta": 3.0},
    "ppo": {**_SCALED, "scale": "none", "advantage_clip": 3.0, "beta": 3.0, "lr_log_z": 0.5,
            "explore": "epsilon"},
    "ips-ppo": {"beta": 3.0, "lr_log_z": 0.5, "explore": "tempered"},
}  # fmt: skip
TOGETHER: dict[str, dict[str, Any]] = {
    "hypergrid": {"batch": 257, "checkpoint_every": 17, "dims": 20, "side": 1000},
    "lattice": {"batch": 17, "checkpoint_every": 17},
    "llm": {"flowrl_beta": 3.0, "flowrl_log_z": "table", "lora_alpha": 8, "lora_dropout": 0.3,
            "lora_targets": ["x"], "load_in_4bit": True, "outcome": "", "stop_below": 0.5,
            "split": "test", "dataset": "no-such.jsonl", "reward": "no-such.py:reward",
            "eval_dataset": "even_digits.jsonl"},
    "hypospace": {"flowrl_beta": 3.0, "flowrl_log_z": "table", "lora_rank": 0,
                  "size": {"nodes": 0}, "domain": "graphs"},
    "molecules": {"sigma": 3.0, "beta": 3.0, "replay_batches": 9, "memory": 0,
                  "outcome": "similarity", "estimator": "likelihood", "prior": "no-such"},
}  # fmt: skip


def by_hand(family: str, values: dict[str, Any]) -> Iterator[Mutation]:
    """What has no effect, or does not fit to the rest."""
    if family in ("hypergrid", "lattice"):
        yield from (((key,), value) for key, value in EFFECTS[values["method"]].items())
    together = TOGETHER[family]
    if family == "hypergrid" and values["side"] ** 20 < 2**31:
        together = {key: value for key, value in together.items() if key != "dims"}
    if family == "hypergrid" and 1000 ** values["dims"] < 2**31:
        # So large a grid is possible, unless a table of its states is needed.
        together = {key: value for key, value in together.items() if key != "side"}
    yield from (((key,), value) for key, value in together.items())
    if family == "hypospace":
        for options in ({"nodes": 99}, {"k": 9}, {"depth": 2}, {"nodes": "4"}, {"node": 4}):
            yield ("size",), options
    for number, component in enumerate(values.get("components", [])):
        if component["kind"] in ("qed", "hbd"):
            for key, value in {
                "version": "1", "retries": 2, "always": True, "timeout": 5.0, "smarts": ["C"],
                "smiles": ["C"], "function": "a:b", "command": ["a"], "synthesis": {},
            }.items():  # fmt: skip
                yield ("components", number, key), value
        yield ("components", number, "name"), "smiles"
        yield ("components", number, "transform"), {"kind": "sigmoid", "low": 1.0}
        yield ("components", number, "transform"), {"kind": "step", "low": 2.0, "high": 1.0}


def mutations(family: str, values: dict[str, Any]) -> list[Mutation]:
    found = [*of_model(FAMILIES[family][0], values), *by_hand(family, values)]
    if family in ("llm", "hypospace"):
        found += of_trl()
    if family == "hypospace":
        found += of_model(DOMAINS[values["domain"]][1], {}, ("size",))
    return found


def mutated(values: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    table: Any = changed
    for part in place[:-1]:
        table = table[part] if isinstance(part, int) else table.setdefault(part, {})
    table[place[-1]] = value
    return changed


def as_toml(values: dict[str, Any]) -> str:
    # What is not finite JSON and TOML write in another way.
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in values.items())
    return text.replace("-Infinity", "-inf").replace("Infinity", "inf").replace("NaN", "nan")


# --- and is refused -------------------------------------------------------------------------------


@pytest.mark.promise(number=17)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_mutation_is_refused_before_any_work(
    family, tmp_path, monkeypatch, capsys, record_property
):
    for step in ("log", "checkpoint", "finish"):
        monkeypatch.setattr(Run, step, lambda *_, **__: pytest.fail("the work has begun"))
    model, size, tried = FAMILIES[family][0], promised(200, 20), 0
    for path in shipped(family):
        folder = tmp_path / "-".join(path.relative_to(ROOT).parts)
        shutil.copytree(path.parent, folder)  # with what its paths name
        file, before = folder / path.name, sorted(folder.rglob("*"))
        values = tomllib.loads(path.read_text())
        file.write_text(as_toml(values))
        assert model.load(file) == model.load(
            path, folder
        )  # refused is the fault, and nothing else
        found = mutations(family, values)
        assert len(found) >= 200
        for place, value in random.Random(path.stem).sample(found, size):
            file.write_text(as_toml(mutated(values, place, value)))
            message = refusal(family, file, capsys)
            assert str(place[-1]).lower() in message.lower(), (path, place, value, message)
            assert len(message) < 2000
            tried += 1
        assert sorted(p for p in folder.rglob("*") if "__pycache__" not in str(p)) == before
    files = len(shipped(family))
    record_property("figure", f"{family}: {tried} of {tried} refused, over {files} files")


def refusal(family: str, file: Path, capsys: Any) -> str:
    """What the command says; a lattice is configured by `reproduce` alone, which has no option."""
    if family == "lattice":
        with pytest.raises(ConfigError) as raised:
            LatticeConfig.load(file)
        return str(raised.value)
    out = file.parent / "out"
    code = main(["train", family, "--config", str(file), "--out", str(out)])
    message = capsys.readouterr().err
    assert code == 2, file.read_text()
    assert message.startswith(f"ipsrl train {family}: ")
    return message


def test_no_shipped_configuration_is_forgotten():
    found = {path for family in FAMILIES for path in shipped(family)}
    assert found == {
        path for folder in ("configs", "examples") for path in (ROOT / folder).rglob("*.toml")
    }
    assert len(found) == 103
