"""The configuration of a sweep: a TOML file, and the runs that it describes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from itertools import product
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field

from ipsrl.command import CONFIGURATIONS, configuration
from ipsrl.config import StrictConfig, brief, read
from ipsrl.errors import ConfigError, InvalidInput, nearest
from ipsrl.functions import check_file
from ipsrl.paths import File, counted_from

MEASURES = {
    "hypergrid": ("total_l1", "modes_visited"),
    "env": ("total_l1", "modes_visited"),
    "llm": ("reward", "effective"),
    "hypospace": ("test.recovery_rate.0", "test.valid_rate.0"),
    "molecules": ("hits", "scaffolds", "best"),
}
"""Numbers of a result that are shown if the sweep names none, by the word after `ipsrl train`."""


class SweepConfig(StrictConfig):
    """Runs of one family, for each combination of values and each seed."""

    train: Literal[tuple(MEASURES)]  # type: ignore[valid-type]
    """Family, as after `ipsrl train`."""
    base: File = ""
    """TOML file of keys that all runs share; none if not given."""
    config: dict[str, Any] = {}  # noqa: RUF012 (frozen)
    """Keys that all runs share; they win over the file."""
    grid: dict[str, Any] = {}  # noqa: RUF012 (frozen)
    """For a key the list of its values; every combination is a cell.  Keys may be dotted."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Runs of each cell; grids train so many in one run, if [config] does not say how many."""
    measures: list[str] = []  # noqa: RUF012 (frozen)
    """Numbers of result.json that are shown, such as best or test.recovery_rate.0."""


@dataclass(frozen=True)
class Cell:
    """One combination of values.

    Attributes:
      name: of it, from the values.
      values: by key.
      runs: configurations, one for each run, by its name.
    """

    name: str
    values: dict[str, Any]
    runs: dict[str, StrictConfig]


def cells_of(sweep: SweepConfig, folder: Path) -> list[Cell]:
    """Every cell of a sweep, in the order of the file: the last key changes fastest.

    Args:
      sweep: what is swept.
      folder: from which paths in it count.
    Raises:
      ConfigError: if a run could not be, with the name of its cell.
    """
    model = configuration(sweep.train)
    base = Path(sweep.base)
    shared = read(base) if sweep.base else {}
    axes = dict(_axes(sweep.grid))
    cells = []
    for values in product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        cell = _name(chosen)
        runs = {}
        for run, seed in _seeds(cell, sweep, model, {**shared, **sweep.config}):
            settings = _merged(sweep.config, seed)
            for key, value in chosen.items():
                settings = _merged(settings, _nested(key, value))
            try:
                # Paths in the base count from its own folder; in a configuration they are absolute.
                with counted_from(base.parent):
                    of_base = model(**_merged(shared, settings)).model_dump()
                with counted_from(folder):
                    runs[run] = model(**_merged(_as_in(of_base, shared), settings))
            except ConfigError as error:
                raise ConfigError(f"cell {cell}: {error}") from None
        cells.append(Cell(cell, chosen, runs))
    names = [run for cell in cells for run in cell.runs]
    if len(set(names)) < len(names):
        raise ConfigError("two cells have the same values. Write every value once.")
    return cells


def check_functions(run: str, value: Any) -> None:
    """Check that the files are there whose functions the configuration of a run names.

    Raises:
      ConfigError: naming the first that is not, and the run.
    """
    match value:
        case str():
            try:
                check_file(value)
            except InvalidInput as error:
                raise ConfigError(f"run {run}: {error}") from None
        case dict():
            check_functions(run, [*value.values()])
        case list() | tuple():
            for part in value:
                check_functions(run, part)


def measures_of(sweep: SweepConfig) -> list[str]:
    """The measures of a sweep: those that it names, else those of its family.

    Raises:
      ConfigError: for one that no result of the family has, before hours of training.
    """
    if not sweep.measures:
        return list(MEASURES[sweep.train])
    package = import_module(f"ipsrl.{CONFIGURATIONS[sweep.train].partition('.')[0]}")
    names = dict(_numbers(package.Result))
    for measure in sweep.measures:
        if not any(re.fullmatch(pattern, measure) for pattern in names.values()):
            raise ConfigError(
                f"measures: a result of {sweep.train} has no number "
                f"{measure!r}{nearest(measure, names)}. There are {', '.join(names)}."
            )
    return sweep.measures


def _numbers(kind: Any, name: str = "", pattern: str = "") -> Iterator[tuple[str, str]]:
    """The numbers in a result of this type: an example of each name, and what all names match."""
    origin, inside = get_origin(kind), [one for one in get_args(kind) if one is not type(None)]
    below = f"{name}." if name else ""
    if dataclasses.is_dataclass(kind):
        for key, part in get_type_hints(kind).items():
            yield from _numbers(part, f"{below}{key}", rf"{pattern}\.{key}" if name else key)
    elif origin is UnionType:
        yield from _numbers(inside[0], name, pattern)
    elif origin is list and (inside[0] in (int, float) or get_origin(inside[0]) is UnionType):
        yield name, rf"{pattern}(\.\d+)?"  # all seeds, or one
    elif origin in (list, tuple):
        yield from _numbers(inside[0], f"{below}0", rf"{pattern}\.\d+")
    elif origin is dict:  # its keys are known after the run
        yield f"{below}KEY", rf"{pattern}\..+"
    elif kind in (int, float):
        yield name, pattern


def _axes(grid: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, list[Any]]]:
    for name, values in grid.items():
        key = f"{above}{name}"
        if isinstance(values, dict):
            yield from _axes(values, f"{key}.")
        elif isinstance(values, list) and values:
            yield key, values
        else:
            raise ConfigError(
                f"grid.{key} = {brief(values)} is not a list of values. Write one, such as "
                f"{name} = [1, 2]; what all runs share belongs to [config]."
            )


def _seeds(
    cell: str, sweep: SweepConfig, model: type[StrictConfig], shared: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of the runs of a cell, and the keys that say their seeds.

    Raises:
      ConfigError: if a seed is an axis, and each cell has several.
    """
    if "seeds" in model.model_fields:  # which one compiled run trains together
        elsewhere = "seeds" in shared and "seeds" not in sweep.model_fields_set
        yield cell, {} if elsewhere else {"seeds": sweep.seeds}
        return
    if "seed" in sweep.grid:
        if sweep.seeds > 1:
            raise ConfigError(
                f"seeds = {sweep.seeds} and grid.seed both say the seeds of the runs, which would "
                "be the same run several times. Leave one out."
            )
        yield cell, {}
        return
    first = shared.get("seed", 0)
    if not isinstance(first, int):  # which the model refuses
        first = 0
    for seed in range(first, first + sweep.seeds):
        yield f"{cell},seed={seed}", {"seed": seed}


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables; where both have a key, the second wins, and tables are merged in turn."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _as_in(made: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a table, with the values that they have in a configuration made of it."""
    return {
        key: _as_in(made[key], value) if isinstance(value, dict) else made.get(key, value)
        for key, value in table.items()
    }


def _name(values: Mapping[str, Any]) -> str:
    """A name for folders; the last part of a key says enough.

    Where characters or the end of it had to go, a digest keeps it apart from others.
    """
    full = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
    name = re.sub(r"[^\w.=,+-]+", "_", full, flags=re.ASCII)[:80]
    digest = sha256(full.encode()).hexdigest()[:8]
    return (name if name == full else f"{name}-{digest}") or "all"
