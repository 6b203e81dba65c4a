"""What every ``*_hypergrid.py`` script of the benchmark shares: options, reward and report.

Standard library only, because each script runs in a different environment.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

R0, R1, R2 = 0.1, 0.5, 2.0


@dataclass(frozen=True)
class Task:
    """One training run, as given on the command line."""

    dims: int
    side: int
    batch: int
    hidden: int
    iterations: int
    seed: int


def parse_task() -> Task:
    """Read the task from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dims", type=int, default=2)
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return Task(**vars(parser.parse_args()))


def diagonal_rewards(side: int) -> list[float]:
    """Return R(x, x, ..., x) for x = 0 .. side-1, in integer arithmetic."""
    m = side - 1
    rewards = []
    for x in range(side):
        k = abs(2 * x - m)
        rewards.append(R0 + R1 * (2 * k > m) + R2 * (6 * m < 10 * k < 8 * m))
    return rewards


def check_rewards(side: int, library_rewards: list[float]) -> None:
    """Raise if a library's reward on the diagonal is not the benchmark's.

    The diagonal is enough: both bonus terms ask the same thing of every coordinate, so a formula
    that agrees on (x, ..., x) for every x classifies each coordinate value alike.
    """
    expected = diagonal_rewards(side)
    if len(library_rewards) != side or any(
        abs(a - b) > 1e-5 for a, b in zip(expected, library_rewards, strict=True)
    ):
        raise SystemExit(f"reward differs at side {side}: {expected} but got {library_rewards}")


class Stopwatch:
    """CPU and wall time from construction to :meth:`stop`."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """Return (CPU seconds of all threads, wall seconds)."""
        return time.process_time() - self._cpu, time.perf_counter() - self._wall


def report(
    task: Task, library: str, version: str, seconds: tuple[float, float], final_loss: float
) -> None:
    """Print the one JSON line that the driver reads."""
    fields = asdict(task)
    cpu, wall = seconds
    print(
        json.dumps(
            {
                "library": library,
                "version": version,
                **{name: fields[name] for name in ("dims", "side", "batch", "iterations")},
                "cpu_seconds": cpu,
                "wall_seconds": wall,
                "iterations_per_cpu_second": task.iterations / cpu,
                "final_loss": final_loss,
            }
        )
    )
