"""Which estimator keeps how many right answers, where there are more of them than completions.

An answer is three letters of sixteen, and can be written in four ways.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ipsrl.llm import IPSGRPOTrainer

LETTERS, LENGTH, WAYS = 16, 3, 4
SAMPLES = 64


def words() -> PreTrainedTokenizerFast:
    all_words = ["[PAD]", "[EOS]", "[UNK]", "name", "one"]
    all_words += [f"w{i}" for i in range(WAYS)] + [f"x{i}" for i in range(LETTERS)]
    vocabulary = {word: i for i, word in enumerate(all_words)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]"
    )


@cache
def sequences() -> torch.Tensor:
    """Tokens of all texts [WAYS, LETTERS^LENGTH, 1 + LENGTH]."""
    first = words().convert_tokens_to_ids("w0")
    way, answer = torch.meshgrid(torch.arange(WAYS), torch.arange(LETTERS**LENGTH), indexing="ij")
    letters = [answer // LETTERS**k % LETTERS for k in reversed(range(LENGTH))]
    return torch.stack([way, *(WAYS + letter for letter in letters)], -1) + first


def log_probs(net: Any, tokens: torch.Tensor) -> torch.Tensor:
    """log pi(text | prompt) [N] of texts [N, T]."""
    prompt = torch.tensor(words()("name one")["input_ids"]).expand(len(tokens), -1)
    logits = net(torch.cat([prompt, tokens], 1)).logits[:, prompt.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(2, tokens[..., None])[..., 0].sum(1)


@torch.no_grad()
def probability(net: Any, answers: np.ndarray) -> np.ndarray:
    """p(answer) [N] of the model, whatever the way."""
    net.eval()
    tokens = sequences()[:, torch.as_tensor(answers)]
    p = log_probs(net, tokens.flatten(0, 1)).double().exp()
    return p.reshape(WAYS, -1).sum(0).numpy()


def start(right: np.ndarray, seed: int) -> Any:
    """A model that knows some of the right answers far better than others."""
    net = toy.model(words(), seed=seed)
    popularity = torch.linspace(5.0, 0.0, len(right)).softmax(0)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(seed)
    net.train()
    for _ in range(150):
        which = popularity.multinomial(64, replacement=True, generator=generator)
        way = torch.randint(WAYS, (64,), generator=generator)
        loss = -log_probs(net, sequences()[way, torch.as_tensor(right)[which]]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


class Exact(IPSGRPOTrainer):
    """With p(outcome) of the model itself."""

    def _probability(self, group, keys, batch):
        known = [key for key in keys if key is not None]
        p = np.ones(len(keys))
        if known:
            p[[key is not None for key in keys]] = probability(self.model, np.array(known))
            self.model.train()
        return p.reshape(group.ids.shape)


def number(text: str) -> int | None:
    """The number of an answer; None for a text that is not an answer."""
    way, *letters = text.split() or [""]
    if way[:1] != "w" or len(letters) != LENGTH or any(letter[0] != "x" for letter in letters):
        return None
    return sum(int(letter[1:]) * LETTERS**k for k, letter in enumerate(reversed(letters)))


def recovery(
    folder: Path, right: int, group: int, estimator: str, seed: int, steps: int = 300
) -> tuple[float, float]:
    """Expected share of the right answers that 64 samples have; and the share of right samples."""
    answers = np.random.default_rng(0).permutation(LETTERS**LENGTH)[:right]  # for every run
    known = set(answers.tolist())

    def outcome(completions, **columns):
        return [n if (n := number(text)) in known else None for text in completions]

    def reward(completions, **columns):
        return [float(key is not None) for key in outcome(completions)]

    trained = toy.train(
        folder, Exact if estimator == "exact" else IPSGRPOTrainer, rewards=reward,
        net=start(answers, seed), words=words(), num_generations=group,
        per_device_train_batch_size=group, max_completion_length=1 + LENGTH, max_steps=steps,
        logging_steps=steps, learning_rate=1e-3, lr_scheduler_type="constant", seed=seed,
        trainer_options={
            "outcome_fn": outcome,
            # any but "group", which trl.py counts without asking
            "estimator": "leave-one-out" if estimator == "exact" else estimator,
        },
    )  # fmt: skip
    p = probability(trained.model, answers)
    return float((1 - (1 - p) ** SAMPLES).mean()), float(p.sum())


def medians(folder: Path, right: int, group: int, estimators: list[str], **options: Any) -> Any:
    found = {}
    for name in estimators:
        runs = [recovery(folder / f"{name}-{s}", right, group, name, s, **options) for s in SEEDS]
        found[name] = tuple(np.median(runs, axis=0).round(3).tolist())
    print(f"{right} right answers, G = {group}, {options or ''}: {found}")
    return found


ALL = ["group", "replay", "likelihood", "exact"]
SEEDS = range(3)


@pytest.mark.slow
def test_many_answers_are_kept_by_better_estimates(tmp_path) -> None:
    found = medians(tmp_path, 128, 8, ALL)
    recovered = {name: share for name, (share, _) in found.items()}
    assert 1.3 * recovered["group"] < recovered["replay"] < recovered["likelihood"]
    assert recovered["likelihood"] == pytest.approx(recovered["exact"], rel=0.05)  # of three seeds
    valid = {name: share for name, (_, share) in found.items()}
    assert valid["group"] > valid["replay"] > valid["likelihood"]


@pytest.mark.slow
def test_where_answers_are_far_too_many_replay_leads(tmp_path) -> None:
    found = medians(tmp_path, 512, 16, ALL)
    recovered = {name: share for name, (share, _) in found.items()}
    assert recovered["group"] < recovered["likelihood"] < recovered["replay"]


@pytest.mark.slow
def test_lost_validity_is_slowness(tmp_path) -> None:
    found = medians(tmp_path, 128, 8, ALL, steps=1000)
    assert all(valid > 0.85 for _, valid in found.values())  # .69 to .94 after 300
    assert found["likelihood"][0] > 1.3 * found["group"][0]
