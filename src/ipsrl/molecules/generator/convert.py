"""Priors from elsewhere: the weights of Saturn and mamba-ssm under the names of transformers.

Only safetensors are read.  A pickle is converted where it was made, by
examples/saturn_to_safetensors.py.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ipsrl.errors import InvalidInput
from ipsrl.molecules.generator.prior import Prior
from ipsrl.molecules.generator.vocabulary import END, START, Vocabulary

PADDING = 8  # mamba-ssm fills the embedding up to a multiple of it
_RENAMED = {"embedding.weight": "embeddings.weight"}


def import_mamba(weights: Path, tokens: Path) -> Prior:
    """A prior of a state dictionary of mamba-ssm's language model, or of Saturn's.

    Args:
      weights: safetensors; names may have anything before "backbone.".
      tokens: JSON list of the tokens in the order of their ids: END, START, then the others.
    Raises:
      InvalidInput: if a file cannot be read, or the weights are not those of such a model.
    """
    try:
        found = json.loads(tokens.read_bytes())
        if not isinstance(found, list) or found[:2] != [END, START]:
            raise ValueError(f"its first tokens are not {[END, START]}")
        if wrong := [token for token in found if not isinstance(token, str)]:
            raise ValueError(f"{wrong[0]!r} is not a token")
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{tokens} is not a list of tokens ({error}). Write it with "
            "examples/saturn_to_safetensors.py, where the model was made."
        ) from None
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InvalidInput(
            f"{weights} cannot be read as safetensors ({error}). Convert a pickle with "
            "examples/saturn_to_safetensors.py, where the model was made."
        ) from None
    named = {}
    for name, value in state.items():
        _, backbone, part = name.partition("backbone.")
        if backbone:
            named[f"backbone.{_RENAMED.get(part, part)}"] = value
    layers = sum(name.endswith(".A_log") for name in named)
    embeddings = named.get("backbone.embeddings.weight")
    spare = -1 if embeddings is None else len(embeddings) - len(found)
    if embeddings is None or not layers or not 0 <= spare < PADDING:
        raise InvalidInput(
            f"{weights} is not a Mamba over {len(found)} tokens: it needs "
            f"backbone.embedding.weight with a row for each and fewer than {PADDING} more, and "
            "backbone.layers. Convert weights and tokens of one model."
        )
    prior = Prior.mamba(
        Vocabulary(found[2:]), hidden=embeddings.shape[1], layers=layers, rows=len(embeddings)
    )
    try:
        missing, unknown = prior.model.load_state_dict(named, strict=False)
    except RuntimeError as error:
        raise InvalidInput(
            f"{weights} has weights of another size ({error}). The state size must be 16, the "
            "convolution 4 and the expansion 2, as in Saturn."
        ) from None
    if unknown or set(missing) - {"lm_head.weight"}:  # which is the embedding's
        raise InvalidInput(
            f"{weights} lacks {sorted(missing)[:3]} or has {sorted(unknown)[:3]}, so it is another "
            "model. Only a Mamba (the first) with RMSNorm and tied embeddings can be imported."
        )
    return prior
