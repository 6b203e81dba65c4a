"""Configurations of REINVENT4 (github.com/MolecularAI/REINVENT4), read as ours.

A filter (custom_alerts) and a penalty (MatchingSubstructure) multiply the mean of the others there.
With one of these the mean becomes our product, prod s^(w / sum w), in which it has weight 1.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipsrl.config import toml
from ipsrl.errors import InvalidInput
from ipsrl.molecules.config import COLUMNS
from ipsrl.molecules.translation import Translation, at, check, reading

_KINDS = {
    "qed": "qed", "molecularweight": "weight", "tpsa": "tpsa", "slogp": "logp",
    "hbondacceptors": "hba", "hbonddonors": "hbd", "numrotbond": "rotatable_bonds",
    "numrings": "rings", "numaromaticrings": "aromatic_rings", "sascore": "sa",
    "tanimotosimilarity": "similarity", "tanimotodistance": "similarity",
    "customalerts": "alert", "matchingsubstructure": "smarts",
}  # fmt: skip
_FACTORS = ("alert", "smarts")  # which multiply the mean
_DOCK = "write a component `docking`: `ipsrl molecules receptor` makes its table"
_MODEL = "write a component `qsar` of a model in skops or ONNX, or a program around it"
_ELSEWHERE = {
    **dict.fromkeys(("dockstream", "maize", "icolos"), _DOCK),
    **dict.fromkeys(("qptuna", "chemprop", "chemprop2"), _MODEL),
    "externalprocess": "write a program; it gets and answers lines of JSON",
}
_NONE = "there is none; write a function or program"
_FILTERS = {
    "IdenticalMurckoScaffold": "scaffold",
    "IdenticalTopologicalScaffold": "generic-scaffold",
    "ScaffoldSimilarity": "similarity",
}
_UNUSED = ("run_type", "device", "tb_logdir", "json_out_config", "responder")
_UNUSED_PARAMETERS = ("summary_csv_prefix", "tb_isim", "unique_sequences", "randomize_smiles")
_SCAFFOLDS = 'of LibInvent; a search for each scaffold: decorate = "SMILES with *"'


def translate(path: Path) -> Translation:
    """Read a configuration of REINVENT4: staged learning, scoring, or a file of components.

    Args:
      path: TOML file.
    Raises:
      InvalidInput: if the file is not one, or nothing of a reward can be translated.
      ConfigError: if what it says is refused here, naming the key.
    """
    advice = "Give the TOML file that `reinvent` reads, or one of its [[component]] tables."
    with reading(path, "a configuration of REINVENT4 with a reward", advice):
        given: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
        made = Translation("REINVENT4")
        if not given.keys() & {"stage", "scoring", "component"}:
            ours = ", and [[components]] are ipsrl's own" if "components" in given else ""
            raise ValueError(f"it has no [[stage]], [scoring] or [[component]]{ours}")
        if "component" in given:  # a file that a stage names
            given = {"scoring": given}
        stages = given.pop("stage", None)
        parts: list[tuple[str, dict[str, Any], Any]] = [
            (f"stage[{n}].", dict(stage), stage["scoring"]) for n, stage in enumerate(stages or ())
        ]
        if not stages:
            parts = [("", {}, given.pop("scoring"))]
        scorings = [_scoring(made, where, scoring, path) for where, _, scoring in parts]
        found = [list(named.values()) for named, _ in scorings]
        _aggregate(made, found, [kind for _, kind in scorings])
        made.told += [(key, toml(one)) for named, _ in scorings for key, one in named.items()]
        if stages:
            _share_filter(made, given, parts)
            batch = _learning(made, given, len(stages))
            _stages(made, parts, found, batch)
        else:
            made.values["components"] = found[0]
            made.told.append(("scoring", "the search itself is as ours is without settings"))
        for key in sorted(given):
            if key in _UNUSED or (key == "parameters" and not stages):
                made.told.append((key, "not needed here"))
            else:
                made.left("", {key: given[key]})
    check(made, path)
    return made


def _scoring(
    made: Translation, where: str, given: Mapping[str, Any], path: Path
) -> tuple[dict[str, dict[str, Any]], str]:
    """Its components by their names there, and how they are aggregated."""
    given = dict(given)
    if name := given.pop("filename", None):
        file = path.parent / name
        if file.suffix != ".toml" or not file.is_file():
            why = "there is no such file beside it" if file.suffix == ".toml" else "it is not TOML"
            raise InvalidInput(
                f"{path}: the components of {where}scoring are in {name}, but {why}. Give the "
                "stage's file as TOML in the same folder"
            )
        with at(name):
            given |= tomllib.loads(file.read_text("utf-8-sig"))
    _unused(made, f"{where}scoring", given, ("filetype", "parallel"))
    if given.pop("use_pumas", False):
        made.lost.append((f"{where}scoring.use_pumas", "read as without it"))
    components: dict[str, dict[str, Any]] = {}
    if "component" not in given:
        raise ValueError(f"{where}scoring has no component")
    for number, one in enumerate(given.pop("component")):
        with at(f"{where}component[{number}]"):
            ((name, table),) = one.items()
            endpoints = table["endpoint"]
        for place, endpoint in enumerate(endpoints):
            key = f"{where}component[{number}] {name}" + (f" endpoint[{place}]" if place else "")
            with at(key):
                params = table.get("params", {}) | endpoint.get("params", {})
                component = _component(made, key, name, {**endpoint, "params": params})
            if not component:
                continue
            others = [other["name"] for other in components.values()]
            component["name"] = _column(component["name"], others)
            if made.refuses(key, component):
                continue
            if len(component.get("smiles", ())) > 1:
                theirs = "each gets another one of all references of its component, in order"
                if len(endpoints) == 1:
                    theirs = "it is compared with the first alone"
                why = f"in REINVENT4 {theirs}; here with the nearest of its own"
                made.told.append((f"{key}: smiles", why))
            components[key] = component
    kind = given.pop("type", "geometric_mean")
    made.left(f"{where}scoring", given)
    return components, kind


def _component(
    made: Translation, where: str, name: str, given: Mapping[str, Any]
) -> dict[str, Any] | None:
    given, params = dict(given), dict(given["params"])
    plain = re.sub("[-_]", "", name.lower())
    if plain not in _KINDS:
        made.lost.append((where, _ELSEWHERE.get(plain, _NONE)))
        return None
    kind = _KINDS[plain]
    weight, shape = float(given.pop("weight", 1.0)), given.pop("transform", None)
    if weight == 0 and kind not in _FACTORS:
        made.told.append((where, "left out, for its weight is 0"))
        return None
    component: dict[str, Any] = {"kind": kind, "name": given.pop("name", name), "weight": weight}
    del given["params"]
    if kind == "similarity":
        component |= {"smiles": list(params.pop("smiles")), "radius": params.pop("radius")}
        component["counts"] = params.pop("use_counts")
        component["features"] = params.pop("use_features")
    if kind in _FACTORS:
        patterns = params.pop("smarts")
        component["smarts"] = [patterns] if isinstance(patterns, str) else list(patterns)
        component["weight"] = 1.0
        if shape:
            made.lost.append((f"{where}: transform", f"a {name} is taken as it is"))
        shape = None
    if kind == "smarts":
        # 1/2 without a match, and 1 - 10^-25 with one.
        component["transform"] = {"kind": "sigmoid", "low": -1.0, "high": 1.0, "k": 5.0}
        if not params.pop("use_chirality", False):
            params.pop("use_chirality", None)
        else:
            made.lost.append((f"{where}: use_chirality", "patterns match without it"))
    if shape:
        transform = _transform(shape)
        if transform is None:
            made.lost.append((where, f"there is no transform {shape['type']}; {_NONE}"))
            return None
        component["transform"] = transform
    if kind == "tpsa" and not params.get("includeSandP", True):
        del params["includeSandP"]
    made.left(where, given | params)
    return component


def _transform(given: Mapping[str, Any]) -> dict[str, Any] | None:
    values = {key: float(value) for key, value in given.items() if isinstance(value, int | float)}
    name = re.sub("[-_]", "", given["type"].lower())
    match name:
        case "sigmoid" | "reversesigmoid" if values["low"] != values["high"]:
            falls = (name == "reversesigmoid") != (values["low"] > values["high"])
            low, high = sorted((values["low"], values["high"]))
            kind = "reverse-sigmoid" if falls else "sigmoid"
            return {"kind": kind, "low": low, "high": high, "k": values["k"]}
        case "doublesigmoid":
            ends = {"low": values["low"], "high": values["high"]}
            ours = {"k": ("coef_si", 150.0), "k_high": ("coef_se", 150.0)}
            ours["divisor"] = ("coef_div", 100.0)
            steep = {key: values.get(theirs, usual) for key, (theirs, usual) in ours.items()}
            return {"kind": "double-sigmoid", **ends, **steep}
        case "step":
            return {"kind": "step", "low": values.get("low", 0.0), "high": values.get("high", 0.0)}
        case "leftstep":
            return {"kind": "step", "high": values.get("low", 0.0)}
        case "rightstep":
            return {"kind": "step", "low": values.get("high", 0.0)}
    return None


def _column(name: str, others: list[str]) -> str:
    """The name of an endpoint as one of a column that is still free."""
    column = re.sub(r"[^\w.-]+", "_", name).strip("_.-") or "component"
    taken = {*COLUMNS, *others}
    numbers = (f"{column}_{number}" for number in range(2, len(taken) + 3))
    return next(free for free in (column, *numbers) if free not in taken)


def _aggregate(made: Translation, parts: list[list[dict[str, Any]]], kinds: list[str]) -> None:
    """The aggregation of all stages; in a product the weights are shares of their sum."""
    multiplied = any(component["kind"] in _FACTORS for part in parts for component in part)
    ours, why = "geometric-mean", "a score of 0 makes the reward 0, which REINVENT4 takes for 1e-8"
    if multiplied:
        ours = "product"
        why = f"of weights that add up to 1, times filters and penalties; {why}"
    if sums := sorted({*kinds} - {"geometric_mean", "custom_product"}):
        made.values["aggregation"] = ours
        read = f'there is no sum; read as a geometric mean, aggregation = "{ours}"'
        made.lost += [(f"scoring.type = {kind}", read) for kind in sums]
    else:
        made.take("scoring.type", "aggregation", ours, why)
    if not multiplied:
        return
    for part in parts:
        shares = [component for component in part if component["kind"] not in _FACTORS]
        total = sum(component["weight"] for component in shares)
        for component in shares:
            component["weight"] /= total


def _share_filter(
    made: Translation, given: dict[str, Any], parts: list[tuple[str, dict[str, Any], Any]]
) -> None:
    """Take the filters out of the stages; the one that all of them have is the search's."""
    own = {
        f"{where}diversity_filter": stage.pop("diversity_filter")
        for where, stage, _ in parts
        if "diversity_filter" in stage
    }
    filters = list(own.values())
    if "diversity_filter" in given:
        made.told += [(key, "without effect beside [diversity_filter], as there") for key in own]
    elif len(own) == len(parts) and all(one == filters[0] for one in filters):
        given["diversity_filter"] = filters[0]
    else:
        made.lost += [(key, "all stages have one filter here, so none is set") for key in own]


