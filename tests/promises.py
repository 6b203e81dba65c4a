"""`make promises`: run the promises at their full size, and write docs/reliability.md.

A test shows a promise by the mark `promise(number)`, takes its size from `helpers.promised`, and
says what it measured with `record_property("figure", ...)`.  A promise holds if all its tests pass.

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
    10: "A failed oracle is never a score: valid, invalid, failed and timeouts are all calls",
    11: "8 processes write 1,000 answers each to one cache and are killed: no torn row",
    12: "No load path runs code: no pickle, no eval, no trust_remote_code; malicious inputs",
    13: "IPS advantages equal the float64 closed form, whatever the order and the names",
    14: "A group over 1, 2 and 4 processes gives the same advantages",
    15: "Without scaling: TRL's GRPO, loss for loss, bit for bit",
    16: "Theorems: slopes, ends of the flow, potentials that never rise",
    17: "200 mutations of each shipped configuration are refused before any work",
    18: "Disk full, read-only, SIGTERM: the last checkpoint is intact, the exit code is not 0",
    19: "The report opens without a network, and shows what the files hold",
    20: "Mutation score of core",
    21: "One writer per run directory: a second is refused and says who writes",
    22: "No file of the user is changed or removed",
    23: "User code that exits, hangs, prints or raises never ends in exit code 0 without a result",
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
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-m", _expression(chosen), f"--junitxml={results}"],
            cwd=ROOT, env={**os.environ, "IPSRL_PROMISED": "1"}, check=False,
        )  # fmt: skip
        cases = list(ElementTree.parse(results).iter("testcase"))
    rows = {int(number): Row(**row) for number, row in json.loads(RECORD.read_text()).items()}
    rows |= {number: _row(number, cases) for number in chosen}
    RECORD.write_text(json.dumps({n: asdict(rows[n]) for n in sorted(rows)}, indent=2) + "\n")
    before = PAGE.read_text().partition(MARK)[0]
    PAGE.write_text(f"{before}{MARK}\n\n{_table(rows)}")
    print(_table({number: rows[number] for number in chosen}))
    return int(any(rows[number].verdict not in ("kept", "not run") for number in chosen))


def _expression(chosen: list[int]) -> str:
    return " or ".join(f"promise(number={number})" for number in chosen)


def _row(number: int, cases: list[ElementTree.Element]) -> Row:
    """Of all tests that are marked with a promise."""
    mine = [case for case in cases if ("promise", str(number)) in _properties(case)]
    failed = [case for case in mine if _has(case, "failure") or _has(case, "error")]
    ran = [case for case in mine if not _has(case, "skipped")]
    figures = [value for case in ran for name, value in _properties(case) if name == "figure"]
    count = f"{len(ran)} tests" + (f", {len(mine) - len(ran)} skipped" if ran != mine else "")
    return Row(
        figure="; ".join([*dict.fromkeys(figures), count]),
        verdict="BROKEN" if failed else "kept" if ran else "not run",
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
    sys.exit(main([int(number) for number in sys.argv[1:]] or list(PROMISES)))
