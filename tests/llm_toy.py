"""A language model small enough to post-train in seconds: one prompt, one-token answers.

The answers a0, a1, ... are valid, j0, j1, ... are junk; the start is skewed towards a0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from ipsrl.llm import IPSGRPOTrainer, IPSMixin

SKEW = 4.0  # nats between the first and the last valid answer at the start


def tokenizer(valid: int = 8, junk: int = 8) -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[EOS]", "[UNK]", "name", "one", "more", "please"]
    words += [f"a{i}" for i in range(valid)] + [f"j{i}" for i in range(junk)]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
    )


def model(words: PreTrainedTokenizerFast, prompt: str = "name one", seed: int = 0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64,
        pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id, bos_token_id=None,
        tie_word_embeddings=False,
    )  # fmt: skip
    net = LlamaForCausalLM(config)
    valid = [
        i for word, i in words.get_vocab().items() if word.startswith("a") and word[1:].isdigit()
    ]
    target = torch.full((len(words),), -4.0)  # specials and prompt words are rare
    target[torch.tensor(sorted(valid), dtype=torch.long)] = torch.linspace(SKEW, 0.0, len(valid))
    junk = [i for word, i in words.get_vocab().items() if word.startswith("j")]
    target[torch.tensor(junk, dtype=torch.long)] = 1.0
    with torch.no_grad():
        out = net(**words(prompt, return_tensors="pt"), output_hidden_states=True)
        hidden, logits = out.hidden_states[-1][0, -1], out.logits[0, -1]
        net.lm_head.weight += (target - logits)[:, None] * hidden / hidden.dot(hidden)
    return net


def saved(folder: Path, **options) -> Path:
    """Model and tokenizer on disk, for what loads them by path."""
    words = tokenizer(**options)
    model(words).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def dataset(rows: int = 64, prompt: str = "name one") -> Dataset:
    return Dataset.from_list([{"prompt": prompt, "row": i} for i in range(rows)])


def valid(completions, **columns) -> list[float]:
    return [float(text.strip().startswith("a")) for text in completions]


async def valid_later(completions: list[str], **columns: Any) -> list[float]:
    return valid(completions)


def answer(completions, **columns) -> list[str | None]:
    """The valid answer, or None."""
    return [text.strip() if text.strip().startswith("a") else None for text in completions]


def config(folder: Path, kind: type = GRPOConfig, **options) -> Any:
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "num_generations": 16,
        "max_completion_length": 1,
        "learning_rate": 5e-3,
        "max_steps": 20,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }
    if kind is RLOOConfig:
        defaults["beta"] = 0.0  # else it loads a reference model by its path
    return kind(**{**defaults, **options})


def make(
    folder: Path,
    trainer: type = GRPOTrainer,
    *,
    rewards=valid,
    net=None,
    words: PreTrainedTokenizerFast | None = None,
    data=None,
    trainer_options: dict[str, Any] | None = None,
    **settings,
) -> Any:
    """A trainer of the toy; the settings are those of its configuration."""
    words = words or tokenizer()
    return trainer(
        net or model(words, seed=settings.get("seed", 0)),
        reward_funcs=rewards,
        args=config(
            folder, RLOOConfig if issubclass(trainer, RLOOTrainer) else GRPOConfig, **settings
        ),
        train_dataset=data or dataset(),
        processing_class=words,
        **(trainer_options or {}),
    )


def ips(**options: Any) -> dict[str, Any]:
    return {"outcome_fn": answer, **options}


def rewards_of(trainer: Any, completions: list[Any], **columns: list[Any]) -> torch.Tensor:
    """The hook as TRL calls it, for completions of our choice."""
    inputs = [
        {"prompt": "name one", **{name: values[i] for name, values in columns.items()}}
        for i in range(len(completions))
    ]
    tokens = [[i] for i in range(len(completions))]
    prompts = [row["prompt"] for row in inputs]
    return trainer._calculate_rewards(inputs, prompts, completions, tokens)


def small(folder: Path, trainer: type = IPSGRPOTrainer, **options: Any) -> Any:
    """A trainer with groups of four."""
    if issubclass(trainer, IPSMixin):
        options["trainer_options"] = ips(**options.get("trainer_options", {}))
    made = make(
        folder, trainer, **{"num_generations": 4, "per_device_train_batch_size": 4, **options}
    )
    made.model.train()
    return made


def train(folder: Path, trainer: type = GRPOTrainer, *, resume: Path | None = None, **options):
    """`make`, and train."""
    running = make(folder, trainer, **options)
    running.train(resume_from_checkpoint=resume and str(resume))
    return running


def log(trainer) -> list[dict[str, float]]:
    """What was logged at each step, without the clock."""
    return [
        {
            name: value
            for name, value in entry.items()
            if "time" not in name and "per_sec" not in name
        }
        for entry in trainer.state.log_history
    ]


def table(folder: Path) -> pd.DataFrame:
    """All completions that were logged, in the order of the global batches."""
    files = sorted((folder / "completions").glob("*.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return rows.astype(object).where(rows.notna(), None)


def distribution(net, words, prompt: str = "name one") -> np.ndarray:
    """Exact probabilities of the valid answers."""
    net.eval()
    with torch.no_grad():
        logits = net(**words(prompt, return_tensors="pt")).logits[0, -1]
    ids = [i for word, i in sorted(words.get_vocab().items(), key=lambda item: item[1])
           if word.startswith("a") and word[1:].isdigit()]  # fmt: skip
    return torch.softmax(logits.double(), -1)[ids].numpy()


def total_variation_to_uniform(p: np.ndarray) -> float:
    """Between the policy and the uniform distribution over the valid answers."""
    return 0.5 * (np.abs(p - 1 / len(p)).sum() + max(0.0, 1 - p.sum()))
