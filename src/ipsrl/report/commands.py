"""The command `ipsrl report`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


def report(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Figures and a self-contained page of finished runs."""

        runs: tyro.conf.Positional[tuple[Path, ...]]
        """Run directories."""
        out: Path | None = None
        """File to write; report.html in the first run if not given."""

    options = tyro.cli(Options, args=argv, prog="ipsrl report")
    if not options.runs:
        print("ipsrl report: name at least one run directory", file=sys.stderr)
        return 2
    from ipsrl.report.page import write_report

    out = options.out or options.runs[0] / "report.html"
    names = [run.resolve().name for run in options.runs]
    labels = names if len(set(names)) == len(names) else map(str, options.runs)
    write_report(dict(zip(labels, options.runs, strict=True)), out)
    print(f"written to {out}")
    return 0
