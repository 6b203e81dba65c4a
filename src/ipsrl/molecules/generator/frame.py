"""The given part of SMILES that a model decorates.

    c1ccc(*)cc1C(=O)N*

The tokens of the fragment are given.  At each * the model writes an atom or bond, and from there
what it will: up to the ")" that closes the branch, which it writes too, or up to END.  It cannot
end there while something of the fragment is to come, nor close a ring of the fragment, nor go on
with one: aromatic rings are joined by "-".  Log-probabilities are those of the tokens that it
writes, among those that it can write, given all before: log P(decorations | fragment).

Source: Langevin et al. 2020 (10.1021/acs.jcim.0c01015).
"""

from __future__ import annotations

import re

import torch

from ipsrl.errors import InvalidInput
from ipsrl.molecules.fragment import Fragment
from ipsrl.molecules.generator.vocabulary import Vocabulary, tokenize

_BEGINS, _GOES_ON = -2, -1
_RING = re.compile(r"\d|%\d\d")
_NO_START = re.compile(r"\d|%\d\d|[()$.=#]")
_AROMATIC = re.compile(r"[a-z]|\[\d*[a-z].*")


class Frame:
    """Tokens that are given, and places between them that are free.

    Args:
      fragment: what is given.
      vocabulary: of the model.

    Attributes:
      given_L: token of each place, the last END; below 0 where the model writes: a place for the
        token that a decoration begins with, and one for all that follow.
      forbidden_LV: tokens that it cannot write there.

    Raises:
      InvalidInput: for a token that the vocabulary does not have.
    """

    def __init__(self, fragment: Fragment, vocabulary: Vocabulary) -> None:
        self.fragment = fragment
        known = {"*", *vocabulary.tokens}
        if unknown := [token for token in tokenize(fragment.written) if token not in known]:
            change = "Give another fragment, or pretrain a prior on data that has them"
            if known.issuperset(tokenize(fragment.plain)):
                change = f"Write {fragment.plain}"
            raise InvalidInput(
                f"the fragment {fragment.written!r} has the tokens {unknown[:5]}, which this model "
                f"was not taught. {change}."
            )
        self.opening, self.closing = (vocabulary.encode(text)[1] for text in "()")
        numbered = list(enumerate(vocabulary.tokens))
        no_start = {i for i, token in numbered if _NO_START.fullmatch(token)}
        aromatic = {i for i, token in numbered if _AROMATIC.fullmatch(token)}
        on_aromatic = iter(fragment.on_aromatic)
        given: list[int] = []
        forbidden: list[set[int]] = []
        rings: set[int] = set()  # that are open
        tokens = iter(tokenize(fragment.written))
        for token in tokens:
            if token == "*":
                inside = next(tokens, None) is not None  # the ")" that the model writes itself
                given += [_BEGINS, _GOES_ON]
                begins = no_start | (aromatic if next(on_aromatic) else set())
                forbidden += [begins, rings | ({0} if inside else set())]
            else:
                given.append(vocabulary.encode(token)[1])
                forbidden.append(set())
                if _RING.fullmatch(token):
                    rings = rings ^ {given[-1]}
        self.given_L = torch.tensor([*given, 0])
        self.forbidden_LV = torch.zeros(len(self.given_L), len(vocabulary), dtype=torch.bool)
        for place, those in enumerate(forbidden):
            self.forbidden_LV[place, list(those)] = True

    def free(self, ids_NT: torch.Tensor) -> torch.Tensor:
        """True for the tokens [N, T] that the model chose."""
        return self.given_L.to(ids_NT.device)[self._places(ids_NT)] < 0

    def forbidden(self, ids_NT: torch.Tensor) -> torch.Tensor:
        """True for what could not have been written in place of each token [N, T, V]."""
        return self.forbidden_LV.to(ids_NT.device)[self._places(ids_NT)]

    def _places(self, ids_NT: torch.Tensor) -> torch.Tensor:
        """The place in the frame of each token [N, T] of sequences written around the fragment."""
        pen = Pen(self, len(ids_NT), ids_NT.device)
        places = []
        for drawn in ids_NT.unbind(1):
            places.append(pen.place)
            pen.write(drawn)
        return torch.stack(places, 1)


class Pen:
    """Where each of some sequences is in the frame; nothing here waits for a value.

    Attributes:
      place: of the next token of each sequence [b].
    """

    def __init__(self, frame: Frame, count: int, device: torch.device) -> None:
        self.frame, self.given_L = frame, frame.given_L.to(device)
        self.forbidden_LV = frame.forbidden_LV.to(device)
        self.place = torch.zeros(count, dtype=torch.int64, device=device)
        self._depth = torch.zeros_like(self.place)  # branches that are open since the last *

    def write(self, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next token of each sequence [b], given or as it was drawn; and whether it is that."""
        due = self.given_L[self.place]
        free, goes_on = due < 0, due == _GOES_ON
        opened = (drawn == self.frame.opening).long() - (drawn == self.frame.closing).long()
        self._depth = torch.where(goes_on, self._depth + opened, 0)
        over = ~goes_on | (self._depth < 0)
        self.place = (self.place + over).clamp(max=len(self.given_L) - 1)
        return torch.where(free, drawn, due), free

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these sequences, in this order."""
        self.place, self._depth = self.place[rows], self._depth[rows]
