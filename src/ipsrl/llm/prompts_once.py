"""The prompt of a group is read once, and not once more with each of its completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from ipsrl.errors import MissingExtra

try:
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer
    from transformers.modeling_outputs import BaseModelOutputWithPast
except ModuleNotFoundError as error:
    raise MissingExtra("llm", error.name or "transformers") from None

__all__ = ["prompts_once"]


@contextmanager
def prompts_once(model: Any) -> Iterator[None]:
    """Let this model compute what the rows of a batch begin with once, to train and to generate.

    G completions of T tokens to a prompt of P tokens cost P + G T tokens instead of G (P + T).
    Values and gradients stay the same up to rounding: keys and values of the prompt get the
    gradients of all completions.  On a GPU nothing changes, nor for models with dropout, whose
    masks the completions would share, with checkpointed gradients, or whose state is not only keys
    and values.

    Args:
      model: causal language model of transformers, with or without adapters.
    """
    decoder = getattr(model, "get_base_model", lambda: model)().get_decoder()
    if not _can_share(model, decoder):
        yield
        return
    decoder.forward = _sharing(decoder.forward, decoder.config)
    try:
        yield
    finally:
        del decoder.forward  # the method of the class shows again


def _can_share(model: Any, decoder: Any) -> bool:
    layers = DynamicCache(config=decoder.config).layers
    drops = any(isinstance(part, torch.nn.Dropout) and part.p for part in model.modules())
    return not (
        next(model.parameters()).device.type != "cpu"
        or drops
        or getattr(decoder.config, "attention_dropout", 0)
        or getattr(decoder, "gradient_checkpointing", False)
        or "forward" in vars(decoder)  # somebody else's, such as of weights that are offloaded
        or not all(isinstance(layer, DynamicLayer) for layer in layers)
    )


def _sharing(read: Callable[..., Any], config: Any) -> Callable[..., Any]:
    """A decoder's `forward` that calls this one for starts [U, P], then for the rest [B, T - P]."""

    def forward(
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
        **others: Any,
    ) -> Any:
        others.pop("cache_position", None)  # older versions pass it; it follows from the cache
        whole = {"input_ids": input_ids, "attention_mask": attention_mask, **others}
        whole |= {"position_ids": position_ids, "past_key_values": past_key_values}
        has_begun = past_key_values is not None and past_key_values.get_seq_length()
        if input_ids is None or has_begun or any(value is not None for value in others.values()):
            return read(use_cache=use_cache, **whole)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if mask.shape != input_ids.shape:  # such as [B, 1, T, T]
            return read(use_cache=use_cache, **whole)
        split, first, group = shared_start(torch.where(mask.bool(), input_ids, -1).tolist())
        if not split:
            return read(use_cache=use_cache, **whole)
        places = None if position_ids is None else position_ids.expand(len(input_ids), -1)
        cache = DynamicCache(config=config) if past_key_values is None else past_key_values

        def hidden(rows: Any, columns: slice, mask: Any) -> Any:
            return read(
                input_ids=input_ids[rows, columns],
                attention_mask=mask,
                position_ids=None if places is None else places[rows, columns],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state

        found = hidden(first, slice(split), mask[first, :split])[group]
        cache.batch_select_indices(torch.tensor(group))
        if split < input_ids.shape[1]:
            found = torch.cat([found, hidden(slice(None), slice(split, None), mask)], dim=1)
        return BaseModelOutputWithPast(
            last_hidden_state=found, past_key_values=cache if use_cache else None
        )

    return forward


def shared_start(rows: Sequence[list[int]]) -> tuple[int, list[int], list[int]]:
    """Where to split rows so that the fewest tokens are read.

        least over P of U(P) P + B (T - P)        U(P): different starts of P tokens

    Args:
      rows: tokens [B, T].
    Returns:
      P, 0 if nothing is shared; a row for each different start [U]; and the start of each row [B].
    """
    size, width = len(rows), len(rows[0])
    order = sorted(range(size), key=lambda row: rows[row])
    common = [  # tokens that a row shares with the one before, in this order
        next((t for t in range(width) if rows[one][t] != rows[other][t]), width)
        for one, other in pairwise(order)
    ]

    def tokens(split: int) -> int:
        return (1 + sum(c < split for c in common)) * split + size * (width - split)

    split = min(sorted({0, *common}), key=tokens)
    first, group = [order[0]], [0] * size
    for shared, row in zip(common, order[1:], strict=True):
        if shared < split:
            first.append(row)
        group[row] = len(first) - 1
    return split, first, group
