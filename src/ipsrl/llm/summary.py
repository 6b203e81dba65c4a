"""A diagnosis in words, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipsrl.llm.collapse import CONCENTRATED, FEWEST_STEPS, FIRST_STEPS, Diagnosis

_LINES = 8  # of the table over steps, at most
_NAMED = 5  # outcomes
_SAMPLES = 10  # numbers N of the coverage
_WIDTH = 40  # of the name of an outcome


def summary(d: Diagnosis) -> str:
    """Counts, a table over the steps, frequent outcomes, coverage, and the verdict."""
    series = {
        "effective": d.effective,
        "distinct/G": d.distinct_share,
        "top share": d.top_share,
        "valid": d.valid_share,
        "reward": d.reward,
    }
    if d.reward_name is None:
        del series["reward"]
    lines = [
        f"completions {d.rows}, steps {len(d.steps)}, prompts {d.prompts}, "
        f"groups {d.groups} of {d.group_size}"
        + (f" (of one completion, and not compared: {d.alone})" if d.alone else "")
        + (f"; reward: {_printable(d.reward_name)}" if d.reward_name else ""),
        "",
        f"{'steps':>15}" + "".join(f"{name:>12}" for name in series),
    ]
    for window in np.array_split(np.arange(len(d.steps)), min(len(d.steps), _LINES)):
        first, last = d.steps[window[0]], d.steps[window[-1]]
        means = "".join(f"{_mean(values, window):>12}" for values in series.values())
        lines.append(f"{f'{first} - {last}':>15}{means}")

    lines += ["", f"{'outcome':<{_WIDTH}}{'first steps':>12}{'last steps':>12}"]
    for name, shares in list(zip(d.top_outcomes, d.top_shares, strict=True))[:_NAMED]:
        short = ascii(name) if len(name) <= _WIDTH - 4 else ascii(name[: _WIDTH - 7]) + "..."
        lines.append(f"{short:<{_WIDTH}}{shares[0]:>12.2f}{shares[-1]:>12.2f}")

    samples = max((curve["samples"] for curve in d.coverage.values()), key=len)[:_SAMPLES]
    lines += ["", "different outcomes among N completions of a prompt, expected"]
    lines.append(f"{'N':>15}" + "".join(f"{int(n):>8}" for n in samples))
    for quarter, curve in d.coverage.items():
        values = "".join(f"{value:8.2f}" for value in curve["distinct"][:_SAMPLES])
        lines.append(f"{quarter + ' quarter':>15}{values}")
    return "\n".join([*lines, "", *advice(d), *_of_wrong_answers(d)])


def advice(d: Diagnosis) -> list[str]:
    """The verdict in a sentence, what to do next, and doubts about the verdict."""
    change = f"from {d.start:.2f} to {d.end:.2f} effective outcomes per group"
    lines = {
        "collapsed": [
            f"COLLAPSED at step {d.collapsed_at}: {change}.",
            "Train again from a checkpoint before that step, with IPSGRPOTrainer. If the run used "
            "it already, use larger groups or estimator='replay'. (If each prompt has one right "
            "answer, training should do this.)",
        ],
        "started collapsed": [
            f"STARTED COLLAPSED: {d.start:.2f} effective outcomes per group in the first steps, "
            f"below {CONCENTRATED}.",
            "No training brings back what is not sampled: start from an earlier checkpoint or the "
            "base model, or sample at a higher temperature; then train with IPSGRPOTrainer.",
        ],
        "did not collapse": [f"DID NOT COLLAPSE: {change}."],
        "too few steps": [
            f"TOO FEW STEPS TO TELL: {len(d.steps)}, but {FEWEST_STEPS} with outcomes are needed.",
            "Train for longer, or log more of the steps: log_completions=True and a smaller "
            "logging_steps.",
        ],
    }[d.verdict]
    steps = {
        "collapsed": [i for i, step in enumerate(d.steps) if step >= (d.collapsed_at or 0)],
        "started collapsed": range(min(FIRST_STEPS, len(d.steps))),
    }.get(d.verdict, [])
    valid = [share for i in steps if (share := d.valid_share[i]) is not None]
    if valid and np.mean(valid) < 0.5:
        lines.append(
            f"But only {np.mean(valid):.0%} of the completions have an outcome in those steps, so "
            "few outcomes are compared. Check the outcome function on a completion that you know."
        )
    if d.inert_groups > 0.5:
        lines.append(
            f"All outcomes differ in {d.inert_groups:.0%} of the groups, so none is common, and a "
            "collapse would not show. Name a coarser outcome, such as the final answer instead of "
            "the text."
        )
    if d.prompts > 1 and d.visits == 1 and d.verdict != "too few steps":
        lines.append(
            "Every prompt was seen at one step only, so the change over the steps compares "
            "different prompts."
        )
    return lines


def _of_wrong_answers(d: Diagnosis) -> list[str]:
    """The effect of IPS on wrong answers that earn something, or how to ask for it."""
    if d.wrong is None:
        if not d.reward_levels:
            return []
        levels = ", ".join(f"{level:g}" for level in d.reward_levels)
        return [
            f"Rewards above 0 are {levels}. If wrong answers earn the lower ones (a format reward, "
            "partial credit), and the run did not say what is right, IPS makes wrong answers "
            "proportional too. To see how much, pass --success-above "
            f"{sum(d.reward_levels[-2:]) / 2:g}."
        ]
    w = d.wrong
    lines = [
        f"Outcomes that earn {w.success_above:g} or less are taken as wrong. They have "
        f"{w.target:.0%} of the target r / sum r of plain IPS, and would keep a probability of "
        f"{w.kept:.0%} in groups of {d.group_size}. This is predicted from the outcomes and mean "
        f"rewards of this log, as the mean over {w.prompts} prompts with a right outcome. The log "
        "shows neither what was never sampled, nor eps and success_above of the run."
    ]
    if w.kept > 0.1:
        lines.append(
            f"Train with success={w.success_above:g} (train llm: --success-above "
            f"{w.success_above:g}): then only right answers are scaled, "
            "and wrong ones die out."
        )
    return lines


def _mean(values: Sequence[float | None], window: np.ndarray) -> str:
    known = [value for i in window if (value := values[i]) is not None]
    if not known:
        return "-"
    mean = np.mean(known)
    return f"{mean:.2f}" if abs(mean) < 1e6 else f"{mean:.2e}"


def _printable(name: str) -> str:
    """The name, or its escapes if a terminal cannot show it."""
    return name if name.isprintable() else ascii(name)
