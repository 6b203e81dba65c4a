"""The commands `ipsrl report` and `ipsrl diagnose`, which read what runs have written."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ipsrl.options import parse, say


def report(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """One page that explains runs, running or not, to whoever opens it, offline."""

        runs: tyro.conf.Positional[tuple[Path, ...]]
        """Run directories, or folders of them."""
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
        """File to write; report.html in the first directory if not given."""
        watch: bool = False
        """Write it again until all runs and sweeps have ended; wait for those that are to begin."""
        json: bool = False
        """Print the file and the states of the runs as an object instead of text."""

    options = parse(Options, argv, "ipsrl report")
    if not options.runs:
        print("ipsrl report: name at least one run directory", file=sys.stderr)
        return 2
    from ipsrl.errors import NoRun, RunError
    from ipsrl.report.folders import going_on
    from ipsrl.report.page import UNREAD, write_report

    if options.out and not options.out.parent.is_dir():
        raise RunError(
            f"--out {options.out}: {options.out.parent} is not a folder. Make it, or name another."
        )
    told: set[str] = set()
    while True:
        began = time.monotonic()
        pause = 10
        again = options.watch and going_on(options.runs)  # asked first, so that the last is whole
        first = next(filter(Path.is_dir, options.runs), options.runs[0])
        out = options.out or first / "report.html"
        try:
            views = write_report(options.runs, out, refresh=pause if again else 0)
            lost = [why for one in views if one.state == "unknown" for why in one.alarms]
            done = f"written to {out}"
        except NoRun as error:  # there is none yet, or a file of it is being written
            if not again:
                raise
            views, lost, done = [], [str(error)], ""
        for why in lost:
            if why not in told:
                wait = " Waiting for it." if again else ""
                print(f"ipsrl report: {why}{wait}", file=sys.stderr, flush=True)
        told.update(lost)
        if not again:
            break
        if done and done not in told:
            print(f"{done}; again while runs go on", file=sys.stderr, flush=True)
            told.add(done)
        time.sleep(max(pause, 3 * (time.monotonic() - began)))  # little beside the runs
    states = {view.label: view.state for view in views}
    unread = {view.label: " ".join(view.alarms) for view in views if view.title == UNREAD}
    say(done, {"out": str(out), "runs": states, "unread": unread}, options.json)
    return 1 if unread else 0


def diagnose(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Did a run collapse onto few outcomes, and when?  From the completions that it logged."""

        files: tyro.conf.Positional[tuple[Path, ...]]
        """Parquet or JSON lines of prompt, completion, reward; or the output directory of a run."""
        outcome: str | None = None
        """math, number, choice, json, set, python, smiles or text; or module:function or
        file.py:function (prompts, completions, **columns) -> a key for each; the column `outcome`
        if not given."""
        reward: str | None = None
        """Column of the rewards; raw_reward, reward or the sum of TRL's columns if not given."""
        group_size: int | None = None
        """Samples per prompt, G; needed where a step holds several groups of one prompt."""
        success_above: float | None = None
        """Rewards above this are right: how much would IPS as published leave wrong answers?"""
        out: Path | None = None
        """Directory for diagnosis.json and the figure diagnosis.png."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl diagnose")
    if not options.files:
        print("ipsrl diagnose: name at least one file of completions", file=sys.stderr)
        return 2
    from ipsrl.llm.collapse import diagnose_completions
    from ipsrl.llm.completions import read_outcomes
    from ipsrl.llm.summary import summary

    if options.out is not None:
        from ipsrl.report.page import check_libraries

        check_libraries()
    rows, keys = read_outcomes(options.files, outcome=options.outcome, reward=options.reward)
    rows = replace(rows, completions=[], columns={})  # most of the memory
    diagnosis = diagnose_completions(
        rows, keys, group_size=options.group_size, success_above=options.success_above
    )
    print(diagnosis.json() if options.json else summary(diagnosis))
    if options.out is not None:
        from ipsrl.report.collapse import write_figure

        write_figure(diagnosis.json(), options.out)
        print(f"written to {options.out}", file=sys.stderr)
    return 0
