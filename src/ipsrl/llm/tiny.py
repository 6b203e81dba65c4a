"""A language model small enough to train anywhere in seconds: `--model tiny`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ipsrl.errors import MissingExtra

try:
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "transformers") from None

__all__ = ["build"]

_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def build(
    folder: Path,
    texts: Iterable[str],
    *,
    words: Iterable[str] = (),
    hidden: int = 64,
    layers: int = 2,
    chat: bool = True,
    seed: int = 0,
) -> None:
    """Write an untrained Llama and a byte-level tokenizer to a folder.

    Args:
      folder: where to write; loaded by path as any other model.
      texts: texts from which the tokenizer learns its merges; it can write every other text too.
      words: texts that become one token each, whatever surrounds them.
      hidden: width; with 2 layers of 64 it has about 0.1M parameters.
      layers: number of layers.
      chat: whether the tokenizer has a template for messages.
      seed: of the weights.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    core.decoder = decoders.ByteLevel()  # pyright: ignore
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<pad>", "<eos>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.add_tokens([AddedToken(word, normalized=False) for word in words])
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        chat_template=_CHAT if chat else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden,
                intermediate_size=2 * hidden,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=4,
                max_position_embeddings=2048,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
