"""IPS-GRPO on a quantised model of the shape of Gemma 3: NF4 weights, LoRA on top; it runs on CPU.

Functional only: the model is random, and a few steps teach it nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import llm_toy as toy
import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
)
from trl import GRPOTrainer

from ipsrl.llm import IPSGRPOTrainer

G = 8
# That of the paper's runs.
LORA: dict[str, Any] = {
    "r": 16, "lora_alpha": 32, "lora_dropout": 0.05,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "task_type": "CAUSAL_LM",
}  # fmt: skip


def gemma(folder: Path) -> Path:
    """Two layers, one with sliding and one with full attention; saved, as KL needs a path."""
    words = toy.tokenizer()
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"], max_position_embeddings=64,
        pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    Gemma3ForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def quantised(folder: Path, dtype: torch.dtype) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    )
    linear = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert len(linear) == 2 * 7  # q, k, v, o and three of the MLP, per layer
    for module in linear:
        # On such CPUs an evaluation repacks the weights, and the input gradient is lost silently.
        module.support_avx512bf16_for_cpu = False
    return model


def train(
    folder: Path, trainer: type, dtype: torch.dtype, estimator: str = "group", **settings: Any
) -> Any:
    options: dict[str, Any] = {"peft_config": LoraConfig(**LORA)}
    if trainer is IPSGRPOTrainer:
        options |= {"outcome_fn": toy.answer, "estimator": estimator}
    return toy.train(
        folder / "run", trainer, net=quantised(gemma(folder / "model"), dtype), num_generations=G,
        per_device_train_batch_size=G, max_completion_length=3, learning_rate=1e-2,
        rewards=variety, trainer_options=options, **settings,
    )  # fmt: skip


def variety(completions: list[str], **columns: Any) -> list[float]:
    """Letters of an answer: something that differs between completions of a random model."""
    return [len(set(text)) / 8 for text in completions]


@pytest.mark.parametrize(
    ("dtype", "beta", "estimator"),
    [
        (torch.float32, 0.0, "group"),
        (torch.float32, 0.1, "replay"),
        (torch.bfloat16, 0.0, "replay"),
        (torch.bfloat16, 0.1, "group"),
    ],
)
def test_lora_on_nf4_learns(tmp_path, dtype, beta, estimator) -> None:
    trainer = train(
        tmp_path, IPSGRPOTrainer, dtype, estimator, max_steps=4, beta=beta, log_completions=True
    )
    entries = [entry for entry in toy.log(trainer) if "loss" in entry]
    assert len(entries) == 4
    assert all(math.isfinite(entry["loss"]) for entry in entries)
    assert max(entry["grad_norm"] for entry in entries) > 0
    adapters = {n: v for n, v in trainer.model.named_parameters() if "lora_B" in n}
    assert len(adapters) == 2 * 4
    for name, value in adapters.items():  # 0 at the start
        assert value.isfinite().all(), name
        assert value.abs().max() > 0, name
    assert not [
        n for n, v in trainer.model.named_parameters() if v.requires_grad and "lora" not in n
    ]
    if beta:
        # The reference is the same model without adapters, and the policy leaves it.  Dropout
        # makes it differ from the start.
        assert all(entry["kl"] >= 0 for entry in entries)
        assert entries[-1]["kl"] > 0


def test_scaling_changes_what_is_learned(tmp_path) -> None:
    """The same seed with plain GRPO: another gradient, so IPS is not a bystander here."""
    ours = train(tmp_path / "ips", IPSGRPOTrainer, torch.float32, max_steps=2)
    plain = train(tmp_path / "plain", GRPOTrainer, torch.float32, max_steps=2)
    norms = [[e["grad_norm"] for e in toy.log(t) if "loss" in e] for t in (ours, plain)]
    assert norms[0] != norms[1]