def _learning(made: Translation, given: dict[str, Any], stages: int) -> int:
    """Translate the settings of the search itself; returns the size of a batch."""
    given.pop("run_type", None)
    made.take("run_type", "method", "reinvent")
    made.values["augmentations"] = 0
    parameters = dict(given.pop("parameters", {}))
    batch = parameters.pop("batch_size", 100)
    made.take("batch_size", "batch", batch)
    for key in ("prior_file", "agent_file"):
        if key in parameters:
            why = "a pickle of another architecture: `ipsrl molecules pretrain` makes a prior"
            made.lost.append((f"{key} = {parameters.pop(key)}", why))
    if scaffolds := parameters.pop("smiles_file", None):
        made.lost.append((f"parameters.smiles_file = {scaffolds}", _SCAFFOLDS))
    if parameters.pop("use_checkpoint", False):
        made.lost.append(("parameters.use_checkpoint", "the filter begins empty"))
    if not parameters.pop("purge_memories", False) and stages > 1:
        why = "filter and memory of each stage begin empty"
        made.lost.append(("parameters.purge_memories = false", why))
    _unused(made, "parameters", parameters, _UNUSED_PARAMETERS)
    made.left("parameters", parameters)
    strategy = dict(given.pop("learning_strategy", {}))
    made.take("sigma", "sigma", float(strategy.pop("sigma", 128)))
    made.take("rate", "lr", strategy.pop("rate", 1e-4))
    if (kind := strategy.pop("type", "dap")) != "dap":
        made.lost.append((f"learning_strategy.type = {kind}", "read as dap"))
    made.left("learning_strategy", strategy)
    if "seed" in given:
        made.take("seed", "seed", given.pop("seed"))
    _filter(made, given.pop("diversity_filter", None))
    memory = dict(given.pop("inception", None) or {"memory_size": 0, "sample_size": 0})
    made.take("inception.memory_size", "memory", memory.pop("memory_size", 50))
    made.take("inception.sample_size", "replay", memory.pop("sample_size", 10))
    if made.values["memory"]:
        made.take("inception", "purge", "none")
    if known := memory.pop("smiles_file", None):
        made.take("inception.smiles_file", "inception", known)
    _unused(made, "inception", memory, ("deduplicate",))
    made.left("inception", memory)
    return batch


