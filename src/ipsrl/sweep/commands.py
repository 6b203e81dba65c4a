"""The command `ipsrl sweep`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ipsrl.command import SinkName
from ipsrl.errors import ConfigError
from ipsrl.options import loudness_of, parse


@dataclass(frozen=True)
class Options:
    """Train every combination of values in a TOML file, and compare what they found.

    Every run has a directory of its own.  The same command again goes on: runs that have ended are
    kept, and those that were interrupted or failed go on from their last checkpoint.

    What is in the file:

      train = "hypergrid"            family, as after `ipsrl train`
      seeds = 3                      runs of each cell
      measures = ["total_l1"]        numbers of result.json to show
      base = "my.toml"               keys that all runs share, from a file
      [config]                       keys that all runs share
      iterations = 200
      [grid]                         lists of values; every combination is a cell
      method = ["grpo", "ips-grpo"]
    """

    file: tyro.conf.Positional[Path]
    """The TOML file."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the runs, table.json and sweep.svg; runs/NAME if not given, with the name of the
    file."""
    workers: int | None = None
    """Runs at one time; one for each processor if not given, and all with --ray or --slurm."""
    ray: str | None = None
    """Address of a Ray cluster whose machines see the folder, or auto."""
    gpus: float = 0.0
    """GPUs of each run, with --ray."""
    slurm: tuple[str, ...] | None = None
    """Submit every run to Slurm, with these options of sbatch: partition=gpu time=120."""
    log_to: tuple[SinkName, ...] = ()
    """Sinks that also get the numbers, tables and pictures of the runs."""
    json: bool = False
    """Print the rows of the table as JSON instead of text."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
    """Say nothing of the progress."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """A line for every run that ends."""


def sweep(argv: list[str]) -> int:
    options = parse(Options, argv, "ipsrl sweep")
    if options.ray is not None and options.slurm is not None:
        raise ConfigError("--ray and --slurm are two places. Choose one.")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers {options.workers} runs nothing. Use at least 1.")
    of_slurm, loudness = _pairs(options.slurm or ()), loudness_of(options.quiet, options.verbose)
    from ipsrl.runs import Folder, progress, speaking
    from ipsrl.runs.lock import locked
    from ipsrl.runs.sinks import check
    from ipsrl.sweep.config import SweepConfig, cells_of, check_functions, measures_of
    from ipsrl.sweep.jobs import Job, run_all
    from ipsrl.sweep.picture import check_library, picture
    from ipsrl.sweep.results import (
        check_unmixed,
        failures,
        finished,
        print_rows,
        rows_of,
        write_rows,
    )

    check_library()
    check(options.log_to)
    plan = SweepConfig.load(options.file)
    cells = cells_of(plan, options.file.resolve().parent)
    out = (options.out or Path("runs") / options.file.stem).absolute()
    check_unmixed(out, sweep=True)
    configs = {run: config for cell in cells for run, config in cell.runs.items()}
    todo = [run for run, config in configs.items() if not finished(config, out / run)]
    for run in todo:
        check_functions(run, configs[run].model_dump())
    measures = measures_of(plan)
    jobs = [Job(plan.train, out / run, options.log_to) for run in todo]
    elsewhere = options.ray is not None or options.slurm is not None
    at_once = options.workers or (len(jobs) if elsewhere else len(os.sched_getaffinity(0)))
    # A run may end and have failed, such as one in which no call had a value.  It is not run again.
    over = configs.keys() - todo
    failed = {run: why for run, why in failures(out).items() if run in over}
    title = options.file.stem
    with _stoppable(), _place(options, of_slurm, out) as somewhere:
        folder = Folder.make(out)
        with locked(out):
            folder.claim("table.json", "sweep.svg", "submitit/")
            for run in todo:
                folder.claim(f"{run}/", f"{run}.log")
                folder.write(f"{run}.toml", configs[run].dump().encode())
            with speaking(loudness), progress("sweep", len(configs)) as advance:
                done = len(configs) - len(jobs)
                advance(done, f"{done} of {len(configs)} runs had ended before" if done else "")
                rows = rows_of(cells, out, measures, failed)
                try:
                    write_rows(out, rows)  # what a report shows of a sweep that goes on or stops
                    for job, trouble in run_all(jobs, somewhere, max(1, at_once)):
                        done, run = done + 1, job.out.name
                        if not trouble and not finished(configs[run], job.out):
                            trouble = "it ended without a result"
                        if trouble:
                            failed[run] = trouble
                            print(f"{run} failed: {trouble}", file=sys.stderr, flush=True)
                        rows = rows_of(cells, out, measures, failed)
                        write_rows(out, rows)
                        lost = f" ({len(failed)} failed so far)" if failed else ""
                        advance(done, f"{run} {'failed' if trouble else 'ended'}{lost}")
                finally:
                    folder.write("sweep.svg", picture(title, rows))
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(title, rows)
        for run, why in failed.items():
            again = f"  (To run it again, remove {out / run}.)" if run in over else ""
            print(f"{run} failed: {why}{again}")
        print(f"table and picture: {out / 'sweep.svg'}")
    return 1 if failed else 0


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped, with its runs; the same command goes on") from None


def _place(options: Options, of_slurm: Mapping[str, str], out: Path) -> AbstractContextManager:
    from ipsrl.sweep.places import here, on_ray, under_slurm

    if options.ray is not None:
        return on_ray(options.ray, options.gpus)
    if options.slurm is not None:
        return under_slurm(of_slurm, out / "submitit")
    return here()


def _pairs(words: Sequence[str]) -> Mapping[str, str]:
    pairs = {key: value for key, _, value in (word.partition("=") for word in words)}
    if not all(key and value for key, value in pairs.items()):
        raise ConfigError(
            f"--slurm {' '.join(words)}: write KEY=VALUE, such as partition=gpu time=120."
        )
    return pairs
