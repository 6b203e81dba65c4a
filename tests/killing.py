"""Kill -9 at random moments, each time after progress; the run goes on as a user would go on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from helpers import HANGS


def start(*words: str | Path) -> subprocess.Popen[str]:
    """The command, in a process that heeds Ctrl-C even if ours was started to ignore it."""
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ipsrl.cli import main; sys.exit(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def checkpoints(directory: Path) -> set[str]:
    """Names of what a run has completed: our own checkpoints, and those of TRL."""
    found = [*directory.glob("checkpoints/step-*.json"), *directory.glob("trainer/checkpoint-*")]
    return {path.name for path in found}


def wait_for_progress(process: subprocess.Popen[str], directory: Path, before: set[str]) -> None:
    """Until there is a checkpoint that was not there before, or the process has ended."""
    deadline = time.monotonic() + HANGS
    while checkpoints(directory) <= before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def survive(
    kills: int, folder: Path, command: list[str | Path], check: Callable[[Path], None]
) -> str:
    """Kill that often; a run that ends before them is checked, and followed by another.

    Args:
      kills: of processes that have written a checkpoint since they started.
      folder: for the runs.
      command: what starts a run: the family, and the options without --out.
      check: compares a run that has ended with one that nothing happened to.
    Returns:
      what was measured.
    """
    moments = random.Random(0)
    done, runs = 0, 0
    while done < kills:
        directory, runs = folder / f"run-{runs}", runs + 1
        process = None
        while process is None or process.returncode != 0:
            before = checkpoints(directory)
            how = ["--resume", directory] if before else [*command[1:], "--out", directory]
            process = start("train", command[0], *how)
            if done < kills:
                wait_for_progress(process, directory, before)
                time.sleep(moments.uniform(0, 0.25))
                process.kill()
            message = process.communicate()[1]
            if process.returncode != 0:
                assert process.returncode == -signal.SIGKILL, message
                assert checkpoints(directory) - before, "killed before it had done anything"
                done += 1
        check(directory)
    return f"{command[0]}: {done} kills, each after a new checkpoint; {runs} runs compared"
