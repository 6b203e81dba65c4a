"""One run of a sweep, as a process of its own that runs the command of its family."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ipsrl.errors import words
from ipsrl.workers.group import ProcessGroup

LAST = 100_000  # bytes of a log in which the cause of a failure is looked for
# What Python writes last of a traceback, such as "ValueError: no".
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \n].*\n?)+(\S.*)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A run that has to be made; the same on every machine that sees its folder.

    Attributes:
      train: family, as after `ipsrl train`.
      out: run directory, absolute; OUT.toml is its configuration, and OUT.log what it says.
      log_to: sinks that watch it.
    """

    train: str
    out: Path
    log_to: Sequence[str] = ()

    @property
    def log(self) -> Path:
        return self.out.with_name(f"{self.out.name}.log")

    @property
    def config(self) -> Path:
        return self.out.with_name(f"{self.out.name}.toml")

    def command(self) -> list[str]:
        """The command that starts or continues it."""
        begun = (self.out / "config.toml").exists()
        where = ["--resume", self.out] if begun else ["--config", self.config, "--out", self.out]
        sinks = ["--log-to", *self.log_to] if self.log_to else []
        return [sys.executable, "-m", "ipsrl", "train", self.train, *map(str, where), *sinks]


def run(job: Job, group: ProcessGroup | None = None) -> str:
    """Run a job to its end; what is left of it then is killed.

    Args:
      job: to run.
      group: of processes that it joins; one of its own if not given.
    Returns:
      why it failed; "" if it did not.
    """
    if group is None:
        with ProcessGroup() as own:
            return run(job, own)
    with job.log.open("ab") as log:
        began = log.tell()  # after what earlier tries said
        program = subprocess.Popen(
            job.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=group.id
        )
        code = program.wait()
    if code == 0:
        return ""
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    with job.log.open("rb") as log:
        log.seek(max(began, log.seek(0, os.SEEK_END) - LAST))
        said = log.read().decode(errors="replace")
    return f"ended with code {code}: {cause(said, job.train)}"


def cause(said: str, train: str) -> str:
    """The error in what a run said: that of the command, else of Python, else the last line."""
    ours = re.findall(rf"^ipsrl train {train}: (.+)", said, re.MULTILINE)
    found = ours or _RAISED.findall(said) or said.strip().splitlines() or ["it said nothing"]
    return found[-1].strip()


def run_all(
    jobs: list[Job], somewhere: Callable[[Job], str], at_once: int
) -> Iterator[tuple[Job, str]]:
    """Jobs as they end, each with the reason why it failed, or "".

    Args:
      jobs: to run.
      somewhere: runs one and waits for its end; called from `at_once` threads.
      at_once: how many run at one time.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        waiting = {pool.submit(somewhere, job): job for job in jobs}
        for done in as_completed(waiting):
            try:
                yield waiting[done], done.result()
            except Exception as error:  # of one job; the others go on
                yield waiting[done], words(error)
    finally:
        # Whoever runs them is about to end what still runs, and the threads with it.
        pool.shutdown(wait=False, cancel_futures=True)
