"""Logits of prompts are left out, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
import trl.trainer.utils as trl_utils
from transformers import AutoModelForCausalLM

from ipsrl.llm import tiny
from ipsrl.llm.without_gpu import completions_only

pytestmark = pytest.mark.skipif(
    not hasattr(trl_utils, "_use_triton") or torch.cuda.is_available(),
    reason="this TRL computes logits of completions only, or there is a GPU",
)


@pytest.fixture
def model(tmp_path):
    tiny.build(tmp_path, ["some text"], seed=3)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    trl_utils.add_fused_lm_head(model)
    return model


def scored(model, monkeypatch) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Log-probabilities of three tokens after a prompt of nine, a gradient, and rows of logits."""
    rows, function = [], trl_utils._ChunkedLogProbFunction

    class Counted:
        @staticmethod
        def apply(hidden, *rest):
            rows.append(len(hidden))
            return function.apply(hidden, *rest)

    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", Counted)
    tokens = torch.arange(24).reshape(2, 12)
    labels = tokens.clone()
    labels[:, :9] = -100
    model.zero_grad()
    found = model(input_ids=tokens, labels=labels, fused_lm_head=True).log_probs[:, -3:]
    found.sum().backward()
    monkeypatch.undo()
    return found.detach(), model.model.embed_tokens.weight.grad.clone(), sum(rows)


def test_log_probabilities_and_gradients_stay_and_prompts_cost_no_logits(
    model, monkeypatch
) -> None:
    everywhere, gradient, all_rows = scored(model, monkeypatch)
    with completions_only():
        there, same_gradient, rows = scored(model, monkeypatch)
    assert (all_rows, rows) == (2 * 11, 2 * 3)
    # float32: sums of 64 products in another order
    torch.testing.assert_close(there, everywhere, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same_gradient, gradient, rtol=1e-4, atol=1e-5)


def test_trl_is_as_it_was_afterwards(model, monkeypatch) -> None:
    with completions_only():
        pass
    assert scored(model, monkeypatch)[2] == 2 * 11
