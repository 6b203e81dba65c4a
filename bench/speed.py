"""How long small things take, as multiples of a reference: `python bench/speed.py`.

Processor seconds, the least of several tries.  A try of the reference follows each try of what is
measured, so that a slow machine, and a slow spell of it, hits both.
"""

import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ipsrl import group_advantage, group_frequency, ips_rewards, outcome_ids
from ipsrl.core.floor import floor_l1
from ipsrl.hypospace import Boolean, Causal, Voxel, dataset, judge, judge_lines, write_dataset
from ipsrl.llm.collapse import outcome_statistics
from ipsrl.theory import advise


def text() -> None:
    """Words, dicts and a regular expression: 14 ms on AMD EPYC, Python 3.11."""
    counts: dict[str, int] = {}
    words = " ".join(f"name{i % 97}={i}," for i in range(16_000))
    for word, number in re.findall(r"(\w+)=(\d+)[ ,;]*", words):
        counts[word.upper()] = counts.get(word, 0) + int(number)


def imports() -> None:
    """A process that reads hundreds of files: .20 s on the same machine."""
    subprocess.run([sys.executable, "-c", "import numpy, pydantic"], check=True)


def help_of(*words: str) -> Callable[[], object]:
    command = [sys.executable, "-m", "ipsrl", *words, "--help"]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def steps(rewards: np.ndarray, ids: np.ndarray) -> None:
    """What a language model waits for in 100 steps."""
    for _ in range(100):
        group_advantage(ips_rewards(rewards, ids))


class Row(NamedTuple):
    name: str
    run: Callable[[], Any]
    goal: float
    """At most so many times the reference."""
    reference: Callable[[], None] = text
    tries: int = 10


def rows(folder: Path) -> list[Row]:
    rng = np.random.default_rng(0)
    rewards = torch.rand((1024, 64))
    ids = torch.randint(0, 2**62, (8,))[torch.randint(0, 8, (1024, 64))]
    logged = outcome_ids(range(9))[rng.integers(0, 9, (4096, 16))]
    large = rng.integers(0, 2**62, (16, 4096))
    small = rng.random((4, 4)), rng.integers(0, 3, (4, 4))
    answers = [f"answer {i % 8}" for i in range(65_536)]
    ratio = np.geomspace(1, 1 / 20, 500)
    found = [
        Row("help of the command", help_of(), 2.5, imports),
        Row("help of hypospace evaluate", help_of("hypospace", "evaluate"), 2.5, imports),
        Row("advantages, 1024 x 64", lambda: group_advantage(ips_rewards(rewards, ids)), 0.7),
        Row("shares of outcomes, 1024 x 64", lambda: group_frequency(ids), 0.45),
        Row("shares of outcomes, 16 x 4096", lambda: group_frequency(large), 1.0),
        Row("100 times advantages, 4 x 4", lambda: steps(*small), 2.2),
        Row("65,536 outcome ids, 8 different", lambda: outcome_ids(answers), 1.0),
        Row("outcome statistics, 4096 x 16", lambda: outcome_statistics(logged), 0.7),
        Row("floor of a group of 65,536", lambda: floor_l1([0.1] * 6 + [0.3] * 2, 2**16), 700.0),
        Row("advice for 500 outcomes", lambda: advise(ratio, 16, eps=0.2), 350.0, tries=3),
    ]
    for task in (Causal(), Voxel(), Boolean()):
        sets = random.Random(0).choices(list(task.observation_sets()), k=1000)
        asked = [(lines, task.answer(keys[-1])) for lines, keys in sets]
        as_json = "".join(
            json.dumps({"observations": lines, "response": answer}) + "\n"
            for lines, answer in asked
        ).encode()
        found += [
            Row(
                f"{task.name}: 1,000 responses judged",
                lambda task=task, asked=asked: [judge(task, *one) for one in asked],
                3.5,
            ),
            Row(
                f"{task.name}: 1,000 JSON lines judged",
                lambda task=task, source=as_json: judge_lines(
                    task, io.BytesIO(source), io.StringIO()
                ),
                3.5,
            ),
            Row(
                f"{task.name}: the data set of the paper",
                lambda task=task: write_dataset(dataset(type(task)()), folder / "sets.jsonl"),
                45.0,
            ),
        ]
    return found


def seconds(run: Callable[[], Any]) -> float:
    """Seconds of the processor, in this process and in those that it starts."""

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    before = used()
    run()
    return used() - before


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':36}{'ms':>8}{'reference':>11}{'ratio':>8}{'goal':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder)):
            row.run()  # the first call imports, and fills caches
            spans = [(seconds(row.run), seconds(row.reference)) for _ in range(row.tries)]
            ours, reference = map(min, zip(*spans, strict=True))
            missed = "" if ours <= row.goal * reference else "  MISSED"
            print(
                f"{row.name:36}{1000 * ours:8.1f}{1000 * reference:11.1f}"
                f"{ours / reference:8.2f}{row.goal:8.1f}{missed}",
                flush=True,
            )
    print(f"machine load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
