"""Configurations of Saturn (github.com/schwallergroup/saturn), read as ours.

Two words mean something else there: its "product" is the geometric mean, and its buckets hold one
molecule more than they say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsrl.config import toml
from ipsrl.molecules.translation import Translation, at, check, reading

_KINDS = {
    "qed": "qed", "num_hbd": "hbd", "num_hba": "hba", "slogp": "logp", "tpsa": "tpsa",
    "mw": "weight", "molecular_weight": "weight", "num_rotatable_bonds": "rotatable_bonds",
    "num_rings": "rings", "num_aromatic_rings": "aromatic_rings", "sa_score": "sa",
    "smarts_alerts": "alert", "tanimoto_similarity": "similarity",
}  # fmt: skip
_SHAPES = {"sigmoid": "sigmoid", "reverse_sigmoid": "reverse-sigmoid", "step": "step"}
_ELSEWHERE = {
    **dict.fromkeys(
        ("quickvina2_gpu", "quickvina2", "dockstream", "gnina"),
        "write a component `docking`: `ipsrl molecules receptor` makes its table",
    ),
    **dict.fromkeys(("syntheseus", "aizynthfinder"), "write a component `synthesis`"),
}
_UNUSED = {
    "logging": "a run is written to --out",
    "distribution_learning": "of another command, `ipsrl molecules pretrain`",
    "running_mode": "", "model_architecture": "told by the prior", "device": "",
}  # fmt: skip


def translate(path: Path) -> Translation:
    """Read a configuration of Saturn's goal-directed generation.

    Args:
      path: JSON file.
    Raises:
      InvalidInput: if the file is not one, or nothing of its reward can be translated.
      ConfigError: if what it says is refused here, naming the key.
    """
    advice = "Give the JSON file that `python saturn.py` reads, or the TOML file of REINVENT4."
    with reading(path, "a configuration of Saturn's goal-directed generation", advice):
        given = json.loads(path.read_bytes())
        if "run_type" in given:
            raise ValueError(
                f"run_type = {given['run_type']!r} is a key of REINVENT, of which REINVENT4's TOML "
                "is read, and nothing of version 3"
            )
        oracle, goal = given["oracle"], given["goal_directed_generation"]
        components, learning = oracle["components"], goal["reinforcement_learning"]
        if given["running_mode"].lower() != "goal_directed_generation":
            raise ValueError(f"running_mode is {given['running_mode']!r}")
        made = Translation("Saturn")
        _learning(made, learning)
        _goal(made, goal)
        _oracle(made, oracle)
        made.values["components"] = []
        for number, one in enumerate(components):
            with at(f"components[{number}]"):
                _component(made, f"components[{number}] {one['name']}", one)
    if "seed" in given:
        made.take("seed", "seed", given["seed"])
    for key in sorted(given.keys() - {"oracle", "goal_directed_generation", "seed"}):
        why = _UNUSED.get(key)
        (made.lost if why is None else made.told).append((key, why or "not needed here"))
    check(made, path)
    return made


def _learning(made: Translation, given: Mapping[str, Any]) -> None:
    given = dict(given)
    made.take("reinforcement_learning", "method", "reinvent")
    for theirs, ours in (("batch_size", "batch"), ("learning_rate", "lr"), ("sigma", "sigma")):
        if theirs in given:
            made.take(theirs, ours, given.pop(theirs))
    augmented, rounds = given.pop("augmented_memory", True), given.pop("augmentation_rounds", 10)
    made.take("augmentation_rounds", "augmentations", rounds if augmented else 0)
    for key in ("prior", "agent"):
        if key in given:
            why = "a pickle: `ipsrl molecules import` after examples/saturn_to_safetensors.py"
            made.lost.append((f"{key} = {given.pop(key)}", why))
    purges = augmented and given.pop("selective_memory_purge", True)
    given.pop("selective_memory_purge", None)
    why = "each scaffold with a reward of exactly 0 after the filter" if purges else ""
    made.take("selective_memory_purge", "purge", "zero" if purges else "none", why)
    made.left("reinforcement_learning", given)


def _goal(made: Translation, given: Mapping[str, Any]) -> None:
    replay = dict(given.get("experience_replay", {}))
    made.take("memory_size", "memory", replay.pop("memory_size", 100))
    made.take("sample_size", "replay", replay.pop("sample_size", 10))
    if replay.pop("smiles", []):
        why = 'write them into a file, one a line, and set inception = "FILE"'
        made.lost.append(("experience_replay.smiles", why))
    made.left("experience_replay", replay)
    filters = dict(given.get("diversity_filter", {}))
    name = filters.pop("name", "IdenticalMurckoScaffold")
    made.told.append((f"diversity_filter.name = {name}", "Murcko scaffolds, whatever the name"))
    size = filters.pop("bucket_size", 10)
    made.take(
        f"bucket_size = {size}", "bucket", size + 1,
        "Saturn pays until there are more than bucket_size, we until there are bucket",
    )  # fmt: skip
    made.left("diversity_filter", filters)
    for part in ("hallucinated_memory", "beam_enumeration"):
        if given.get(part, {}).get(f"execute_{part}"):
            made.lost.append((part, "there is none here"))
    known = {"reinforcement_learning", "experience_replay", "diversity_filter"}
    known |= {"hallucinated_memory", "beam_enumeration"}
    made.left("goal_directed_generation", {k: v for k, v in given.items() if k not in known})


def _oracle(made: Translation, given: Mapping[str, Any]) -> None:
    given = {key: value for key, value in given.items() if key != "components"}
    if "budget" in given:
        made.take("budget", "budget", given.pop("budget"))
    aggregator = given.pop("aggregator", "product")
    if aggregator.lower() == "product":
        why = "Saturn's product is prod s^(w / sum w), which is the geometric mean; our product is "
        made.take("aggregator = product", "aggregation", "geometric-mean", why + "prod s^w")
    else:
        made.lost.append((f"aggregator = {aggregator}", "there is a geometric mean and a product"))
    if given.pop("allow_oracle_repeats", False):
        made.lost.append(("allow_oracle_repeats", "a repeat is answered from memory, at no cost"))
    made.left("oracle", given)


def _component(made: Translation, where: str, given: Mapping[str, Any]) -> None:
    given = dict(given)
    name, specific = given.pop("name"), dict(given.pop("specific_parameters", {}))
    shaping = given.pop("reward_shaping_function_parameters", {})
    if name not in _KINDS:
        why = _ELSEWHERE.get(name, "there is none; write a function or program")
        made.lost.append((where, why))
        return
    component: dict[str, Any] = {"kind": _KINDS[name]}
    if component["kind"] == "alert":
        component["smarts"] = list(specific.pop("smarts", []))
    if component["kind"] == "similarity":
        component["smiles"] = list(specific.pop("reference_smiles", []))
        component["radius"] = specific.pop("radius", 3)
        component["counts"] = specific.pop("use_counts", True)
        component["features"] = specific.pop("use_features", True)
    if (weight := float(given.pop("weight", 1.0))) != 1:
        component["weight"] = weight
    transform = _transform(made, where, shaping)
    if transform:
        component["transform"] = transform
    if made.refuses(where, component):
        return
    if given.pop("preliminary_check", False):
        why = "nothing is left out before the others are asked; workers come last"
        made.lost.append((f"{where}: preliminary_check", why))
    made.values["components"].append(component)
    made.told.append((where, toml(component)))
    made.left(where, given | specific)


def _transform(made: Translation, where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    name, values = (
        given.get("transformation_function", "no_transformation"),
        given.get("parameters"),
    )
    values = {key: float(value) for key, value in (values or {}).items()}
    if name == "no_transformation":
        return {}
    if name == "binary":
        return {"kind": "step", "low": 1.0}
    if name in _SHAPES:
        return {"kind": _SHAPES[name], **values}
    if name != "double_sigmoid":
        raise ValueError(f"there is no transformation_function {name!r}")
    ours = {"k": "coef_se", "k_high": "coef_si", "divisor": "coef_div"}
    made.told.append(
        (
            f"{where}: double_sigmoid",
            "of the upper end Saturn subtracts a second sigmoid, ours takes that of the nearer end "
            "(REINVENT4's); they differ in the middle of a narrow band",
        )
    )
    ends = {"low": values["low"], "high": values["high"]}
    return {"kind": "double-sigmoid", **ends, **{k: values[v] for k, v in ours.items()}}
