"""A run of a few bytes, and files that a user may have put where it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ipsrl.config import StrictConfig
from ipsrl.runs import Run

FOREIGN = {
    "mydata.parquet": None,  # without a column `step`
    "notes.txt": b"mine",
    "checkpoints/notes.txt": b"mine",
    "checkpoints/my_model.safetensors": b"mine",
    "checkpoints/step-000000000999.json": b'{"mine": true}',
    "checkpoints/step-000000000999.safetensors": b"mine",
    "trainer/checkpoint-999/trainer_state.json": b'{"mine": true}',
    "trainer/checkpoint-mine/model.safetensors": b"mine",
}
IDS = np.array([[7, 3, 7, 7], [3, 3, 3, 3]])
REWARDS = np.array([[1.0, 4.0, 2.0, 3.0], [0.0, 0.0, 0.0, 2.0]])


class Toy(StrictConfig):
    rate: float = 0.5


def plant(directory: Path) -> dict[str, bytes]:
    """Files of a user in a directory; their contents."""
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"mine": [1, 2]}), table)
    for name, content in FOREIGN.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content or table.getvalue().to_pybytes())
    return {name: (directory / name).read_bytes() for name in FOREIGN}


def advance(run: Run, step: int) -> None:
    run.log([{"step": step}])
    run.log_outcomes(step, np.array([[1, 2]]), np.ones((1, 2)))
    run.checkpoint(step, {"weights": np.arange(step)})