def _filter(made: Translation, given: Mapping[str, Any] | None) -> None:
    filters = dict(given or {})
    name = filters.pop("type", None)
    if name not in _FILTERS:
        made.take("diversity_filter", "filter", "none")
        if name:
            made.lost.append((f"diversity_filter.type = {name}", "a repeat costs no call here"))
        made.told += [(f"diversity_filter.{key}", "goes with its type") for key in filters]
        return
    why = "a molecule that is drawn again scores 0 there; here it is paid while its bucket has room"
    if name == "IdenticalTopologicalScaffold":
        why += "; there =O of a ring or link counts as an atom of the scaffold, here it does not"
    made.take(f"diversity_filter.type = {name}", "filter", _FILTERS[name], why)
    made.take("bucket_size", "bucket", filters.pop("bucket_size", 25))
    made.take("minscore", "filter_above", float(filters.pop("minscore", 0.4)))
    similarity = filters.pop("minsimilarity", 0.4)
    if name == "ScaffoldSimilarity":
        made.take("minsimilarity", "filter_similarity", similarity)
    _unused(made, "diversity_filter", filters, ("penalty_multiplier",))  # of another filter
    made.left("diversity_filter", filters)


def _stages(
    made: Translation,
    parts: list[tuple[str, dict[str, Any], Any]],
    found: list[list[dict[str, Any]]],
    batch: int,
) -> None:
    stages = []
    for (where, stage, _), components in zip(parts, found, strict=True):
        steps, why = stage.pop("max_steps"), "max_steps batches; only new molecules cost a call"
        if len(parts) > 1:
            why += "; there the whole run ends after them, here the next stage begins"
        made.told.append((f"{where}max_steps = {steps}", f"budget = {steps * batch}  ({why})"))
        ours: dict[str, Any] = {"budget": steps * batch}
        if (score := stage.pop("max_score", 1.0)) < 1:
            ours["until"] = score
            made.told.append(
                (f"{where}max_score = {score}", f"until = {score}  (the mean of five batches)")
            )
            if least := stage.pop("min_steps", 0):
                why = "max_score may end it after five batches"
                made.lost.append((f"{where}min_steps = {least}", why))
        del stage["scoring"]
        _unused(made, where.rstrip("."), stage, ("chkpt_file", "termination", "min_steps"))
        made.left(where.rstrip("."), stage)
        stages.append({**ours, "components": components})
    if len(stages) == 1:
        made.values |= stages[0]
    else:
        made.values["stages"] = stages


def _unused(made: Translation, where: str, given: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Take keys out that mean nothing here."""
    found = [key for key in keys if key in given]
    made.told += [(f"{where}.{key} = {given.pop(key)}", "not needed here") for key in found]
