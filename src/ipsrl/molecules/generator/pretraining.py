"""Maximum-likelihood pretraining of a prior (section 5.3): what the agent starts from.

    L = -(1/N) sum_n log P(y_n),   y_n a fresh random SMILES of molecule n in every epoch

With a prior to start from it is transfer learning: the agent's words stay the prior's.
Source: Arus-Pous et al. 2019 (10.1186/s13321-019-0393-0) for the randomisation.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ipsrl.errors import InvalidInput
from ipsrl.molecules.config import PretrainConfig
from ipsrl.molecules.generator.device import device_input, device_of
from ipsrl.molecules.generator.prior import MAX_TOKENS, Prior
from ipsrl.molecules.generator.vocabulary import END, Vocabulary, tokenize
from ipsrl.molecules.generator.weights import pack, unpack
from ipsrl.molecules.identity import is_file, prior_files
from ipsrl.molecules.molecule import canonical, random_smiles, why_not
from ipsrl.runs import Run, digests, progress

REPEATED = "it is written before"
_SORTED = 50  # batches among which SMILES of like length are brought together


@dataclass(frozen=True)
class PretrainResult:
    """Outcome of pretraining.

    Attributes:
      molecules: trained on, after those that are not molecules or too long were left out.
      left_out: lines of the file that were, also for tokens that the prior to start from lacks.
      nll: of the held-out molecules after each epoch, nats per molecule, END included.
    """

    molecules: int
    left_out: int
    nll: list[float]


def pretrain(config: PretrainConfig, out: Path, *, resume: bool = False) -> PretrainResult:
    """Train a prior; `out`/prior is what `Prior.load` reads.

    Args:
      config: what to train, on what.
      out: run directory to write.
      resume: continue the run in `out` from its last checkpoint, bit for bit.
    Raises:
      ConfigError: if the device is not there.
      InvalidInput: if the corpus or the prior cannot be read, or too few molecules are there to
        hold some out.
      RunError: if `out` holds a run and `resume` is False, or the other way round; if a run that
        goes on was started with another corpus, prior or device.
    """
    named = {config.prior: prior_files(config.prior)}
    if is_file(config.smiles):
        named[config.smiles] = [Path(config.smiles)]
    inputs = digests(named) | device_input(device_of(config.device))
    with (Run.resume if resume else Run.create)(out, config, inputs) as run:
        if run.finished:
            return PretrainResult(**run.result())
        start = Prior.load(config.prior) if config.prior else None
        corpus, left_out = _corpus(config, start)  # last: of many molecules it takes minutes
        return _pretrain(config, run, start, corpus, left_out, resume)


def _corpus(config: PretrainConfig, start: Prior | None) -> tuple[list[str], int]:
    """SMILES to learn and to hold out, and how many lines are left out."""
    molecules, left_out = read_smiles(Path(config.smiles))
    corpus = list(molecules)
    if start:  # what it cannot write it cannot learn
        corpus = [text for text in corpus if start.can_write(text)]
    if len(corpus) <= config.held_out:
        raise InvalidInput(
            f"{config.smiles} has {len(corpus)} molecules, of which {config.held_out} would be "
            "held out. Give more molecules, or a smaller held_out."
        )
    return corpus, sum(left_out.values()) + len(molecules) - len(corpus)


def _pretrain(
    config: PretrainConfig,
    run: Run,
    start: Prior | None,
    corpus: list[str],
    left_out: int,
    resume: bool,
) -> PretrainResult:
    shuffled = np.random.default_rng([config.seed, 0]).permutation(len(corpus))
    held_out = [corpus[i] for i in shuffled[: config.held_out]]
    train = [corpus[i] for i in shuffled[config.held_out :]]
    prior = start or Prior.mamba(
        Vocabulary.of(corpus), hidden=config.hidden, layers=config.layers, seed=config.seed
    )
    model = prior.to(device_of(config.device)).model.train()
    optimiser = torch.optim.Adam(model.parameters())
    per_epoch = math.ceil(len(train) / config.batch)
    total = per_epoch * config.epochs
    step, nll = 0, []
    if resume and (restored := run.restore()):
        step, arrays = restored
        nll = arrays.pop("nll").tolist()
        unpack(arrays, model, optimiser)
    with progress("pretraining", total) as advance:
        for batch in _batches(config, prior, train, step):
            loss = _update(prior, optimiser, batch, config, _rate(config, step, total))
            step += 1
            advance(step, f"loss {loss:.2f}")
            rows = [{"step": step, "loss": loss}]
            if step % per_epoch == 0:
                nll.append(-prior.log_likelihood(held_out).mean().item())
                rows.append({"step": step, "held_out_nll": nll[-1]})
            run.log(rows)
            if step % config.checkpoint_every == 0 or step % per_epoch == 0:
                run.checkpoint(step, pack(model, optimiser) | {"nll": np.array(nll)})
    prior.save(run.own_folder("prior"))
    result = PretrainResult(len(train), left_out, nll)
    run.finish(asdict(result))
    return result


def read_smiles(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Canonical forms of a file's distinct SMILES, by what is written there, and how many lines are
    left out, by reason, which quotes the first of them.

    Raises:
      InvalidInput: if it cannot be read, or holds no molecule.
    """
    advice = (
        "Give a text file with one SMILES a line, and other columns after a blank, not a comma."
    )
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}). {advice}") from None
    good: dict[str, str] = {}
    faults: dict[str, int] = {}
    examples: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        text = line.split()[0]
        why = REPEATED if text in good else _unwritable(text)
        if not why and (found := canonical(text)):
            good[text] = found
            continue
        why = why or why_not(text)
        faults[why] = faults.get(why, 0) + 1
        examples.setdefault(why, f"{why}, as {text[:80]!r} in line {number}")
    left_out = {why if why == REPEATED else examples[why]: n for why, n in faults.items()}
    if not good:
        told = f" ({next(iter(left_out))})" if left_out else ""
        raise InvalidInput(f"{path} holds no molecule{told}. {advice}")
    return good, left_out


