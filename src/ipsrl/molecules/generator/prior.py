"""The chemical language model: a distribution over SMILES that can be sampled and evaluated.

The paper's is a Mamba of 12 blocks of width 256, with 5,256,448 + 256 V parameters; the shipped one
has 8 of 128.  Any other causal model of transformers does, with a vocabulary of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import MambaConfig, MambaForCausalLM, PreTrainedModel
from transformers.utils import logging

from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.molecules.fragment import Fragment
from ipsrl.molecules.generator.frame import Frame, Pen
from ipsrl.molecules.generator.mamba import CACHE, accelerate, empty_cache
from ipsrl.molecules.generator.vocabulary import Vocabulary, tokenize
from ipsrl.molecules.molecule import canonical
from ipsrl.pretrained import check_model, load_config, load_model

MAX_TOKENS = 128
"""Longest SMILES, in tokens."""

STRETCH = {"cpu": 1, "cuda": 16}
"""Tokens that are written before the device is asked which sequences have ended: a GPU would wait
for each answer, and a processor saves the work on these."""


class Sequences(NamedTuple):
    """A batch of SMILES as the model writes them, in the memory of the processor.

    Attributes:
      ids_NT: tokens after START, up to the first END; END where a sequence is over.
      log_probs_NT: log-probability of each token; 0 where the sequence is over, and where a token
        was given.
    """

    ids_NT: torch.Tensor
    log_probs_NT: torch.Tensor


@dataclass(frozen=True)
class Prior:
    """A causal language model and its vocabulary.

    Attributes:
      model: any causal model of transformers, its vocabulary at least as large.
      vocabulary: END is token 0, START is token 1.
      frame: what every SMILES is written around, if anything; not saved.
    """

    model: PreTrainedModel
    vocabulary: Vocabulary
    frame: Frame | None = None

    @classmethod
    def mamba(
        cls,
        vocabulary: Vocabulary,
        *,
        hidden: int = 256,
        layers: int = 12,
        seed: int = 0,
        rows: int | None = None,
    ) -> Prior:
        """An untrained Mamba; the defaults are the paper's.

        mamba-ssm has more `rows` of the embedding than tokens, to a multiple of 8.
        """
        config = MambaConfig(
            vocab_size=rows or len(vocabulary),
            hidden_size=hidden,
            num_hidden_layers=layers,
            state_size=16,
            conv_kernel=4,
            expand=2,
            initializer_range=0.02,  # transformers' .1 starts far from uniform
            rescale_prenorm_residual=True,  # cleared below: it is about these first weights
            pad_token_id=0,
            eos_token_id=0,
            bos_token_id=1,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = MambaForCausalLM(config)
        config.rescale_prenorm_residual = False
        return cls(accelerate(model), vocabulary)

    @classmethod
    def load(cls, name: str | Path = "zinc") -> Prior:
        """A shipped prior by name, or a folder with config.json, *.safetensors, tokenizer.json.

        Raises:
          InvalidInput: if there is none, or its parts do not fit together.
        """
        shipped = Path(str(files("ipsrl"))) / "molecules" / "priors"
        known = sorted(path.name for path in shipped.glob("*") if path.is_dir())
        folder = shipped / name if name in known else Path(name)
        if not (folder / "config.json").is_file():
            raise InvalidInput(
                f"{name} is not a prior: no folder with a config.json. Pass the folder that "
                f"`ipsrl molecules pretrain` wrote, or the name of a shipped one: {known}."
            )
        try:
            check_model(folder)  # before any other fault of the folder is told
        except ConfigError as error:
            raise InvalidInput(f"the prior cannot be loaded: {error}") from error
        vocabulary = Vocabulary.load(folder / "tokenizer.json")
        try:
            config = load_config(folder, local_files_only=True)
            if isinstance(config, MambaConfig):  # transformers 5 rescales what it has loaded, too
                config.rescale_prenorm_residual = False
            with _no_bars():
                model = load_model(
                    folder, config=config, dtype=torch.float32, local_files_only=True
                )
        except ConfigError as error:
            raise InvalidInput(f"the prior cannot be loaded: {error}") from error
        if model.config.vocab_size < len(vocabulary):
            raise InvalidInput(
                f"{folder} has a model of {model.config.vocab_size} tokens and a vocabulary of "
                f"{len(vocabulary)}. Both must come from the same prior."
            )
        positions = getattr(model.config, "max_position_embeddings", MAX_TOKENS + 1)
        if positions <= MAX_TOKENS:
            raise InvalidInput(
                f"{folder} reads {positions} positions, and a SMILES may have {MAX_TOKENS} tokens "
                f"after its start. Give a model of at least {MAX_TOKENS + 1} positions."
            )
        return cls(accelerate(model.eval()), vocabulary)

    def to(self, device: torch.device) -> Prior:
        """The same prior, with its weights on another device."""
        model: Any = self.model
        model.to(device)
        return self

    def decorating(self, fragment: str) -> Prior:
        """The same model, which now writes what stands at each * of a fragment.

        Raises:
          InvalidInput: if it has no attachment points, or tokens that the model does not know.
        """
        return replace(self, frame=Frame(Fragment(fragment), self.vocabulary))

    def generator(self, seed: int) -> torch.Generator:
        """Randomness for `sample`, on the device of the weights."""
        return torch.Generator(self.model.device).manual_seed(seed)

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        state = self.model.state_dict()
        weights = {name: value.to("cpu", torch.float32) for name, value in state.items()}
        with _no_bars():
            self.model.save_pretrained(folder, state_dict=weights)
        self.vocabulary.save(folder / "tokenizer.json")

    def sample(
        self, count: int, generator: torch.Generator, *, max_tokens: int = MAX_TOKENS
    ) -> Sequences:
        """Draw sequences token by token, on the recurrent or key-value cache.

        Args:
          count: how many are drawn, in one batch.
          generator: where the randomness comes from, on the device of the weights.
          max_tokens: a sequence that has no END by then is cut, and decodes to no molecule.
        Returns:
          the sequences, at most `max_tokens` + 1 tokens each.
        """
        model = self.model
        stretch = STRETCH[model.device.type]
        ids_NT = torch.zeros(count, max_tokens + 1, dtype=torch.int64, device=model.device)
        log_probs_NT = torch.zeros(count, max_tokens + 1, device=model.device)
        going = torch.arange(count, device=model.device)
        last = torch.ones_like(going)
        context = empty_cache(model)
        pen = None if self.frame is None else Pen(self.frame, count, model.device)
        with torch.inference_mode():
            for t in range(0, max_tokens + 1, stretch):
                steps = min(stretch, max_tokens + 1 - t)
                ids, log_probs, context = self._write(last, context, steps, generator, pen)
                if log_probs.isnan().any():
                    raise RunError(
                        "the model's probabilities are not numbers: it has diverged. Start again "
                        "with a smaller lr."
                    )
                ids_NT[going, t : t + steps] = ids
                log_probs_NT[going, t : t + steps] = log_probs
                last = ids[:, -1]
                kept = last.nonzero()[:, 0]  # what has ended costs no further step
                if len(kept) == 0:
                    break
                if len(kept) < len(last):
                    (cache,) = context.values()
                    cache.reorder_cache(kept)
                    if pen is not None:
                        pen.keep(kept)
                going, last = going[kept], last[kept]
        ids_NT, log_probs_NT = ids_NT.cpu(), log_probs_NT.cpu()
        drawn = int(live(ids_NT).sum(1).max())
        return Sequences(ids_NT[:, :drawn], log_probs_NT[:, :drawn])

    def _write(
        self,
        last: torch.Tensor,
        context: dict[str, Any],
        steps: int,
        generator: torch.Generator,
        pen: Pen | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """The next tokens of each sequence and their log-probabilities [b, `steps`], and the cache.

        Nothing here depends on a value, so no step waits for the device.
        """
        ids, log_probs = [], []
        for _ in range(steps):
            out = self.model(input_ids=last[:, None], use_cache=True, **context)
            name = CACHE if CACHE in out else "past_key_values"  # of a Mamba, of a transformer
            context = {name: out[name]}
            forbidden = None if pen is None else pen.forbidden_LV[pen.place]
            log_p = self._log_softmax(out.logits[:, -1], forbidden)
            noise = torch.empty_like(log_p).exponential_(generator=generator)
            drawn = (log_p.exp() / noise).argmax(1)  # as torch.multinomial, which waits to check p
            over = counts_not = last == 0
            if pen is not None:
                drawn, free = pen.write(drawn)
                counts_not = over | ~free
            last = torch.where(over, 0, drawn)
            ids.append(last)
            log_probs.append(torch.where(counts_not, 0.0, log_p.gather(1, drawn[:, None])[:, 0]))
        return torch.stack(ids, 1), torch.stack(log_probs, 1), context

    def log_probs(self, ids_NT: torch.Tensor) -> torch.Tensor:
        """Log-probability of each token [N, T] under the model; 0 where it was not `chosen`.

        Args:
          ids_NT: as in `Sequences`, on any device.
        Returns:
          them on the device of the weights.
        """
        ids_NT = ids_NT.to(self.model.device)
        start = torch.ones_like(ids_NT[:, :1])
        logits = self.model(input_ids=torch.cat([start, ids_NT[:, :-1]], 1), use_cache=False).logits
        forbidden = None if self.frame is None else self.frame.forbidden(ids_NT)
        taken = self._log_softmax(logits, forbidden).gather(2, ids_NT[..., None])[..., 0]
        return torch.where(self.chosen(ids_NT), taken, 0.0)

    def chosen(self, ids_NT: torch.Tensor) -> torch.Tensor:
        """True for the tokens [N, T] up to the first END that the model chose."""
        return live(ids_NT) if self.frame is None else live(ids_NT) & self.frame.free(ids_NT)

    def _log_softmax(self, logits: torch.Tensor, forbidden: torch.Tensor | None) -> torch.Tensor:
        """Over the vocabulary, or what of it may be written: a model may have more rows."""
        logits = logits[..., : len(self.vocabulary)].float()
        if forbidden is not None:
            logits = logits.where(~forbidden, -torch.inf)
        return logits.log_softmax(-1)

    def encode(self, smiles: Iterable[str]) -> torch.Tensor:
        """SMILES as `ids_NT`.

        Raises:
          InvalidInput: for a token that the vocabulary does not have.
        """
        return padded([self.vocabulary.encode(text)[1:] for text in smiles])

    def can_write(self, smiles: str) -> bool:
        """True if it knows all tokens, and could draw them before it is cut."""
        return self.vocabulary.covers(smiles) and len(tokenize(smiles)) <= MAX_TOKENS

    def decode(self, ids_NT: torch.Tensor) -> list[str | None]:
        """The SMILES of each sequence; None for one that was cut before its end."""
        return [self.vocabulary.decode(row) if row[-1] == 0 else None for row in ids_NT.tolist()]

    def molecule(self, written: str | None) -> str | None:
        """The canonical SMILES; None for what is not a molecule, or not one with the fragment."""
        smiles = canonical(written)
        if smiles is None or self.frame is None:
            return smiles
        return smiles if self.frame.fragment.is_in(smiles) else None

    def log_likelihood(self, smiles: Sequence[str], *, batch: int = 64) -> torch.Tensor:
        """log P(SMILES) in nats [N]: of this way to write the molecule, END included.

        With a frame it is log P(decorations | fragment), of SMILES that are written around it.

        Raises:
          InvalidInput: for a token that the vocabulary does not have.
        """
        return self.total_log_probs(self.encode(smiles), batch=batch)

    def total_log_probs(self, ids_NT: torch.Tensor, *, batch: int) -> torch.Tensor:
        """Log-probability of whole sequences in nats [N], `batch` at a time, without gradient."""
        with torch.inference_mode():
            parts = [self.log_probs(part).sum(-1) for part in ids_NT.split(batch)]
            return torch.cat(parts).cpu()


def live(ids_NT: torch.Tensor) -> torch.Tensor:
    """True for the tokens up to the first END [N, T]."""
    ends = (ids_NT == 0).cumsum(1)
    return (ends == 0) | ((ends == 1) & (ids_NT == 0))


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of tokens [N, T], filled with END; at least one column."""
    return (
        torch.zeros(0, 1, dtype=torch.int64)
        if not rows
        else torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True
        )
    )


@contextmanager
def _no_bars() -> Iterator[None]:
    """transformers draws a bar even for what takes a millisecond."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
