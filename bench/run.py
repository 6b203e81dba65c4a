"""Speed of trajectory-balance training on the hyper-grid: this library and its rivals.

    python bench/run.py [--repetitions 3] [--scale 1.0] [--rival-python PYTHON]

Every library runs alone in a process of its own, on one core and with one thread. Repetitions are
interleaved, so that a slow spell of the machine hits all libraries alike. Environments of the
rivals are built once, under .bench/. Exits with 1 if this library's own run fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".bench"
OURS = "ipsrl"
RIVALS = ("torchgfn", "gfnx")
GRIDS = ((2, 8), (4, 8), (6, 8), (4, 20), (8, 8))
BATCH, HIDDEN = 256, 64
# Enough for some 5 to 20 seconds a run on a slow core.
ITERATIONS: Mapping[str, tuple[int, ...]] = {
    OURS: (50_000, 5_000, 1_000, 1_000, 600),
    "torchgfn": (1000, 600, 150, 100, 100),
    "gfnx": (3000, 1000, 300, 200, 200),
}
"""Iterations by library, one number for each of the grids."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


class BenchError(Exception):
    """A library could not be built or run; the message says why."""


@dataclass
class Cell:
    """All repetitions of one library on one grid."""

    library: str
    dims: int
    side: int
    runs: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None

    @property
    def speeds(self) -> list[float]:
        return [run["iterations_per_cpu_second"] for run in self.runs]

    @property
    def measured(self) -> bool:
        return self.failure is None and bool(self.runs)


def last_line(text: str, start: str = "") -> str:
    """Return the last non-blank line that begins with `start`, or the very last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = [line for line in lines if line.startswith(start)] or lines
    return chosen[-1] if chosen else "no output"


def build_environment(name: str, base_python: str) -> Path:
    """Return the interpreter of the rival's environment, building it if it is missing or stale."""
    requirements = HERE / f"requirements-{name}.txt"
    root = ENVIRONMENTS / name
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = root / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    print(f"building {root} ...", file=sys.stderr, flush=True)
    shutil.rmtree(root, ignore_errors=True)
    for command in (
        [base_python, "-m", "venv", str(root)],
        [str(python), "-m", "pip", "install", "-r", str(requirements)],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise BenchError(f"environment not built: {error}") from error
        if done.returncode != 0:
            reason = last_line(done.stderr or done.stdout, "ERROR")
            raise BenchError(f"environment not built: {reason}")
    stamp.write_text(digest)  # last, so that an interrupted build is not taken for a good one
    return python


def pin_to_one_core() -> int | None:
    """Confine this process, and so all it starts later, to one core; return that core.

    The driver only waits while a run goes on, so it may share the core.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    # The last core that we may use: the first tends to serve the system's interrupts.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def run_measured(
    command: list[str], environment: dict[str, str]
) -> tuple[int, str, str, float | None]:
    """Run a command; return its exit code, stdout, stderr and peak resident memory in MiB."""
    # Files, not pipes: wait4 below reaps the child, and a full pipe would block it before.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        peak = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            # Linux counts in KiB, macOS in bytes.
            peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        else:
            process.wait()
        out.seek(0)
        err.seek(0)
        return process.returncode, out.read(), err.read(), peak


def run_once(
    library: str, python: str, dims: int, side: int, iterations: int, seed: int
) -> dict[str, Any]:
    """Run one library's script once and return its report, with the peak memory added."""
    command = [python, str(HERE / f"{library}_hypergrid.py")]
    for option, value in (
        ("dims", dims),
        ("side", side),
        ("batch", BATCH),
        ("hidden", HIDDEN),
        ("iterations", iterations),
        ("seed", seed),
    ):
        command += [f"--{option}", str(value)]
    environment = {**os.environ, **ONE_THREAD}
    if library != OURS:
        environment.pop("PYTHONPATH", None)  # the rival must see its own environment only
    try:
        code, out, err, peak = run_measured(command, environment)
    except OSError as error:
        raise BenchError(f"run failed: {error}") from error
    if code != 0:
        raise BenchError(f"run failed with exit code {code}: {last_line(err)}")
    try:
        report: dict[str, Any] = json.loads(last_line(out))
        valid = report["iterations"] == iterations and report["iterations_per_cpu_second"] > 0
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"unreadable report: {last_line(out)}") from error
    if not valid:
        raise BenchError(f"report of another run: {last_line(out)}")
    return {**report, "seed": seed, "peak_rss_mib": peak}


