"""What holds for every step of a trainer with IPS, asserted from its tables and histories."""

from __future__ import annotations

from collections import Counter
from typing import Any

import llm_toy as toy
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TOLERANCE

from ipsrl.llm import PromptHistory
from ipsrl.llm.replay import prompt_ids
from ipsrl.llm.visits import unpacked

G = 16


def last_table(trainer: Any) -> pd.DataFrame:
    """The completions of the last step; RLOOTrainer writes no files."""
    extra = {name: list(values) for name, values in trainer._logs["extra"].items()}
    return pd.DataFrame({**extra, "advantage": list(trainer._logs["advantages"])}, dtype=object)


def scaled(outcomes: list[Any], rewards: list[float], eps: float, alpha: float) -> np.ndarray:
    """Eq. 9 for one group, from its definition."""
    n = Counter(outcomes)
    return np.array([
        r if o is None else r / max(n[o] / len(outcomes), eps) ** alpha
        for o, r in zip(outcomes, rewards, strict=True)
    ])  # fmt: skip


def grpo(r: np.ndarray) -> np.ndarray:
    return (r - r.mean()) / (r.std(ddof=1) + 1e-4)


def rloo(r: np.ndarray) -> np.ndarray:
    """A reward against the mean of the others."""
    return r - (r.sum() - r) / (len(r) - 1)


def assert_closed_form(
    rows: Any, advantage: Any = grpo, eps: float = 0.0, alpha: float = 1.0, group: int = G
) -> None:
    """The logged advantages follow from the logged outcomes and raw rewards, group by group."""
    assert len(rows) >= group
    assert len(rows) % group == 0
    for first in range(0, len(rows), group):
        part = rows.iloc[first : first + group]
        r = scaled(list(part["outcome"]), list(part["raw_reward"]), eps, alpha)
        # Rewards <= 16 and advantages <= 4 in float32, 16 terms: what TOLERANCE is made for.  In
        # a group of one reward the rounding of its mean, 16 ulp = 1e-6, is divided by 1e-4.
        tolerance = TOLERANCE["float32"] if np.ptp(r) > 1e-6 else 1e-2
        np.testing.assert_allclose(
            part["advantage"].astype(float), advantage(r), rtol=tolerance, atol=tolerance
        )


def assert_exact_log_probs(history: PromptHistory, prompts: list[str], temperature: float) -> None:
    """log pi(completion | prompt) of what is stored, one by one, under the model of the toy."""
    words = toy.tokenizer()
    net, done = toy.model(words).eval(), 0
    for prompt in prompts:
        start = words(prompt)["input_ids"]
        for visit in history._visits[int(prompt_ids([prompt])[0])]:
            for completion, log_then in zip(visit.texts, visit.log_then, strict=True):
                tokens = torch.tensor([*start, *unpacked(completion)])
                with torch.no_grad():
                    logits = net(tokens[None]).logits[0, len(start) - 1 : -1].double() / temperature
                each = logits.log_softmax(-1).gather(1, tokens[len(start) :, None])
                # sums of three float32 terms of up to 10; padded batches round otherwise
                assert log_then == pytest.approx(float(each.sum()), abs=1e-4)
                done += 1
    assert done


def several_prompts(row: dict[str, Any]) -> dict[str, str]:
    return {"prompt": ["name one", "name one more please"][row["row"] % 2]}
