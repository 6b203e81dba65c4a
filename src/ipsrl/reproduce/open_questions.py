"""A real pretrained model is asked questions with many right answers: who keeps them?  Ours."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ipsrl.errors import MissingExtra
from ipsrl.llm.config import Config
from ipsrl.pretrained import load_model, load_tokenizer
from ipsrl.report.page import write_page
from ipsrl.report.questions import shares_of_answers
from ipsrl.reproduce.questions import QUESTIONS, Question
from ipsrl.reproduce.runs import interval, show, train_once, write_rows
from ipsrl.runs import Folder

MODEL = "smollm2-135m"
SAMPLES = 256
"""Answers that are drawn from each model in the end."""
G, TOKENS = 16, 6

METHODS: dict[str, dict[str, Any]] = {
    "grpo": {"method": "grpo"},
    "maxrl": {"method": "maxrl"},
    "ips-grpo": {"method": "ips-grpo"},
    "ips-grpo likelihood": {"method": "ips-grpo", "estimator": "likelihood"},
    "ips-grpo replay": {"method": "ips-grpo", "estimator": "replay"},
}
"""Keys of a configuration, by the name in the table."""


@dataclass(frozen=True)
class Preset:
    """How much is run: every question with every method and seed."""

    questions: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    steps: int


PRESETS = {
    "quick": Preset(("capitals",), ("grpo", "ips-grpo"), seeds=1, steps=40),
    "cpu": Preset(tuple(QUESTIONS), tuple(METHODS), seeds=3, steps=60),
}


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Train the model with every method on every question, and count what it answers."""
    try:
        from ipsrl.llm.packaged import folder_of
        from ipsrl.llm.training import train
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "trl") from None

    preset, folder = PRESETS[preset_name], Folder.make(out)
    model = folder_of(MODEL)
    answers: dict[str, list[Counter[str | None]]] = {}
    for question in preset.questions:
        said = f"{question} start"
        answers[said] = [_answers(folder, said, question, Path(model), seed=0)]
    for seed in range(preset.seeds):  # a whole table of one seed first
        for question in preset.questions:
            prompts = f"{question}.jsonl"
            row = {"prompt": QUESTIONS[question].messages, "question": question}
            folder.write(prompts, (json.dumps(row) + "\n").encode())
            for method in preset.methods:
                cell = f"{question} {method}"
                print(f"{cell}, seed {seed}", file=sys.stderr, flush=True)
                run = out / cell.replace(" ", "-") / f"seed-{seed}"
                train_once(_config(method, out / prompts, preset.steps, seed), run, train)
                said = _answers(folder, f"{cell} {seed}", question, run / "model", seed=seed)
                answers.setdefault(cell, []).append(said)
    answers = {  # one question after the other
        cell: counts
        for question in preset.questions
        for cell, counts in answers.items()
        if cell.startswith(f"{question} ")
    }
    rows = [_row(cell, counts, preset) for cell, counts in answers.items()]
    write_rows(out, rows)
    title = f"{name}, {preset_name} preset"
    _print(f"{title}: {SAMPLES} answers of {MODEL} to each question", rows)
    drawn = {cell: counts[0] for cell, counts in answers.items()}
    figures = {"Answers, seed 0": ("answers", shares_of_answers(drawn))}
    write_page(out / "index.html", title=title, rows=rows, figures=figures)


def _config(method: str, prompts: Path, steps: int, seed: int) -> Config:
    return Config(
        **METHODS[method],
        model=MODEL,
        dataset=str(prompts),
        reward=["ipsrl.reproduce.questions:right"],
        outcome="ipsrl.reproduce.questions:answer",
        lora_rank=16,
        lora_dropout=0.0,
        seed=seed,
        trl={
            "num_generations": G,
            "per_device_train_batch_size": G,
            "max_completion_length": TOKENS,
            "max_steps": steps,
            "learning_rate": 2e-4,
            "lr_scheduler_type": "constant",
        },
    )


def _answers(
    folder: Folder, said: str, question: str, model: Path, *, seed: int
) -> Counter[str | None]:
    """How often each right answer was given, and None for others; counted once, and kept."""
    name = f"answers/{said.replace(' ', '-')}.json"
    if name not in folder:
        texts = _sample(model, QUESTIONS[question], seed)
        counts = Counter(map(QUESTIONS[question].key, texts))
        wrong = Counter(text for text in texts if QUESTIONS[question].key(text) is None)
        found = {
            "right": {key: count for key, count in counts.most_common() if key is not None},
            "wrong": dict(wrong.most_common()),
        }
        folder.write(name, json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    found = json.loads((folder.path / name).read_bytes())
    return Counter({**found["right"], None: sum(found["wrong"].values())})


def _sample(model: Path, question: Question, seed: int) -> list[str]:
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading
    tokenizer, net = load_tokenizer(model), load_model(model, dtype=torch.float32)
    rows = tokenizer.apply_chat_template(
        question.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    torch.manual_seed(seed)
    with torch.no_grad():
        tokens = net.generate(
            **rows,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=TOKENS,
            num_return_sequences=SAMPLES,
            pad_token_id=tokenizer.pad_token_id,
            trust_remote_code=False,
        )
    return tokenizer.batch_decode(tokens[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)


def statistics_of(counts: Mapping[str | None, int]) -> dict[str, Any]:
    """What the answers of one model say.

    Args:
      counts: of each right answer, and of None for all others.
    Returns:
      right: share of right answers.
      distinct: different right answers.
      effective: exp of the entropy of the right answers; 0 without any.
      top: the most frequent right answer, and its share of all.
    """
    known = {key: count for key, count in counts.items() if key is not None and count}
    total, right = sum(counts.values()), sum(known.values())
    entropy = -sum(count / right * math.log(count / right) for count in known.values())
    first, most = max(known.items(), key=lambda item: item[1], default=("-", 0))
    return {
        "right": right / total,
        "distinct": len(known),
        "effective": math.exp(entropy) if right else 0.0,
        "top": first,
        "top share": most / total,
    }


def _row(cell: str, counts: list[Counter[str | None]], preset: Preset) -> dict[str, Any]:
    found = [statistics_of(one) for one in counts]
    start = cell.endswith(" start")
    return {
        "cell": cell,
        **{
            key: interval([round(one[key], 3) for one in found])
            for key in ("right", "distinct", "effective")
        },
        "top": ", ".join(f"{one['top']} {one['top share']:.0%}" for one in found),
        "steps": 0 if start else preset.steps,
        "seeds": len(found),
    }


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    several = max(row["seeds"] for row in rows) > 1
    table = Table(title=f"{title}{'; median [range]' if several else ''}".replace("[", "\\["))
    for heading in ("", "right", "distinct", "effective", "most frequent"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in rows:
        values = (_shown(row[key]) for key in ("right", "distinct", "effective"))
        table.add_row(row["cell"], *values, row["top"])
    show(table)


def _shown(value: dict[str, float]) -> str:
    median, low, high = (f"{value[key]:.3g}" for key in ("median", "low", "high"))
    return median if low == high else f"{median} \\[{low}, {high}]"
