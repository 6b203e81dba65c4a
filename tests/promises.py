"""`make promises`: run the promises at their full size, and write docs/reliability.md.

A test shows a promise by the mark `promise(number)`, takes its size from `helpers.promised`, and
says what it measured with `record_property("figure", ...)`.  A promise is kept if all its tests
pass, and broken if one fails.  It is kept in part if one is skipped, such as for want of the right
to mount a disk.

    python tests/promises.py          # all of them
    python tests/promises.py 8 12     # some; the rows of the others stay as they are
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
RECORD = ROOT / "docs" / "results" / "promises.json"
MARK = "<!-- `make promises` writes what follows. -->"

PROMISES = {
    1: "Fuzzed model outputs through the three HypoSpace parsers: no crash, no false valid",
    2: "parse(render(x)) = x for every outcome of the three domains",
    3: "Random and hostile SMILES: no crash, every one accounted for",
    4: "Inputs of 10 MB, nested 10^5 deep, with NUL, NaN or infinity are refused in 100 ms",
    5: "kill -9 at 20 moments: the resumed run equals the uninterrupted one (grids, molecules)",
    6: "The same for language models, at the boundaries of steps",
    7: "The same configuration and seed give the same files, under another PYTHONHASHSEED too",
    8: "10,000 oracle calls, of which a fifth fails: none lost, none twice, the budget exact",
    9: "A hung oracle is dead with its children within its limit and 2 s",
    10: "A failed oracle is never a score: valid, failed and timeouts are all calls",
    11: "8 processes write 1,000 answers each to one cache and are killed: no torn row",
    12: "No load path runs code: no pickle, no eval, no trust_remote_code; malicious inputs",
    13: "IPS advantages equal the float64 closed form, whatever the order and the names",
    14: "A group over 1, 2 and 4 processes gives the same advantages",
    15: "Without scaling: TRL's GRPO, loss for loss, bit for bit",
    16: "Theorems: slopes, ends of the flow, potentials that never rise",
    17: "200 mutations of each shipped configuration are refused before any work",
    18: "Disk full, read-only, SIGTERM: the last checkpoint is intact, the exit code is not 0",
    19: "The report opens without a network, and shows what the files hold",
    20: "Mutation score of core of at least 90 %, on a fifth of the mutants",
    21: "One writer per run directory: a second is refused and says who writes",
    22: "No file of the user is changed or removed",
    23: "User code that exits, hangs, prints or raises never ends in exit code 0 without a result, "
    "but for os._exit(0) in our own process, which nothing in it can see",
}


@dataclass(frozen=True)
class Row:
    """What the last run of a promise's tests gave."""

    figure: str
    verdict: str
    seconds: float
    date: str
    revision: str


def main(chosen: list[int]) -> int:
    """Each promise is recorded as soon as it is measured, so that an interruption loses one."""
    rows = {int(number): Row(**row) for number, row in json.loads(RECORD.read_text()).items()}
    before = PAGE.read_text().partition(MARK)[0]
    for number in chosen:
        if (row := _measured(number)) is None:
            print(f"The tests of promise {number} did not run to their end; its record stays.")
            return 1
        rows[number] = row
        RECORD.write_text(json.dumps({n: asdict(rows[n]) for n in sorted(rows)}, indent=2) + "\n")
        PAGE.write_text(f"{before}{MARK}\n\n{_table(rows)}")
    print(_table({number: rows[number] for number in chosen}))
    return int(any(rows[number].verdict in ("BROKEN", "NOT RUN") for number in chosen))


def _measured(number: int) -> Row | None:
    """Run the tests that are marked with a promise; None if pytest could not."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", f"promise(number={number})",
             f"--junitxml={results}"],
            cwd=ROOT, env={**os.environ, "IPSRL_PROMISED": "1"}, check=False,
        )  # fmt: skip
        if tests.returncode not in (0, 1, 5):  # passed, failed, no tests
            return None
        mine = list(ElementTree.parse(results).iter("testcase"))
    failed = [case for case in mine if _has(case, "failure") or _has(case, "error")]
    ran = [case for case in mine if not _has(case, "skipped")]
    figures = [value for case in ran for name, value in _properties(case) if name == "figure"]
    count = f"{len(ran)} tests" + (f", {len(mine) - len(ran)} skipped" if ran != mine else "")
    if failed:
        verdict, count = "BROKEN", f"{len(failed)} of {count} failed"
    elif ran:
        verdict = "kept" if ran == mine else "kept in part"
    else:
        verdict = "NOT RUN"
    return Row(
        figure="; ".join([*dict.fromkeys(figures), count]),
        verdict=verdict,
        seconds=round(sum(float(case.get("time", 0)) for case in ran), 1),
        date=datetime.date.today().isoformat(),
        revision=subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
    )


def _has(case: ElementTree.Element, tag: str) -> bool:
    return case.find(tag) is not None


def _properties(case: ElementTree.Element) -> list[tuple[str, str]]:
    return [(one.get("name", ""), one.get("value", "")) for one in case.iter("property")]


def _table(rows: dict[int, Row]) -> str:
    lines = [
        f"On {os.cpu_count()} processors, Python {platform.python_version()}.",
        "",
        "| # | promise | measured | verdict | seconds | date | revision |",
        "|---|---|---|---|---|---|---|",
    ]
    for number in sorted(rows):
        row = rows[number]
        lines.append(
            f"| {number} | {PROMISES[number]} | {row.figure} | {row.verdict} | {row.seconds:g} "
            f"| {row.date} | {row.revision} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - {str(number) for number in PROMISES}:
        sys.exit(
            f"{', '.join(sorted(unknown))}: not a promise. Name numbers from 1 to {len(PROMISES)}."
        )
    sys.exit(main([int(number) for number in sys.argv[1:]] or list(PROMISES)))