def measure(
    interpreters: dict[str, str | BenchError], repetitions: int, scale: float
) -> list[Cell]:
    """Run everything, repetitions outermost; what failed on a grid is not tried on it again."""
    cells = [Cell(library, dims, side) for dims, side in GRIDS for library in interpreters]
    for repetition in range(repetitions):
        for cell in cells:
            python = interpreters[cell.library]
            if isinstance(python, BenchError):
                cell.failure = str(python)
            if cell.failure is not None or isinstance(python, BenchError):
                continue
            grid = GRIDS.index((cell.dims, cell.side))
            iterations = max(1, round(scale * ITERATIONS[cell.library][grid]))
            try:
                run = run_once(cell.library, python, cell.dims, cell.side, iterations, repetition)
            except BenchError as error:
                cell.failure = str(error)
                print(f"{cell.library} {cell.side}^{cell.dims}: {error}", file=sys.stderr)
                continue
            cell.runs.append(run)
            print(
                f"repetition {repetition + 1}: {cell.library} {cell.side}^{cell.dims}:"
                f" {run['iterations_per_cpu_second']:.1f} it/CPU-s",
                file=sys.stderr,
                flush=True,
            )
    return cells


def ratio_to_ours(cell: Cell, cells: list[Cell]) -> float | None:
    """Return our median speed over this cell's on the same grid, if both were measured."""
    ours = next(c for c in cells if (c.library, c.dims, c.side) == (OURS, cell.dims, cell.side))
    if not (cell.measured and ours.measured):
        return None
    return statistics.median(ours.speeds) / statistics.median(cell.speeds)


def table(cells: list[Cell]) -> str:
    """Return the results as aligned text."""
    rows = [["grid", "library", "it/CPU-s", "(min-max)", "ours/theirs", "peak MiB"]]
    for cell in cells:
        grid = f"{cell.side}^{cell.dims}"
        if not cell.measured:
            rows.append([grid, cell.library, f"- {cell.failure}"])
            continue
        ratio = ratio_to_ours(cell, cells)
        peaks = [run["peak_rss_mib"] for run in cell.runs if run["peak_rss_mib"] is not None]
        rows.append(
            [
                grid,
                f"{cell.library} {cell.runs[0]['version']}",
                f"{statistics.median(cell.speeds):.1f}",
                f"({min(cell.speeds):.1f}-{max(cell.speeds):.1f})",
                "-" if ratio is None else f"{ratio:.2f}",
                f"{max(peaks):.0f}" if peaks else "-",
            ]
        )
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[i]) for row in full) for i in range(len(rows[0]))]
    widths[1] = max(len(row[1]) for row in rows)
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        if len(row) == len(rows[0]):
            left += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        else:
            left += row[2:]  # a reason may be as long as it likes
        lines.append("  ".join(left).rstrip())
    return "\n".join(lines)


def cpu_model() -> str:
    """Return the processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def load_average() -> list[float] | None:
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on iteration numbers")
    parser.add_argument(
        "--rival-python", default=sys.executable, help="interpreter to build rivals with"
    )
    arguments = parser.parse_args()
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")

    interpreters: dict[str, str | BenchError] = {OURS: sys.executable}
    for name in RIVALS:
        try:
            interpreters[name] = str(build_environment(name, arguments.rival_python))
        except BenchError as error:
            interpreters[name] = error

    core = pin_to_one_core()
    load_before = load_average()
    cells = measure(interpreters, arguments.repetitions, arguments.scale)
    print(table(cells))
    results = {
        "command": shlex.join(["python", "bench/run.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "core": core,
        "load_average": {"before": load_before, "after": load_average()},
        "batch": BATCH,
        "hidden": HIDDEN,
        "versions": {cell.library: cell.runs[0]["version"] for cell in cells if cell.runs},
        "results": [
            {
                "library": cell.library,
                "dims": cell.dims,
                "side": cell.side,
                "failure": cell.failure,
                "median_iterations_per_cpu_second": (
                    statistics.median(cell.speeds) if cell.measured else None
                ),
                "ours_over_theirs": ratio_to_ours(cell, cells),
                "runs": cell.runs,
            }
            for cell in cells
        ],
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(cell.measured for cell in cells if cell.library == OURS) else 1


if __name__ == "__main__":
    sys.exit(main())
