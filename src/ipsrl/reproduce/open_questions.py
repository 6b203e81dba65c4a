"""A pretrained model answers questions with many right answers: which method keeps them?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ipsrl.core.metrics import effective_outcomes
from ipsrl.errors import MissingExtra
from ipsrl.llm.config import Config
from ipsrl.pretrained import load_model, load_tokenizer
from ipsrl.report.page import write_page
from ipsrl.report.questions import shares_of_answers
from ipsrl.reproduce.questions import QUESTIONS
from ipsrl.runs import Folder, progress
from ipsrl.sweep.results import interval, of_another, show, shown, train_once, write_rows

MODEL = "smollm2-135m"
SAMPLES = 256
"""Answers that are drawn from each model in the end."""
G, TOKENS = 16, 6
_AT_ONCE = 32  # of the answers, for the memory

METHODS: dict[str, dict[str, Any]] = {
    "grpo": {"method": "grpo"},
    "ips-grpo": {"method": "ips-grpo"},
    "ips-grpo likelihood": {"method": "ips-grpo", "estimator": "likelihood"},
    "ips-grpo replay": {"method": "ips-grpo", "estimator": "replay"},
    "maxrl": {"method": "maxrl"},
    "flowrl": {"method": "flowrl"},
}
"""Keys of a configuration, by the name in the table."""


@dataclass(frozen=True)
class Preset:
    """How much is run: every question with every method and seed."""

    questions: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    steps: int
    bf16: bool = False
    """Autocast: 1.5 times faster where the processor has it, slower elsewhere."""


PRESETS = {
    "quick": Preset(("capitals",), ("grpo", "ips-grpo"), seeds=1, steps=40),
    "cpu": Preset(tuple(QUESTIONS), tuple(METHODS), seeds=3, steps=60, bf16=True),
}


def reproduce(name: str, preset_name: str, out: Path) -> None:
    """Train the model with every method on every question, and count what it answers."""
    try:
        from ipsrl.llm.packaged import folder_of
        from ipsrl.llm.training import train
    except ModuleNotFoundError as error:
        raise MissingExtra("llm", error.name or "trl") from None

    preset, folder = PRESETS[preset_name], Folder.make(out)
    answers: dict[str, list[Counter[str | None]]] = {
        f"{question} {method}": []
        for question in preset.questions
        for method in ("start", *preset.methods)
    }
    order = (  # one question first, and of it one seed first
        (cell, seed)
        for question in preset.questions
        for seed in range(preset.seeds)
        for cell in answers
        if cell.startswith(f"{question} ") and not (seed and cell.endswith(" start"))
    )
    for cell, seed in order:
        question, _, method = cell.partition(" ")
        config = _config(method, out / f"{question}.jsonl", preset, seed)
        recorded = f"answers/{cell.replace(' ', '-')}-{seed}.json"
        if recorded not in folder:
            print(f"{cell}, seed {seed}", file=sys.stderr, flush=True)
            row = {"prompt": QUESTIONS[question].messages, "question": question}
            folder.write(f"{question}.jsonl", (json.dumps(row) + "\n").encode())
            model = Path(folder_of(MODEL))
            if method != "start":
                run = out / cell.replace(" ", "-") / f"seed-{seed}"
                train_once(config, run, train)
                model = run / "model"
            _record(folder, recorded, config, question, _sample(model, question, seed))
        answers[cell].append(_answers(folder, recorded, config))
    rows = [_row(cell, counts, preset) for cell, counts in answers.items()]
    write_rows(out, rows)
    title = f"{name}, {preset_name} preset"
    _print(f"{title}: {SAMPLES} answers of {MODEL} to each question", rows)
    drawn = {cell: counts[0] for cell, counts in answers.items()}
    figures = {"Answers, seed 0": ("answers", shares_of_answers(drawn))}
    write_page(out / "index.html", title=title, rows=rows, figures=figures)


def _config(method: str, prompts: Path, preset: Preset, seed: int) -> Config:
    return Config(
        **METHODS.get(method, {"method": "grpo"}),  # the start model is not trained
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
            "max_steps": preset.steps,
            **({"bf16": True} if preset.bf16 else {}),
            "learning_rate": 2e-4,
            "lr_scheduler_type": "constant",
        },
    )


def _record(folder: Folder, name: str, config: Config, question: str, texts: Sequence[str]) -> None:
    """Record how often each right answer was given, and what else was said."""
    keys = list(map(QUESTIONS[question].key, texts))
    right = Counter(key for key in keys if key is not None)
    wrong = Counter(text for text, key in zip(texts, keys, strict=True) if key is None)
    found = {
        "of": {"samples": SAMPLES, **config.model_dump(mode="json", exclude={"dataset"})},
        "right": dict(right.most_common()),
        "wrong": dict(wrong.most_common()),
    }
    folder.write(name, json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")


def _answers(folder: Folder, name: str, config: Config) -> Counter[str | None]:
    """Counts of each right answer, and None for others, from the record."""
    found = json.loads((folder.path / name).read_bytes())
    samples, keys = found["of"].pop("samples"), found["of"]
    # Compared as configurations: keys that have come since then count with their defaults.
    if samples != SAMPLES or Config(**keys, dataset=config.dataset) != config:
        raise of_another(folder.path / name, "the answers")
    return Counter({**found["right"], None: sum(found["wrong"].values())})


def _sample(model: Path, question: str, seed: int) -> list[str]:
    import torch
    from transformers.utils.logging import disable_progress_bar

    from ipsrl.llm.prompts_once import prompts_once

    disable_progress_bar()  # of loading
    tokenizer, net = load_tokenizer(model), load_model(model, dtype=torch.float32)
    rows = tokenizer.apply_chat_template(
        QUESTIONS[question].messages,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    torch.manual_seed(seed)
    texts: list[str] = []
    with progress("answers", SAMPLES) as advance, torch.no_grad(), prompts_once(net):
        while len(texts) < SAMPLES:
            tokens = net.generate(
                **rows,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=TOKENS,
                num_return_sequences=min(_AT_ONCE, SAMPLES - len(texts)),
                pad_token_id=tokenizer.pad_token_id,
                trust_remote_code=False,
            )
            written = tokens[:, rows["input_ids"].shape[1] :]
            texts += tokenizer.batch_decode(written, skip_special_tokens=True)
            advance(len(texts))
    return texts


def statistics_of(counts: Mapping[str | None, int]) -> dict[str, Any]:
    """Statistics of the answers of one model.

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
    shares = np.array(list(known.values())) / max(right, 1)
    first, most = max(known.items(), key=lambda item: item[1], default=("-", 0))
    return {
        "right": right / total,
        "distinct": len(known),
        "effective": float(effective_outcomes(shares)) if right else 0.0,
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
    table = Table(title=f"{title}{'; median [range]' if several else ''}")
    for heading in ("", "right", "distinct", "effective", "most frequent"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in rows:
        values = (_shown(row[key]) for key in ("right", "distinct", "effective"))
        table.add_row(row["cell"], *values, row["top"])
    show(table)


def _shown(value: dict[str, float]) -> str:
    low, high = (f"{value[key]:.3g}" for key in ("low", "high"))
    return low if low == high else shown(value, ".3g")
