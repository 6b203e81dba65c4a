"""What inverse probability scaling adds to a training step of TRL, on the smallest model there is.

    python bench/llm_overhead.py [--steps 200] [--repetitions 3]

A step of the toy (one prompt, 16 answers of one token, a network of 10,000 weights) is about as
short as a step of GRPO can be, so the share that IPS takes of it is the largest anywhere; it is
also measured with answers of 16 and 64 tokens, and with 4,096 samples of one token.  Prints JSON:
milliseconds per step, and of that our own code.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from ipsrl.llm import IPSMixin

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import llm_toy as toy


class Inner(GRPOTrainer):
    """Times what TRL itself spends on rewards."""

    def __init__(self, *args, **options):
        self.inner, self.whole, self.raw = [], [], []
        super().__init__(*args, **options)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        start = time.perf_counter()
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.inner.append(time.perf_counter() - start)
        return rewards


class Middle(IPSMixin, Inner):
    pass


class Outer(Middle):
    """Times all of it, which is TRL's time and ours."""

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        start = time.perf_counter()
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.whole.append(time.perf_counter() - start)
        return rewards

    def _log_raw(self, raw_NK):
        start = time.perf_counter()
        super()._log_raw(raw_NK)
        self.raw.append(time.perf_counter() - start)

    def own_seconds(self) -> float:
        """Median over the steps."""
        steps = zip(self.whole, self.inner, self.raw, strict=True)
        return statistics.median(whole - inner + raw for whole, inner, raw in steps)


def measure(steps: int, samples: int, tokens: int, cls: type) -> tuple[Any, float]:
    """A finished trainer and its seconds per step."""
    words = toy.tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        args = toy.config(
            Path(folder),
            max_steps=steps,
            per_device_train_batch_size=samples,
            max_completion_length=tokens,
            logging_steps=steps,
        )
        options = {} if cls is GRPOTrainer else {"outcome_fn": toy.answer}
        trainer = cls(
            toy.model(words), toy.valid, args, toy.dataset(1024), processing_class=words, **options
        )
        start = time.perf_counter()
        trainer.train()
        return trainer, (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"repetitions": options.repetitions, "steps": options.steps}
    for samples, tokens in ((16, 1), (16, 16), (16, 64), (4096, 1)):
        plain, ours, own = [], [], []
        steps = options.steps if samples == 16 else 5
        for _ in range(options.repetitions):  # interleaved: a slow spell hits both
            plain.append(measure(steps, samples, tokens, GRPOTrainer)[1])
            trainer, seconds = measure(steps, samples, tokens, Outer)
            ours.append(seconds)
            own.append(trainer.own_seconds())
        report[f"{samples} samples of {tokens} tokens"] = {
            "grpo_ms_per_step": 1e3 * statistics.median(plain),
            "ips_grpo_ms_per_step": 1e3 * statistics.median(ours),
            "own_ms_per_step": 1e3 * statistics.median(own),
            "own_share": statistics.median(a / b for a, b in zip(own, ours, strict=True)),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
