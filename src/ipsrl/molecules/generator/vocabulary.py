"""Tokens of SMILES: how a molecule is written for the language model.

Bracket atoms, two-digit ring closures and the two-letter halogens are one token each, then every
character; "^" starts a sequence, "$" ends and pads it (specs of REINVENT, Olivecrona et al. 2017).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from ipsrl.errors import InvalidInput

START, END = "^", "$"
_TOKEN = r"\[[^\]]*\]|%\d\d|Br|Cl|."


def tokenize(smiles: str) -> list[str]:
    """Tokens of a SMILES; joined they are the SMILES again."""
    return re.findall(_TOKEN, smiles, re.DOTALL)


class Vocabulary:
    """Tokens and their numbers: END is 0, START is 1, the others follow in the order given.

    Raises:
      InvalidInput: for a token that comes twice, or START or END among them.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = (END, START, *tokens)
        if len(set(self.tokens)) != len(self.tokens):
            raise InvalidInput(
                f"the vocabulary names a token twice, or {START!r} or {END!r} themselves. "
                "Give every token of the SMILES once."
            )

    @classmethod
    def of(cls, smiles: Iterable[str]) -> Vocabulary:
        """All tokens of a corpus, sorted."""
        return cls(sorted({token for text in smiles for token in tokenize(text)} - {START, END}))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def covers(self, smiles: str) -> bool:
        """Are all tokens of it known, START and END apart?"""
        return all(self._ids.get(token, 0) > 1 for token in tokenize(smiles))

    def encode(self, smiles: str) -> list[int]:
        """Token ids, with START before and END after them.

        Raises:
          InvalidInput: for a token that the vocabulary does not have.
        """
        tokens = tokenize(smiles)
        ids = [self._ids.get(token, 0) for token in tokens]
        if ids and min(ids) < 2:
            unknown = [token for token, i in zip(tokens, ids, strict=True) if i < 2]
            raise InvalidInput(
                f"{smiles[:80]!r} has the tokens {unknown[:5]}, which this model was not taught. "
                "Leave the molecule out, or pretrain a prior on data that has them."
            )
        return [1, *ids, 0]

    def decode(self, ids: Iterable[int]) -> str:
        """The SMILES before the first END, without START."""
        text = []
        for i in ids:
            if i == 0:
                break
            if i != 1:
                text.append(self.tokens[i])
        return "".join(text)

    def save(self, path: Path) -> None:
        """Write tokenizer.json, which the library `tokenizers` reads."""
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

        tokenizer = Tokenizer(models.WordLevel(self._ids, unk_token=END))  # pyright: ignore
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), "isolated")  # pyright: ignore
        tokenizer.post_processor = processors.BertProcessing((END, 0), (START, 1))  # pyright: ignore
        tokenizer.decoder = decoders.Fuse()  # pyright: ignore
        tokenizer.add_special_tokens([START, END])
        tokenizer.enable_padding(pad_id=0, pad_token=END)
        tokenizer.save(str(path))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a tokenizer.json that `save` wrote.

        Raises:
          InvalidInput: if the file is none.
        """
        try:
            ids = json.loads(path.read_bytes())["model"]["vocab"]
            tokens = sorted(ids, key=ids.__getitem__)
            if tokens[:2] != [END, START] or sorted(ids.values()) != list(range(len(ids))):
                raise ValueError(f"the first tokens are {tokens[:2]}")
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise InvalidInput(
                f"{path} is not a vocabulary of a chemical language model ({error}). Use a "
                f"tokenizer.json written by ipsrl: word level, {END!r} = 0 and {START!r} = 1."
            ) from None
        return cls(tokens[2:])
