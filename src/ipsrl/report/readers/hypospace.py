"""Runs on HypoSpace: the training of a language model, where all right answers are known."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ipsrl.hypospace.datasets import ObservationSet
from ipsrl.hypospace.domains import make_task
from ipsrl.hypospace.lines import read_lines
from ipsrl.hypospace.recovery import Response
from ipsrl.hypospace.task import judge
from ipsrl.report.readers import llm
from ipsrl.report.readers.base import settings, view
from ipsrl.report.view import Bars, Curve, Part, Question, Tiles, View, known
from ipsrl.runs import Run

_DRAWINGS = {"causal": "graph", "voxel": "voxels"}


def read(run: Run, label: str, among: int = 1) -> View:
    """The view of a run, which may be going on, on a page of so many."""
    config = settings(run)
    domain, model = str(config["domain"]), PurePath(str(config.get("model", ""))).name
    title = f"{model} with {config.get('method')} on HypoSpace, {domain}"
    inner = run.directory / "rl"
    told: dict[str, Any] = {}
    if (inner / "config.toml").exists():
        told = llm.training_of(
            Run.open(inner), config, among, asked=_asked(run), drawing=_DRAWINGS.get(domain, "")
        )
    result = run.result() if run.finished else {}
    told["summary"] = _summary(result) | told.get("summary", {})
    told["curves"] = [*told.get("curves", ()), *_recovery(result)]
    told["parts"] = [*_verdicts(result), *_after(run, config, among), *told.get("parts", ())]
    return view(run, label, title, "ipsrl train hypospace", **told)


def _after(run: Run, config: Mapping[str, Any], among: int) -> list[Part]:
    """Right answers among the responses after training, of the half that was not trained on."""
    if not run.finished or "responses.jsonl" not in run.files:
        return []
    size = {k.removeprefix("size."): v for k, v in config.items() if k.startswith("size.")}
    task = make_task(config["domain"], size)
    sets = {one.id: one for one in read_lines(run.directory / "data.jsonl", ObservationSet)}
    given: dict[str, list[str]] = defaultdict(list)
    for one in read_lines(run.directory / "responses.jsonl", Response):
        if sets[one.id].split == "test":
            given[one.id].append(one.response)
    questions = []
    for name, responses in given.items():
        asked = sets[name]
        judged = (judge(task, asked.observations, response) for response in responses)
        counts = Counter(found.key for found in judged if found.valid)
        answers = [(key, counts[key], 0) for key in asked.admissible]
        answers.sort(key=lambda answer: (-answer[1], answer[0]))
        wrong = len(responses) - sum(counts.values())
        questions.append(
            Question("; ".join(asked.observations), asked.prompt, answers, True, wrong)
        )
    questions.sort(key=lambda question: -len(question.answers))
    note = "Prompts that were not trained on; hollow: never found."
    if len(questions) > (most := llm.share(llm.QUESTIONS, among)):
        note += f" The {most} with most right answers of {len(questions)}."
    drawing = _DRAWINGS.get(config["domain"], "")
    return [Tiles("Responses after training", questions[:most], drawing, note)]


def _asked(run: Run) -> dict[str, llm.Asked]:
    path = run.directory / "data.jsonl"
    if "data.jsonl" not in run.files:
        return {}
    sets = map(json.loads, path.read_text("utf-8").splitlines())
    return {
        one["prompt"]: llm.Asked("; ".join(one["observations"]), frozenset(one["admissible"]))
        for one in sets
    }


def _summary(result: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for half, of in result.items():
        for name in ("recovery_rate", "valid_rate", "novelty_rate"):
            mean, low, high = of[name]
            found[f"{name.replace('_', ' ')}, {half}"] = {"median": mean, "low": low, "high": high}
    return found


def _recovery(result: Mapping[str, Any]) -> list[Curve]:
    found = []
    for half, of in result.items():
        means = known([mean for mean, _, _ in of["recovery"]])
        chart = f"Recovery, {half} half"
        axes = chart, "responses to a prompt", "share of all right answers", of["draws"]
        found.append(Curve(*axes, [means], log="x"))
        for name, key in (("uniform sampler", "uniform"), ("one mode", "one_mode")):
            found.append(Curve(*axes, [known(of[key])], name, "x", reference=True))
    return found


def _verdicts(result: Mapping[str, Any]) -> list[Part]:
    return [
        Bars(f"Verdicts on the responses, {half} half", list(of["verdicts"]),
             list(of["verdicts"].values()))
        for half, of in result.items()
    ]  # fmt: skip
