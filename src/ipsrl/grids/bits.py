"""Strings of bits, written word by word: far more outcomes than can be enumerated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ipsrl.errors import InvalidInput

_BLOCKS = ("00000000", "11111111", "11110000", "00001111", "00111100")


class Written(NamedTuple):
    """Words so far [L], where those not yet written are 2^k, and the number of those written."""

    words: Int[Array, " L"]
    length: Int[Array, ""]


@dataclass(frozen=True)
class BitSequences:
    """Strings of n bits in words of k, appended until the string is full; then it stops.

        R(x) = exp(-beta min_{y in M} d(x, y)),   d: bits that differ

    M are 60 strings, each of n / 8 blocks drawn from five, and equal ones count once; a string
    within n / 4 bits of one has found it.  A string is written in one way, so P_B = 1.  Source:
    Malkin et al. (2201.13259); this beta and this way of drawing M are those of torchgfn.

    Attributes:
      bits: n, a multiple of 8 and of `word`.
      word: k bits, from 1 to 10.
      beta: of the reward; beyond 80 / n a far string's is too small for float32.
      targets: strings drawn for M.
      seed: of M.
    """

    bits: int = 120
    word: int = 8
    beta: float = 1.0
    targets: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.word <= 10 or self.bits < 1 or self.bits % 8 or self.bits % self.word:
            raise InvalidInput(
                f"bits = {self.bits} with words of {self.word} cannot be written. Use words of 1 "
                "to 10 bits, and for bits a multiple of 8 and of the word, above 0."
            )
        if self.targets < 1:
            raise InvalidInput(
                f"targets = {self.targets}, but a reward is the distance to the nearest of them. "
                "Use 1 or more."
            )

    @property
    def modes(self) -> int:
        return len(self.targets_MN)

    @property
    def words(self) -> int:
        """L."""
        return self.bits // self.word

    @property
    def actions(self) -> int:
        """One for every word, and stop."""
        return 2**self.word + 1

    @property
    def horizon(self) -> int:
        return self.words + 1

    @property
    def observation(self) -> tuple[int, int]:
        return self.words, 2**self.word + 1

    @property
    def states(self) -> int:
        """All strings of whole words, the empty one first."""
        return (2 ** (self.word * (self.words + 1)) - 1) // (2**self.word - 1)

    @cached_property
    def targets_MN(self) -> np.ndarray:
        """The target strings M as bits [M, n]."""
        blocks = np.array([list(block) for block in _BLOCKS]).astype(int)
        chosen = np.random.default_rng(self.seed).integers(
            len(blocks), size=(self.targets, self.bits // 8)
        )
        _, first = np.unique(chosen, axis=0, return_index=True)
        return blocks[chosen[np.sort(first)]].reshape(-1, self.bits)

    def start(self) -> Written:
        return Written(jnp.full(self.words, 2**self.word, jnp.int32), jnp.zeros((), jnp.int32))

    def legal(self, state: Written):
        full = state.length == self.words
        return jnp.append(jnp.full(self.actions - 1, ~full), full)

    def step(self, state: Written, action: Any) -> Written:
        words = state.words.at[state.length].set(action.astype(jnp.int32), mode="drop")
        return Written(words, state.length + 1)

    def legal_back(self, state: Written):
        last = state.words[jnp.maximum(state.length - 1, 0)]
        return (jnp.arange(self.actions - 1) == last) & (state.length > 0)

    def step_back(self, state: Written, action: Any) -> Written:
        shorter = jnp.maximum(state.length - 1, 0)
        return Written(state.words.at[shorter].set(2**self.word), shorter)

    def observe(self, state: Written):
        return state.words

    def distances(self, state: Written):
        """Number of bits in which a full string differs from each target [M]."""
        places = jnp.arange(self.word - 1, -1, -1)
        written = (state.words[:, None] >> places & 1).reshape(-1)
        return (written != jnp.asarray(self.targets_MN)).sum(-1)

    def reward(self, state: Written):
        return jnp.exp(-self.beta * self.distances(state).min())

    def mode(self, state: Written):
        distances = self.distances(state)
        return jnp.where(distances.min() <= self.bits // 4, distances.argmin(), self.modes)

    def state(self, index: Any) -> Written:
        """The string with this number: shorter ones first, 0 is the empty one."""
        base, firsts = 2**self.word, self._firsts()
        length = (index >= firsts).sum() - 1
        within = index - firsts[length]
        place = length - 1 - jnp.arange(self.words)
        digits = within // base ** jnp.maximum(place, 0) % base
        return Written(jnp.where(place >= 0, digits, base).astype(jnp.int32), length)

    def index(self, state: Written):
        base = 2**self.word
        place = state.length - 1 - jnp.arange(self.words)
        digits = jnp.where(place >= 0, state.words * base ** jnp.maximum(place, 0), 0)
        return self._firsts()[state.length] + digits.sum()

    def _firsts(self):
        """The number of the first string of each length."""
        base = 2**self.word
        return jnp.asarray([(base**n - 1) // (base - 1) for n in range(self.words + 1)])
