"""The commands `ipsrl train llm` and `ipsrl diagnose`."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from ipsrl.options import parse


def train(argv: list[str]) -> int:
    from ipsrl.command import training
    from ipsrl.llm.config import Config

    asked = training(argv, "ipsrl train llm", Config)

    from ipsrl.llm import train

    with asked.running():
        result = train(asked.config, asked.out, resume=asked.resume)
    if os.environ.get("RANK", "0") != "0":  # torchrun starts this once per process
        return 0
    reward = "none" if result.reward is None else f"{result.reward:.3f}"
    line = f"{result.steps} steps: reward {reward}"
    if result.effective is not None:
        effective, distinct = result.effective, result.distinct
        line += f"; outcomes per group: {distinct:.2f} different, {effective:.2f} effective"
    asked.say(line, result)
    return 0


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
