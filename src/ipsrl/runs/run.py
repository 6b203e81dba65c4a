"""A run directory: what a training run leaves behind, and how it goes on after an interruption.

    config.toml           the resolved configuration
    environment.json      family, command, versions, git revision, digests of configuration, inputs
    files.json            the names of the run's own files; no other is changed or removed
    lock.json             while it is written: by which process, and since when
    metrics.jsonl         one line per evaluation and seed
    outcomes.parquet      step, seed, outcome, count, mean_reward of the batch at each checkpoint
    calls.parquet         every oracle call (molecules); calls/step-N.parquet while it runs
    filter.parquet        how often the diversity filter counted each scaffold, in the same way
    checkpoints/          step-N.safetensors, and step-N.json, which makes it valid
    failure.json          what ended the run, if an error did; it goes when the run goes on
    result.json           written last
    arrays.safetensors    final distributions, for the figures

Neither times nor paths go into the results: the same configuration and seed give the same bytes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ipsrl.config import StrictConfig
from ipsrl.errors import NoRun, RunError, words
from ipsrl.runs import folder, formats, lock
from ipsrl.runs.beginning import check_empty, has_begun, not_written
from ipsrl.runs.checkpoints import Checkpoints
from ipsrl.runs.environment import check_same, environment, family
from ipsrl.runs.folder import Folder
from ipsrl.runs.live import Live, watching
from ipsrl.runs.lock import Lock
from ipsrl.runs.outcomes import counted
from ipsrl.runs.parts import Parts

C = TypeVar("C", bound=StrictConfig)

_FAILURE = "failure.json"
_FIRST = ("config.toml", "environment.json", "metrics.jsonl")


class Run:
    """One run directory.

    `create` and `resume` return a run that this process alone may write, until the end of `with`;
    `open` returns one to read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = Folder(directory)
        self.metrics_path = directory / "metrics.jsonl"
        self.outcomes_path = directory / "outcomes.parquet"
        self._lock: Lock | None = None
        self._live = Live((), directory)
        self._new = self._made = False

    @classmethod
    def create(
        cls, directory: Path, config: StrictConfig, inputs: Mapping[str, str] | None = None
    ) -> Self:
        """A new run directory with its configuration and environment.

        Args:
          directory: to make; one that exists must be empty.
          config: of the run.
          inputs: what its results depend on besides: versions and digests, by name.
        Raises:
          RunError: if the directory holds anything already, or cannot be written.
        """
        check_empty(directory)
        made = not directory.exists()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            writer = Lock(directory)
        except OSError as error:
            raise not_written(directory, error) from None
        try:
            check_empty(directory)  # another process may have been faster
            run = cls(directory)
            run.files.begin()
            run.files.claim(*_FIRST, "checkpoints/")
            (directory / "checkpoints").mkdir(exist_ok=True)
            run.files.write("environment.json", formats.as_json(environment(config, inputs or {})))
            run.metrics_path.write_bytes(b"")
            run._watch()
            run.files.write("config.toml", config.dump().encode())
        except OSError as error:
            writer.release()
            raise not_written(directory, error) from None
        except BaseException:
            writer.release()
            raise
        run._lock, run._new, run._made = writer, True, made
        return run

    @classmethod
    def open(cls, directory: Path) -> Self:
        """An existing run directory, to read.

        Raises:
          NoRun: if there is no run in it.
        """
        if not (directory / "config.toml").is_file():
            raise NoRun(
                f"{directory} is not a run directory (no config.toml). "
                "Pass the directory that --out named."
            )
        run = cls(directory)
        if "config.toml" not in run.files:
            raise NoRun(
                f"{directory} has a config.toml that no {folder.LIST} lists, so it is not a run "
                "of this version of ipsrl. Pass the directory that --out named."
            )
        return run

    @classmethod
    def resume(
        cls, directory: Path, config: StrictConfig, inputs: Mapping[str, str] | None = None
    ) -> Self:
        """An existing run directory, whose run is to go on with the same configuration and inputs.

        A finished run is returned to be read.

        Raises:
          NoRun: if there is no run in it, or one of another family.
          RunError: if its config.toml was edited, or another process is writing it.
        """
        run = cls.open(directory)
        run.check_family(type(config))
        check_same(directory, run.config(type(config)), config, run.environment(), inputs or {})
        if run.finished:
            return run
        try:
            run._lock = Lock(directory)
        except OSError as error:
            raise run.cannot_write(error) from None
        try:
            run.files = Folder(directory)  # the last writer may have ended just now
            run.files.check_links()
            with run._writing():
                run.files.remove([_FAILURE])
            run._watch()
        except BaseException:
            run.close()
            raise
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        nothing = isinstance(error, Exception) and self._new and not has_begun(self.directory)
        try:
            if nothing:
                self._discard()
            elif isinstance(error, Exception) and self._lock is not None and not self.finished:
                with suppress(OSError, RunError):  # as on a full disk
                    self.files.write(_FAILURE, formats.as_json({"error": words(error)}))
        finally:
            self.close()
        if nothing and self._made:
            with suppress(OSError):  # what is not ours stays
                self.directory.rmdir()

    def close(self) -> None:
        """Let other processes write."""
        self._live.close()
        if self._lock is not None:
            self._lock.release()

    def config(self, model: type[C]) -> C:
        """The configuration that the run was started with."""
        return model.load(self.directory / "config.toml")

    @property
    def family(self) -> str:
        """The run's family, such as grids."""
        return self.environment()["family"]

    def check_family(self, model: type[StrictConfig]) -> None:
        """A run goes on as what it began.

        Raises:
          NoRun: if the run is of another family than this configuration.
        """
        if self.family != family(model):
            raise NoRun(
                f"{self.directory} is a run of the family {self.family}, not of {family(model)}, "
                "so it cannot go on as one. Continue it with the command that began it."
            )

    def environment(self) -> dict[str, Any]:
        """environment.json.

        Raises:
          RunError: if it cannot be read.
        """
        return formats.read_json(self.directory / "environment.json")

    # --- while it runs --------------------------------------------------------------------------

    def log(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lines to metrics.jsonl; they count from the next checkpoint on."""
        rows = list(rows)
        with self._writing(), self.metrics_path.open("ab") as file:
            for row in rows:
                file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._live.rows(rows)

    def log_outcomes(self, step: int, ids: np.ndarray, rewards: np.ndarray) -> None:
        """Append counts of a batch to outcomes.parquet.

        Args:
          step: as the checkpoint that follows.
          ids: outcome ids [seeds, N].
          rewards: raw rewards [seeds, N].
        """
        self.append("outcomes", counted(step, ids, rewards))

    def append(self, name: str, table: pa.Table) -> None:
        """Append rows to NAME.parquet.

        Args:
          name: of the table.
          table: with a column `step`: rows of a step count from its checkpoint on.
        """
        file = f"{name}.parquet"
        self.show(name, table)
        with self._writing():
            if file in self.files:
                table = pa.concat_tables([formats.read_parquet(self.directory / file), table])
            self.files.write(file, formats.as_parquet(table))

    @property
    def is_watched(self) -> bool:
        """True if anyone sees what `show` sends: a table costs time to make."""
        return bool(self._live.names)

    def show(self, name: str, table: pa.Table) -> None:
        """Send a table, with a column `step`, to whoever watches the run; it is not kept."""
        self._live.table(name, table)

    def add_part(self, name: str, step: int, table: pa.Table) -> None:
        """Append rows, of the checkpoint that follows, to a table however long: see `Parts`."""
        with self._writing():
            Parts(self.files, name).add(step, table)

    def join_parts(self, name: str) -> pa.Table:
        """Make NAME.parquet of the parts of a table; returns it."""
        with self._writing():
            return Parts(self.files, name).join()

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the run's own as a whole."""
        with self._writing():
            self.files.write(name, content)

    def own_folder(self, name: str) -> Path:
        """The path of a folder that a library is about to fill."""
        with self._writing():
            self.files.claim(f"{name}/")
        return self.directory / name

    def checkpoint(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Make everything so far permanent.  The two newest checkpoints are kept."""
        with self._writing():
            state = {"step": step, "metrics_bytes": self.metrics_path.stat().st_size}
            Checkpoints(self.files).add(arrays, state)

    def restore(self, *parts: str) -> tuple[int, dict[str, np.ndarray]] | None:
        """Step and arrays of the newest checkpoint, or None; what came after it is dropped.

        Args:
          parts: names of tables that `add_part` writes.
        Raises:
          RunError: if the checkpoint is damaged, or metrics.jsonl is shorter than at that step.
        """
        checkpoints = Checkpoints(self.files)
        found = checkpoints.newest()
        state = {"step": -1, "metrics_bytes": 0} if found is None else found[1]
        with self._writing():
            formats.cut(self.metrics_path, state["metrics_bytes"])
            for name in parts:
                Parts(self.files, name).cut(state["step"])
            for name in sorted(self.files.listed):
                if name.endswith(".parquet") and "/" not in name and name in self.files:
                    table = formats.read_parquet(self.directory / name)
                    self.files.write(
                        name, formats.as_parquet(table.filter(pc.field("step") <= state["step"]))
                    )
            checkpoints.prune()
        return None if found is None else (state["step"], found[0])

    def finish(
        self, result: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Write the final arrays, if any, and, last, result.json."""
        content = formats.as_json(result)
        with self._writing():
            if arrays is not None:
                self.files.write("arrays.safetensors", formats.as_safetensors(arrays))
            self.files.write("result.json", content)

    # --- afterwards -----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return "result.json" in self.files

    @property
    def state(self) -> Literal["ended", "running", "failed", "stopped"]:
        """The state of the run; `stopped` is one that ended early without an error."""
        if self.finished:
            return "ended"
        if lock.is_held(self.directory):
            return "running"
        return "failed" if _FAILURE in self.files else "stopped"

    def failure(self) -> str:
        """The error that ended the run, in words; "" if none did."""
        return (
            formats.read_json(self.directory / _FAILURE)["error"] if _FAILURE in self.files else ""
        )

    def result(self) -> dict[str, Any]:
        """The result that `finish` wrote.

        Raises:
          RunError: if the run has not ended.
        """
        if not self.finished:
            raise RunError(
                f"{self.directory} has no result.json: the run has not ended. "
                f"Continue it with --resume {self._to_resume}."
            )
        return formats.read_json(self.directory / "result.json")

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl, without one that is being written just now."""
        return formats.read_lines(self.metrics_path)

    def arrays(self) -> dict[str, np.ndarray]:
        """Final arrays."""
        return formats.read_arrays(self.directory / "arrays.safetensors")

    def _watch(self) -> None:
        """Let those who watch see what is logged from now on."""
        self._live = Live(watching.get(), self.directory)
        self.files.claim(*self._live.folders)

    @property
    def _to_resume(self) -> str:
        """The directory that a user names, quoted for a shell: of a run within a run, the outer."""
        outer = self.directory.parent
        files = Folder(outer)  # of a sweep, which is not a run, or of a run
        within = "config.toml" in files and f"{self.directory.name}/" in files
        return shlex.quote(str(outer if within else self.directory))

    def _discard(self) -> None:
        """The run could not begin, and another may in its place."""
        (self.directory / "config.toml").unlink(missing_ok=True)  # first: then it is not a run
        self.files.remove(self.files.listed)
        if not self.files.listed:
            (self.directory / folder.LIST).unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.cannot_write(error) from None

    def cannot_write(self, error: Exception) -> RunError:
        """The error for a disk that is full or read-only."""
        if not has_begun(self.directory):
            return not_written(self.directory, error)
        return RunError(
            f"{self.directory} cannot be written ({error}). What it holds up to its last "
            "checkpoint is intact: make room, then continue with "
            f"--resume {self._to_resume}."
        )