def _unwritable(smiles: str) -> str:
    """The reason why the agent cannot write it; "" if it can."""
    tokens = tokenize(smiles)
    if END in tokens:
        return "it has a quadruple bond, $"  # which Vocabulary cannot write
    return f"it has more than {MAX_TOKENS} tokens" if len(tokens) > MAX_TOKENS else ""


def _batches(
    config: PretrainConfig, prior: Prior, train: list[str], step: int
) -> Iterator[torch.Tensor]:
    """Token ids [batch, T] of all updates from `step` on."""
    lengths = np.array([len(tokenize(text)) for text in train])
    per_epoch = math.ceil(len(train) / config.batch)
    for epoch in range(step // per_epoch, config.epochs):
        rng = np.random.default_rng([config.seed, 1, epoch])
        order = rng.permutation(len(train))
        seeds = rng.integers(2**31 - 1, size=len(train)).tolist()
        # Molecules of like length side by side: padding costs as much as tokens.
        stretch = _SORTED * config.batch
        order = np.concatenate(
            [
                part[np.argsort(lengths[part], kind="stable")]
                for part in np.split(order, range(stretch, len(order), stretch))
            ]
        )
        batches = np.split(order, range(config.batch, len(order), config.batch))
        turns = rng.permutation(len(batches))
        for turn in turns[step - epoch * per_epoch :]:
            rows = [_written(config, prior, train[i], seeds[i]) for i in batches[turn]]
            yield prior.encode(rows)
            step += 1


def _written(config: PretrainConfig, prior: Prior, smiles: str, seed: int) -> str:
    if not config.randomise:
        return smiles
    text = random_smiles(smiles, seed)
    # A random form may need tokens that the corpus never shows, such as a tenth open ring.
    return text if prior.can_write(text) else smiles


def _rate(config: PretrainConfig, step: int, total: int) -> float:
    """Learning rate of an update: linear warm-up, then a cosine to 0."""
    rise = min(1.0, (step + 1) / config.warm_up)
    return config.lr * rise * (1 + math.cos(math.pi * step / total)) / 2


def _update(
    prior: Prior,
    optimiser: torch.optim.Optimizer,
    ids_NT: torch.Tensor,
    config: PretrainConfig,
    rate: float,
) -> float:
    """One step of Adam on the mean negative log-likelihood, which is returned in nats."""
    optimiser.zero_grad()
    loss = 0.0
    for part in ids_NT.split(config.micro_batch):
        nll = -prior.log_probs(part).sum() / len(ids_NT)
        nll.backward()
        loss += nll.item()
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return loss
