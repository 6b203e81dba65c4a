"""Where the runs of a sweep run: on this machine, on a Ray cluster, or under Slurm."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ipsrl.errors import ConfigError, MissingExtra, RunError
from ipsrl.sweep.jobs import Job, run
from ipsrl.workers.group import ProcessGroup

TRIES = 3  # of a job whose machine dies

Somewhere = Callable[[Job], str]


@contextmanager
def here() -> Iterator[Somewhere]:
    """Run on this machine; at the end runs that are still going are killed."""
    with ProcessGroup() as group:
        yield lambda job: run(job, group)


@contextmanager
def on_ray(address: str, gpus: float = 0) -> Iterator[Somewhere]:
    """Run on a cluster of machines that all see the folder of the sweep.

    A job whose machine or process dies goes on elsewhere, from its last checkpoint.

    Args:
      address: of the cluster, such as 10.0.0.1:6379, or "auto" for the one of this machine.
      gpus: that a job gets.
    Raises:
      MissingExtra: without Ray.
      RunError: if there is no cluster.
    """
    try:
        import ray
        from ray.exceptions import RayError
    except ModuleNotFoundError as error:
        raise MissingExtra("cluster", error.name or "ray") from None

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(
            f"there is no Ray cluster at {address!r} ({error}). Start one with `ray start --head`, "
            "or correct --ray."
        ) from None
    # Ray must not kill the guard of a process group before what it guards.
    spared = {"env_vars": {"RAY_kill_child_processes_on_worker_exit": "false"}}
    task = ray.remote(
        num_cpus=1, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD", runtime_env=spared
    )(run)

    def somewhere(job: Job) -> str:
        for tries in range(1, TRIES + 1):
            try:
                return ray.get(task.remote(job))
            except RayError as error:
                trouble = f"its machine or process died ({type(error).__name__})"
                if not ray.is_initialized():  # the sweep ends; a task would start a cluster
                    return trouble
                if tries < TRIES:
                    print(f"{job.out.name}: {trouble}; it goes on elsewhere", file=sys.stderr)
        return f"{trouble}, {TRIES} times"

    try:
        yield somewhere
    finally:
        ray.shutdown()


@contextmanager
def under_slurm(options: Mapping[str, str], folder: Path) -> Iterator[Somewhere]:
    """Run as jobs of Slurm, through submitit; without Slurm, as its local jobs.

    Args:
      options: of sbatch, such as {"partition": "gpu", "time": "60"}; a day if no time is given.
      folder: for what submitit writes.
    Raises:
      MissingExtra: without submitit.
      ConfigError: for an option that submitit refuses.
    """
    try:
        import submitit  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise MissingExtra("cluster", error.name or "submitit") from None

    if shutil.which("sbatch") is None:
        print("there is no sbatch here: runs run on this machine", file=sys.stderr)
    named = {f"slurm_{key}": _number(text) for key, text in options.items()}

    def executor(folder: Path | str) -> Any:
        made = submitit.AutoExecutor(folder=folder)
        made.update_parameters(**{"name": "ipsrl", "slurm_time": 24 * 60, **named})
        return made

    try:
        with TemporaryDirectory() as elsewhere:  # an executor makes its folder, even to refuse
            executor(elsewhere)
    except (TypeError, NameError, ValueError) as error:
        raise ConfigError(f"--slurm {dict(options)} is refused by submitit: {error}") from None
    submitted: list[Any] = []

    def somewhere(job: Job) -> str:
        mine = executor(folder).submit(run, job)  # other threads submit theirs
        submitted.append(mine)
        return mine.result()

    try:
        yield somewhere
    finally:
        for one in submitted:
            if not one.done():
                one.cancel()


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
