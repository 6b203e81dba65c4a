"""A search as a checkpoint holds it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ipsrl.molecules.generator.weights import pack, unpack
from ipsrl.molecules.search.diversity import DiversityFilter
from ipsrl.molecules.search.loop import Made, Search, Tally
from ipsrl.molecules.search.memory import Entry, Memory
from ipsrl.molecules.search.oracle import Call, Oracle, Status
from ipsrl.molecules.search.outcomes import Drawn


def state_of(search: Search) -> dict[str, np.ndarray]:
    """All that `restore` needs beside the tables of calls and of the filter, which only grow."""
    memo = {
        "tally": asdict(search.tally), "memory": search.memory.entries,
        "molecules": search.probability.molecules,
    }  # fmt: skip
    if (earlier := search.probability.earlier) is not None:
        memo["visits"] = list(earlier.items())
    if search.exemplars:
        memo["exemplars"] = list(search.exemplars.items())
    arrays = pack(search.agent.model, search.optimiser)
    arrays |= {f"best/{name}": array for name, array in search.best.items()}
    for i, batch in enumerate(search.probability.batches):
        arrays[f"history/{i}/outcomes"] = batch.outcomes_G
        arrays[f"history/{i}/ids"] = batch.ids_GT.numpy()
        arrays[f"history/{i}/log_p"] = batch.log_p_G
    return arrays | {"memo": np.frombuffer(json.dumps(memo).encode(), np.uint8)}


def restore(
    search: Search,
    arrays: dict[str, np.ndarray],
    rows: list[dict[str, Any]],
    filtered: list[dict[str, Any]],
) -> None:
    """Put back what `state_of`, `result.table_of` and `result.filter_of` returned."""
    memo = json.loads(arrays["memo"].tobytes())
    search.tally = Tally(**memo["tally"])
    counts: Counter[str] = Counter()
    for row in filtered:
        counts[row["scaffold"]] += row["drawn"]
    search.filter = DiversityFilter(search.config, counts)
    search.memory = Memory(search.config.memory, [Entry(*entry) for entry in memo["memory"]])
    search.exemplars = {outcome: Entry(*entry) for outcome, entry in memo.get("exemplars", [])}
    unpack(arrays, search.agent.model, search.optimiser)
    search.best = {
        name.removeprefix("best/"): array
        for name, array in arrays.items() if name.startswith("best/")
    }  # fmt: skip
    search.probability.molecules = memo["molecules"]
    if search.probability.earlier is not None:
        search.probability.earlier = Counter(dict(memo["visits"]))
    batches = sum(name.endswith("/log_p") for name in arrays)
    search.probability.batches = [
        Drawn(
            arrays[f"history/{i}/outcomes"],
            torch.from_numpy(arrays[f"history/{i}/ids"]),
            arrays[f"history/{i}/log_p"],
        )
        for i in range(batches)
    ]
    names = search.oracle.scoring.names
    calls = [
        Call(
            row["call"], row["smiles"], row["scaffold"], Status(row["status"]), row["reason"],
            tuple(_nan(row[name]) for name in names), _nan(row["reward"]),
        )
        for row in rows
    ]  # fmt: skip
    stereo = search.config.scaffold_stereo
    search.oracle = Oracle(search.oracle.scoring, search.config.budget, calls, stereo=stereo)
    search.made = [Made(row["step"], _nan(row["penalised"])) for row in rows]


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
