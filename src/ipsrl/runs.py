"""A run directory: what a training run leaves behind, and how it goes on after an interruption.

    config.toml           the resolved configuration
    environment.json      versions, git revision, digests of the configuration and of input files
    metrics.jsonl         one line per evaluation and seed
    outcomes.parquet      step, seed, outcome, count, mean_reward of the batch at each checkpoint
    calls.parquet         every oracle call (molecules)
    checkpoints/          step-N.safetensors, and step-N.json, which makes it valid
    result.json           written last
    arrays.safetensors    final distributions, for the figures

Files are written under a temporary name, synced and renamed, so a reader never sees half of one.
Neither times nor paths go into the results: the same configuration and seed give the same bytes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save

from ipsrl.config import StrictConfig
from ipsrl.errors import RunError

C = TypeVar("C", bound=StrictConfig)

_PACKAGES = (
    "ipsrl", "numpy", "jax", "jaxlib", "optax", "equinox", "torch", "transformers", "trl", "rdkit",
)  # fmt: skip


class Run:
    """One run directory.  `create` makes it, `open` reads it; both return a `Run`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.metrics_path = directory / "metrics.jsonl"
        self.outcomes_path = directory / "outcomes.parquet"

    @classmethod
    def create(
        cls, directory: Path, config: StrictConfig, inputs: Mapping[str, str] | None = None
    ) -> Run:
        """A new run directory with its configuration and environment.

        Args:
          directory: to make.
          config: of the run.
          inputs: what its results depend on besides: versions and digests, by name.
        Raises:
          RunError: if the directory holds a run already, or cannot be written.
        """
        if (directory / "config.toml").exists():
            raise RunError(
                f"{directory} holds a run already, which would be overwritten. "
                f"Continue it with --resume {directory}, or choose another --out."
            )
        run = cls(directory)
        try:
            (directory / "checkpoints").mkdir(parents=True, exist_ok=True)
            environment = {
                "config_digest": config.digest(),
                "seeds": {key: value for key, value in config if key.startswith("seed")},
                "git_revision": _git_revision(),
                "platform": platform.platform(),
                "python": platform.python_version(),
                "versions": installed_versions(_PACKAGES),
                "inputs": dict(inputs or {}),
            }
            _write(directory / "environment.json", _json(environment))
            run.metrics_path.write_bytes(b"")
            _write(directory / "config.toml", config.dump().encode())
        except OSError as error:
            raise RunError(
                f"{directory} cannot be written ({error}). Choose another --out."
            ) from None
        return run

    @classmethod
    def open(cls, directory: Path) -> Run:
        """An existing run directory.

        Raises:
          RunError: if there is no run in it.
        """
        if not (directory / "config.toml").is_file():
            raise RunError(
                f"{directory} is not a run directory (no config.toml). "
                "Pass the directory that --out named."
            )
        return cls(directory)

    @classmethod
    def resume(
        cls, directory: Path, config: StrictConfig, inputs: Mapping[str, str] | None = None
    ) -> Run:
        """An existing run directory, whose run is to go on with the same configuration and inputs.

        Raises:
          RunError: if there is no run in it, or one of others, or its config.toml was edited.
        """
        run = cls.open(directory)
        written, environment = run.config(type(config)), run.environment()
        if written.digest() != environment["config_digest"]:
            raise RunError(
                f"{directory}/config.toml is not what the run was started with, so it cannot go "
                "on. Undo the change (or take the version of ipsrl that environment.json names), "
                "or start a new run elsewhere."
            )
        if written != config:
            raise RunError(
                f"{directory} was started with another configuration, so it cannot go on with this "
                "one. Pass the configuration in its config.toml, or start a new run elsewhere."
            )
        if changed := differences(environment.get("inputs", {}), inputs or {}):
            raise RunError(
                f"{directory} was started with other files or versions ({changed}), so what it "
                "computed cannot go on with these. Undo the change, or start a new run elsewhere."
            )
        return run

    def config(self, model: type[C]) -> C:
        """The configuration that the run was started with."""
        return model.load(self.directory / "config.toml")

    def environment(self) -> dict[str, Any]:
        """environment.json."""
        return json.loads((self.directory / "environment.json").read_bytes())

    # --- while it runs --------------------------------------------------------------------------

    def log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lines to metrics.jsonl; they count from the next checkpoint on."""
        with self._writing(), self.metrics_path.open("ab") as file:
            for row in rows:
                file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def log_outcomes(self, step: int, ids: np.ndarray, rewards: np.ndarray) -> None:
        """Append counts of a batch to outcomes.parquet.

        Args:
          step: as the checkpoint that follows.
          ids: outcome ids [seeds, N].
          rewards: raw rewards [seeds, N].
        """
        columns: dict[str, list[Any]] = {name: [] for name in _OUTCOMES.names}
        for seed, (seed_ids, seed_rewards) in enumerate(zip(ids, rewards, strict=True)):
            outcomes, which, counts = np.unique(seed_ids, return_inverse=True, return_counts=True)
            means = np.bincount(which, seed_rewards) / counts
            columns["step"] += [step] * len(outcomes)
            columns["seed"] += [seed] * len(outcomes)
            columns["outcome"] += outcomes.tolist()
            columns["count"] += counts.tolist()
            columns["mean_reward"] += means.tolist()
        self.append("outcomes", pa.table(columns, schema=_OUTCOMES))

    def append(self, name: str, table: pa.Table) -> None:
        """Append rows to NAME.parquet.

        Args:
          name: of the table.
          table: with a column `step`: rows of a step count from its checkpoint on.
        """
        path = self.directory / f"{name}.parquet"
        with self._writing():
            if path.exists():
                table = pa.concat_tables([pq.read_table(path), table])
            _write_table(path, table)

    def checkpoint(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Make everything so far permanent.  The two newest checkpoints are kept."""
        stem = self.directory / "checkpoints" / f"step-{step:012d}"
        with self._writing():
            _write(stem.with_suffix(".safetensors"), _pack(arrays))
            state = {"step": step, "metrics_bytes": self.metrics_path.stat().st_size}
            _write(stem.with_suffix(".json"), _json(state))
            self._prune()

    def restore(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Step and arrays of the newest checkpoint, or None; what came after it is dropped."""
        checkpoints = self._checkpoints()
        state = json.loads(checkpoints[-1].read_bytes()) if checkpoints else None
        with self._writing():
            os.truncate(self.metrics_path, state["metrics_bytes"] if state else 0)
            last = state["step"] if state else -1
            for path in self.directory.glob("*.parquet"):
                _write_table(path, pq.read_table(path).filter(pc.field("step") <= last))
            self._prune()
        if state is None:
            return None
        return state["step"], load_file(checkpoints[-1].with_suffix(".safetensors"))

    def finish(
        self, result: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Write the final arrays, if any, and, last, result.json."""
        with self._writing():
            if arrays is not None:
                _write(self.directory / "arrays.safetensors", _pack(arrays))
            _write(self.directory / "result.json", _json(result))

    def discard(self) -> None:
        """The run could not begin, and another may in its place."""
        (self.directory / "config.toml").unlink()

    # --- afterwards -----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return (self.directory / "result.json").is_file()

    def result(self) -> dict[str, Any]:
        """What `finish` wrote.

        Raises:
          RunError: if the run has not ended.
        """
        if not self.finished:
            raise RunError(
                f"{self.directory} has no result.json: the run has not ended. "
                f"Continue it with --resume {self.directory}."
            )
        return json.loads((self.directory / "result.json").read_bytes())

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl."""
        return [json.loads(line) for line in self.metrics_path.read_text().splitlines()]

    def arrays(self) -> dict[str, np.ndarray]:
        """Final arrays."""
        return load_file(self.directory / "arrays.safetensors")

    def _checkpoints(self) -> list[Path]:
        return sorted((self.directory / "checkpoints").glob("step-*.json"))

    def _prune(self) -> None:
        """Keep the two newest checkpoints, and nothing that a death in the middle has left."""
        kept = [path.stem for path in self._checkpoints()[-2:]]
        for path in (self.directory / "checkpoints").iterdir():
            if path.stem not in kept:
                path.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.directory} cannot be written ({error}). What it holds up to its last "
                f"checkpoint is intact: make room, then continue with --resume {self.directory}."
            ) from None


_OUTCOMES = pa.schema(
    [
        ("step", pa.int64()),
        ("seed", pa.int64()),
        ("outcome", pa.int64()),
        ("count", pa.int64()),
        ("mean_reward", pa.float64()),
    ]
)


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """Yields `advance(done, note)`: a bar on a terminal, a line every two seconds elsewhere."""
    if sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}% {task.fields[note]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as bar:
            task = bar.add_task(label, total=total, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)
        return

    spoke = time.monotonic()

    def advance(done: int, note: str = "") -> None:
        nonlocal spoke
        if done >= total or time.monotonic() - spoke > 2:
            spoke = time.monotonic()
            print(f"{label}: {done / max(total, 1):.0%} {note}", file=sys.stderr, flush=True)

    yield advance


def _write(path: Path, content: bytes) -> None:
    """Replace the file as a whole, or leave it as it was."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must survive a power cut
    finally:
        os.close(directory)


def _write_table(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink)  # else the bytes depend on the history
    _write(path, sink.getvalue().to_pybytes())


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """As safetensors, which stores memory as it lies: a slice must be made contiguous first."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between the inputs of two runs, in words; "" if nothing does."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{n}: {before.get(n, 'none')}, now {now.get(n, 'none')}" for n in names)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, in this order."""
    found: dict[str, str] = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _git_revision() -> str | None:
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():  # installed: a repository around it is somebody else's
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
