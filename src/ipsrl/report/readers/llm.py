"""Runs of language models: the metrics of the trainer, and the completions that it logged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ipsrl.errors import InvalidInput
from ipsrl.llm.collapse import Diagnosis, diagnose_completions
from ipsrl.llm.completions import Completions, outcome_keys, read_completions
from ipsrl.llm.summary import advice
from ipsrl.report.readers.base import curves, cut_off, settings, thinned, view
from ipsrl.report.readers.frequencies import frequencies
from ipsrl.report.view import Curve, Part, Question, Table, Tiles, View
from ipsrl.runs import Run

SAMPLES = 300
"""Completions that are shown as text."""
LETTERS = 2000
"""Most characters of a completion."""
QUESTIONS = 60
"""Prompts whose answers are shown."""

_CHARTS = {
    "reward": ("Reward, raw", "mean reward", ""),
    "ips/reward": ("Reward, scaled", "mean reward", ""),
    "outcomes/effective": ("Effective outcomes", "per group", ""),
    "outcomes/distinct": ("Different outcomes", "per group", ""),
    "outcomes/no_outcome": ("Completions without an outcome", "share", ""),
    "frac_reward_zero_std": ("Groups whose rewards are all equal", "share", ""),
    "entropy": ("Entropy of the policy", "nats per token", ""),
    "kl": ("KL to the reference", "per token", ""),
    "loss": ("Loss", "loss", ""),
    "completions/mean_length": ("Length of the completions", "tokens", ""),
}
_NAMES = {
    "distinct": "different outcomes in a group",
    "effective": "effective outcomes in a group",
}
"""What the page calls the numbers of a result that have another name there."""


@dataclass(frozen=True)
class Log:
    """The completions of a run with what they mean.

    Attributes:
      rows: completions in the order of their steps.
      names: outcome of each as text, None for none; empty where the run has logged none.
      keys: the same as keys.
      prompts: text of the prompt of each.
    """

    rows: Completions
    names: list[str | None]
    keys: list[Hashable | None]
    prompts: list[str]


@dataclass(frozen=True)
class Asked:
    """The known facts of a prompt: a name in a line, and all right answers."""

    name: str
    right: Collection[str]


def share(whole: int, among: int) -> int:
    """The share of a run in the limits of a page with several; a tenth at least."""
    return max(whole // among, whole // 10)


def read(run: Run, label: str, among: int = 1) -> View:
    """The view of a run, which may be going on, on a page of so many."""
    config = settings(run)
    data = PurePath(str(config.get("dataset", ""))).name
    model = PurePath(str(config.get("model", ""))).name
    title = f"{model} with {config.get('method')} on {data}"
    return view(run, label, title, "ipsrl train llm", **training_of(run, config, among))


def training_of(
    run: Run,
    config: Mapping[str, Any],
    among: int = 1,
    asked: Mapping[str, Asked] | None = None,
    drawing: str = "",
) -> dict[str, Any]:
    """The parts of a view that describe the training of a language model.

    Args:
      run: of `ipsrl.llm.training`.
      config: its settings.
      among: runs on the page.
      asked: by the text of a prompt what is known of it, if anything is.
      drawing: see `Tiles`.
    """
    metrics = run.metrics()
    found = curves(metrics, "step", _CHARTS)
    last = {key: row[key] for row in metrics for key in ("step", "reward") if key in row}
    result = run.result() if run.finished else last
    summary = {_NAMES.get(key, key): v for key, v in result.items() if v is not None}
    verdict: list[str] = []
    alarms: list[str] = []
    parts: list[Part] = []
    logged = [0, *sorted({row["step"] for row in metrics if "step" in row})]
    between = max(np.diff(logged), default=1)  # logging_steps, of which the last may be a part
    alarms += cut_off(logged[-1] + int(between) - 1, summary.get("steps"), "steps")
    log, damaged = _log(run)
    alarms += damaged
    if log is None:
        if not damaged:
            verdict.append("No completions are logged yet, so nothing can be said of outcomes.")
    else:
        rewards = log.rows.rewards
        if rewards is not None and (lost := int(np.isnan(rewards).sum())):
            alarms.append(f"{lost:,} of {len(rewards):,} completions have no reward.")
        rewarded = sum("reward" in row for row in metrics)
        if run.finished and not damaged and (kept := len({*_steps(log).tolist()})) < rewarded:
            alarms.append(
                f"{kept:,} of {rewarded:,} steps that were logged have completions: files of "
                "trainer/completions are missing, and what is said of outcomes is of those left."
            )
        if asked is not None and all(name is None for name in log.names):
            verdict.append(f"None of the {len(log.names):,} completions is a right answer.")
        elif log.names:
            diagnosis = _diagnosis(log, config, verdict)
            if diagnosis is not None:
                verdict += advice(diagnosis)
                summary["effective outcomes at first"] = diagnosis.start
                summary["effective outcomes at last"] = diagnosis.end
                found += _coverage(diagnosis)
        if log.names:
            parts.append(_frequencies(log))
            parts.append(_tiles(log, config, share(QUESTIONS, among), asked, drawing))
        else:
            verdict.append(
                "The run has no outcome function, so nothing says which completions mean the "
                "same: ipsrl diagnose RUN --outcome math."
            )
        parts.append(_samples(log, share(SAMPLES, among)))
    most = config.get("trl.max_steps", -1)
    return {
        "done": (logged[-1], most, "steps") if most > 0 else None,
        "alarms": alarms, "verdict": verdict, "summary": summary, "curves": found, "parts": parts,
    }  # fmt: skip


def _log(run: Run) -> tuple[Log | None, list[str]]:
    """The log of a run, and what of it cannot be read."""
    files = sorted((run.directory / "trainer" / "completions").glob("*.parquet"))
    rows, alarms = _read(files, run.state == "running")
    if rows is None:
        return None, alarms
    texts = list(map(text, rows.prompts))
    if "outcome" not in rows.columns:
        return Log(rows, [], [], texts), alarms
    keys = outcome_keys(rows, None)
    return Log(rows, [None if key is None else str(key) for key in keys], keys, texts), alarms


def _read(files: list[Path], going_on: bool) -> tuple[Completions | None, list[str]]:
    """What can be read; a last file that is being written is left for the next time."""
    if not files:
        return None, []
    try:
        return read_completions(files), []
    except InvalidInput:
        lost = {file: why for file in files if (why := _fault(file))}
        left = [file for file in files if file not in lost]
        if not lost:
            raise
    if going_on:
        lost.pop(files[-1], None)
    alarms = []
    if lost:
        why = next(iter(lost.values()))
        alarms.append(
            f"{len(lost):,} of {len(files):,} files of completions cannot be read, and what is "
            f"said of outcomes is of the others. The first: {why}"
        )
    return (read_completions(left) if left else None), alarms


def _fault(file: Path) -> str:
    try:
        read_completions([file])
    except InvalidInput as error:
        return str(error)
    return ""


def text(messages: Any) -> str:
    """A prompt or completion as text; for messages, with who says what."""
    if isinstance(messages, str):
        return messages
    if len(messages) == 1:
        return str(messages[0].get("content", ""))
    return "\n".join(f"{m.get('role', '')}: {m.get('content', '')}" for m in messages)


def _diagnosis(log: Log, config: Mapping[str, Any], verdict: list[str]) -> Diagnosis | None:
    size = config.get("trl.num_generations", 8)
    for group_size in (size, None):
        try:
            return diagnose_completions(log.rows, log.keys, group_size=group_size)
        except InvalidInput as error:
            problem = str(error)
    verdict.append(f"No verdict: {problem}")
    return None


def _coverage(diagnosis: Diagnosis) -> list[Curve]:
    return [
        Curve("Coverage", "completions of a prompt", "different outcomes, expected",
              curve["samples"], [curve["distinct"]], f"{quarter} quarter", "x")
        for quarter, curve in diagnosis.coverage.items()
        if curve["samples"]
    ]  # fmt: skip


def _steps(log: Log) -> np.ndarray:
    steps = log.rows.steps
    return np.zeros(len(log.prompts), int) if steps is None else steps


def _frequencies(log: Log) -> Part:
    names = list(dict.fromkeys(name for name in log.names if name is not None))
    ids = {name: i for i, name in enumerate(names)}
    ids_R = np.array([-1 if name is None else ids[name] for name in log.names])
    return frequencies(
        _steps(log), ids_R, np.ones(len(ids_R), int), names.__getitem__,
        title="Outcomes over training", x="step",
    )  # fmt: skip


def _tiles(
    log: Log,
    config: Mapping[str, Any],
    most: int,
    asked: Mapping[str, Asked] | None,
    drawing: str,
) -> Tiles:
    """For each prompt, right answers in the last quarter of the steps, and earlier ones."""
    steps = np.unique(_steps(log))
    late_from = steps[-max(1, len(steps) // 4)]
    late_R = _steps(log) >= late_from
    least = config.get("success_above", 0.0)
    rewards = log.rows.rewards
    counts: dict[str, list[Counter[str]]] = defaultdict(lambda: [Counter(), Counter()])
    wrong: Counter[str] = Counter()
    for row, (prompt, name) in enumerate(zip(log.prompts, log.names, strict=True)):
        if asked is not None:
            is_right = name is not None and prompt in asked and name in asked[prompt].right
        else:
            is_right = name is not None and (rewards is None or rewards[row] > least)
        counted = counts[prompt][not late_R[row]]
        if is_right and name is not None:
            counted[name] += 1
        else:
            wrong[prompt] += bool(late_R[row])
    questions = []
    for prompt, (late, before) in counts.items():
        known = (asked or {}).get(prompt, Asked(prompt, ()))
        keys = {**late, **before, **dict.fromkeys(known.right)}
        answers = [(key, late[key], before[key]) for key in keys]
        answers.sort(key=lambda answer: (-answer[1], -answer[2], answer[0]))
        questions.append(Question(known.name, prompt, answers, asked is not None, wrong[prompt]))
    questions.sort(key=lambda question: -len(question.answers))
    note = f"Counted from step {late_from} on, the last quarter; hollow: found only before that"
    note += ", or never." if asked is not None else "."
    if len(questions) > most:
        note += f" The {most} prompts with most answers of {len(questions)}."
    return Tiles("Right answers to each prompt", questions[:most], drawing, note)


_VALUES = ("ips_weight", "advantage")


def _samples(log: Log, most: int) -> Table:
    rows, total = log.rows, len(log.prompts)
    values = [name for name in _VALUES if name in rows.columns]
    picked = thinned(total, most)
    steps = _steps(log)
    table = [
        [
            int(steps[i]),
            _cut(log.prompts[i]),
            _cut(text(rows.completions[i])),
            log.names[i] if log.names else None,
            None if rows.rewards is None or np.isnan(rows.rewards[i]) else float(rows.rewards[i]),
            *(rows.columns[name][i] for name in values),
        ]
        for i in picked
    ]
    columns = ["step", "prompt", "completion", "outcome", "reward", *values]
    note = f"{len(picked):,} of {total:,} completions, evenly over the run." * (len(picked) < total)
    if len(set(log.prompts)) == 1:
        columns.remove("prompt")
        table = [[row[0], *row[2:]] for row in table]
    return Table("Samples", columns, table, note, search=True)


def _cut(words: str) -> str:
    more = len(words) - LETTERS
    return words if more <= 0 else f"{words[:LETTERS]} ... ({more:,} more characters)"
