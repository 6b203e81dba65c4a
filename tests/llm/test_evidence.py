"""What a trainer knows of its groups: log-probabilities, and similarities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import llm_toy as toy
import numpy as np
import pytest
import torch
from llm_toy import ips, rewards_of, small

from ipsrl import Group, GroupAdvantage, GroupFrequency, Method
from ipsrl.errors import InvalidInput
from ipsrl.llm import IPSGRPOTrainer


def parity(completions: list[str], **columns: Any) -> list[int | None]:
    """Two outcomes with four texts each."""
    return [int(text.strip()[1:]) % 2 if text.strip()[:1] == "a" else None for text in completions]


@pytest.mark.parametrize("outcome_fn", [toy.answer, parity])
def test_the_likelihood_is_the_sum_over_the_completions_of_the_group(tmp_path, outcome_fn) -> None:
    words = toy.tokenizer()
    net = toy.model(words)
    p_K = toy.distribution(net, words)
    toy.train(
        tmp_path, IPSGRPOTrainer, net=net, words=words, max_steps=1, log_completions=True,
        per_device_train_batch_size=32, num_iterations=1,
        trainer_options={"outcome_fn": outcome_fn, "estimator": "likelihood"},
    )  # fmt: skip
    rows = toy.table(tmp_path)
    assert len(rows) == 32
    for first in (0, 16):
        part = rows.iloc[first : first + 16]
        texts = [text.strip() for text in part["completion"]]
        keys = outcome_fn(texts)
        assert len(set(keys)) > 2
        for key, weight in zip(keys, part["ips_weight"], strict=True):
            of_key = {text for text, other in zip(texts, keys, strict=True) if other == key}
            p = 1.0 if key is None else sum(p_K[int(text[1:])] for text in of_key)
            assert weight == pytest.approx(1 / p, rel=1e-4)  # logits of up to 10 in float32


def test_what_is_wrong_has_no_likelihood(tmp_path) -> None:
    trainer = small(
        tmp_path, rewards=lambda **_: [1.0, 1.0, 0.2, 0.2],
        trainer_options={"estimator": "likelihood", "success": 0.5},
    )  # fmt: skip
    asked = []
    compute = trainer._log_probs
    trainer._log_probs = lambda rows, model: asked.extend(rows) or compute(rows, model)
    rewards = rewards_of(trainer, ["a0", "a0", "a1", "j0"])[:, 0].tolist()
    assert rewards[2:] == [pytest.approx(0.2)] * 2
    assert [text for _, text in asked] == [(0,), (1,)]  # the tokens that rewards_of gives


def alike(keys: list[str]) -> torch.Tensor:
    """a0 and a1 are half the same."""
    assert len(set(keys)) == len(keys)
    half = {("a0", "a1"), ("a1", "a0")}
    return torch.tensor([[1.0 if a == b else 0.5 * ((a, b) in half) for b in keys] for a in keys])


def test_the_kernel_by_hand(tmp_path) -> None:
    options = {"estimator": "kernel", "similarity_fn": alike}
    trainer = small(
        tmp_path, per_device_train_batch_size=8, trainer_options=options,
        rewards=lambda **_: [1.0] * 8,
    )  # fmt: skip
    texts = ["a0", "a0", "a1", "j0", "a2", "a3", "a2", "a2"]
    # a0: (1 + 1 + .5) / 4; a1: (.5 + .5 + 1) / 4; junk is no outcome; then counts
    assert rewards_of(trainer, texts)[:, 0].tolist() == pytest.approx(
        [1.6, 1.6, 2, 1, 4 / 3, 4, 4 / 3, 4 / 3]
    )


def test_the_kernel_of_equality_is_the_group_frequency(tmp_path) -> None:
    def same(keys: list[str]) -> np.ndarray:
        return np.eye(len(keys))

    two = {"max_steps": 2, "log_completions": True}
    for name, options in (("a", {}), ("b", {"estimator": "kernel", "similarity_fn": same})):
        toy.train(tmp_path / name, IPSGRPOTrainer, trainer_options=ips(**options), **two)
    for column in ("completion", "ips_weight", "advantage"):
        assert list(toy.table(tmp_path / "a")[column]) == list(toy.table(tmp_path / "b")[column])


def test_the_kernel_takes_what_an_embedding_model_gives(tmp_path) -> None:
    """A tensor of 16 bits that has a gradient."""

    def similarity(keys: list[str]) -> torch.Tensor:
        return alike(keys).bfloat16().requires_grad_()

    options = {"estimator": "kernel", "similarity_fn": similarity}
    trainer = small(tmp_path, trainer_options=options, rewards=lambda **_: [1.0] * 4)
    rewards = rewards_of(trainer, ["a0", "a0", "a1", "j0"])[:, 0].tolist()
    assert rewards == pytest.approx([1.6, 1.6, 2, 1])  # (1 + 1 + .5) / 4, (.5 + .5 + 1) / 4


@pytest.mark.parametrize(
    ("similarity", "teaches"),
    [
        (lambda keys: None, "returned a NoneType for 2 outcome keys"),
        (lambda keys: np.ones(len(keys)), r"shape \[2\] for 2 outcome keys"),
        (lambda keys: -np.eye(len(keys)), r"must lie in \[0, 1\]"),
    ],
)
def test_similarities_that_are_none(tmp_path, similarity, teaches) -> None:
    options = {"estimator": "kernel", "similarity_fn": similarity}
    with pytest.raises(InvalidInput, match=teaches):
        rewards_of(small(tmp_path, trainer_options=options), ["a0", "a0", "a1", "j0"])


@dataclass(frozen=True)
class Surprise(Method):
    """A = -log pi(y | x)."""

    needs: ClassVar[tuple[str, ...]] = ("ids", "log_pf")

    def advantages(self, group: Group) -> GroupAdvantage:
        return GroupAdvantage(-group.needed("log_pf", self), np.zeros(len(group.rewards), bool))


def test_a_method_gets_the_evidence_that_it_needs(tmp_path) -> None:
    words = toy.tokenizer()
    net = toy.model(words)
    p_K = toy.distribution(net, words)
    toy.train(
        tmp_path, IPSGRPOTrainer, net=net, words=words, max_steps=1, log_completions=True,
        trainer_options=ips(method=Surprise()),
    )  # fmt: skip
    rows = toy.table(tmp_path)
    assert len(set(rows["completion"])) > 3
    for text, advantage in zip(rows["completion"], rows["advantage"], strict=True):
        if text.strip()[:1] != "a":  # which is not in p_K
            assert advantage > 0
            continue
        expected = -np.log(p_K[int(text.strip()[1:])])
        assert advantage == pytest.approx(expected, abs=1e-4)  # logits of up to 10 in float32


class Counting(GroupFrequency):
    """Remembers how often it was asked."""

    def init(self, group: Group) -> int:
        return 0


def test_an_estimator_whose_state_would_be_lost_is_refused(tmp_path) -> None:
    trainer = small(tmp_path, trainer_options={"estimator": Counting(), "success": 0.5})
    with pytest.raises(InvalidInput, match="Counting starts from the state 0, which is lost here"):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])
