"""A GRPO run of a second: a one-layer Llama answers a prompt with one of eight words.

The first is the likeliest at the start and pays a little more, so GRPO ends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

ANSWERS = [f"a{i}" for i in range(8)]
PROMPTS = ["q0", "q1", "q2"]
WORDS = ["<pad>", "<eos>", *PROMPTS, *ANSWERS, "x0", "x1"]


def reward(completions: list[str], **columns: Any) -> list[float]:
    pay = {answer: 1.0 - 0.05 * i for i, answer in enumerate(ANSWERS)}
    return [pay.get(completion.strip(), 0.0) for completion in completions]


def outcome(prompts: list[str], completions: list[str], **columns: Any) -> list[str | None]:
    return [word if (word := text.strip()) in ANSWERS else None for text in completions]


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=8,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )
    with torch.no_grad():
        prompts = torch.tensor([[WORDS.index(prompt)] for prompt in PROMPTS])
        hidden = llama.model(prompts).last_hidden_state[:, -1].mean(0)
        logits = torch.full((len(WORDS),), -2.0)
        logits[[WORDS.index(answer) for answer in ANSWERS]] = torch.linspace(1.5, 0.0, 8)
        llama.lm_head.weight.copy_(logits[:, None] * hidden / hidden.square().sum())
    return llama


def train(
    out: Path,
    *,
    reward_funcs: list[Callable[..., Any]],
    callbacks: list[Any] | None = None,
    trainer: type = GRPOTrainer,
    trainer_options: dict[str, Any] | None = None,
    prompts: int = 2,
    **options: Any,
) -> Any:
    """Run GRPO on the toy; the options are those of GRPOConfig.  Returns the trainer."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = Whitespace()
    defaults = {
        "learning_rate": 1e-2,
        "num_generations": 16,
        "per_device_train_batch_size": 32,
        "max_completion_length": 1,
        "logging_steps": 1,
        "seed": 1,
    }
    settings = {"save_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True}
    running = trainer(
        model(),
        reward_funcs=reward_funcs,
        args=GRPOConfig(
            output_dir=str(out),
            bf16=False,
            activation_checkpointing=False,
            **{**settings, **defaults, **options},
        ),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS[:prompts]}),
        eval_dataset=Dataset.from_dict({"prompt": PROMPTS[:2]}),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>"
        ),
        callbacks=callbacks,
        **(trainer_options or {}),
    )
    running.train()
    return running
