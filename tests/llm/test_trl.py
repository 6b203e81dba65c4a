"""IPS in TRL's trainers: the reward is scaled by the group's outcomes, and nothing else changes."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import logging
import math
import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import Any

import llm_toy as toy
import numpy as np
import pytest
import torch
import trl
from helpers import TOLERANCE, assert_same
from llm_laws import assert_closed_form, grpo, last_table, rloo
from llm_toy import ips, rewards_of, small, valid_later
from packaging.version import Version
from trl import GRPOTrainer, RLOOTrainer

from ipsrl import GRPO, IPS, METHODS, Group, GroupAdvantage, MaxRL, Method, RewardMethod
from ipsrl.core.methods import DPG, DRA, MARA, Split
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.llm import IPSGRPOTrainer, IPSMixin, IPSRLOOTrainer, PromptHistory
from ipsrl.llm.evidence import Evidence

G = 16
TRL = Version(trl.__version__)


def ours(name: str) -> bool:
    return name.startswith(("outcomes/", "ips/"))


# --- the law, in real steps ---------------------------------------------------------------------


@pytest.mark.parametrize(("eps", "alpha"), [(0.0, 1.0), (0.2, 1.0), (0.1, 0.5)])
@pytest.mark.parametrize(("trainer", "advantage"), [(IPSGRPOTrainer, grpo), (IPSRLOOTrainer, rloo)])
def test_advantages_are_the_closed_form(tmp_path, trainer, advantage, eps, alpha) -> None:
    trained = toy.train(
        tmp_path, trainer, max_steps=3, per_device_train_batch_size=2 * G, log_completions=True,
        trainer_options=ips(eps=eps, alpha=alpha),
    )  # fmt: skip
    rows = last_table(trained) if trainer is IPSRLOOTrainer else toy.table(tmp_path)
    assert len(rows) == (2 if trainer is IPSRLOOTrainer else 3 * 2) * G
    assert len(set(rows["outcome"])) > 4
    assert_closed_form(rows, advantage, eps, alpha)


def test_a_group_by_hand(tmp_path) -> None:
    """G = 4: a0 three times, p^ = 3/4, and a1 once, p^ = 1/4; all rewards are 1."""
    trainer = small(tmp_path)
    rewards = rewards_of(trainer, ["a0", "a0", "a1", "a0"])
    # 1 / (3/4) = 4/3 and 1 / (1/4) = 4; float32 rounds 4/3 by 1e-7
    torch.testing.assert_close(rewards, torch.tensor([[4 / 3], [4 / 3], [4.0], [4 / 3]]))
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert logged == {
        "ips/weight_max": 4.0,
        "outcomes/distinct": 2.0,
        # exp of the entropy of (3/4, 1/4) = exp(.2158 + .3466) = exp(.5623)
        "outcomes/effective": pytest.approx(1.7548, abs=1e-4),  # as many digits as are written
        "outcomes/inert_groups": 0.0,
        "outcomes/single_outcome_groups": 0.0,
        "outcomes/no_outcome": 0.0,
    }


def test_groups_go_by_position(tmp_path) -> None:
    """The same prompt twice in a batch is two groups; a row without an outcome keeps its reward."""
    trainer = small(tmp_path, per_device_train_batch_size=8, rewards=lambda **_: [1.0] * 8)
    rewards = rewards_of(trainer, ["a0", "a0", "a0", "a0", "a0", "a1", "j0", "a1"])
    # first group: p^ = 1; second: a0 1/4, a1 2/4, j0 has no outcome
    assert rewards[:, 0].tolist() == [1.0, 1.0, 1.0, 1.0, 4.0, 2.0, 1.0, 2.0]


def test_order_and_names_do_not_matter(tmp_path) -> None:
    trainer = small(tmp_path)
    texts, order = ["a0", "a1", "a0", "j1"], [2, 3, 1, 0]
    rewards = rewards_of(trainer, texts)
    assert_same(rewards_of(trainer, [texts[i] for i in order]), rewards[order])
    renamed = {"a0": "a7", "a1": "a0", "j1": "j0"}
    assert_same(rewards_of(trainer, [renamed[text] for text in texts]), rewards)


# --- scaling off --------------------------------------------------------------------------------


@pytest.mark.promise(number=15)
@pytest.mark.parametrize(
    ("plain", "trainer", "estimator"),
    [
        (GRPOTrainer, IPSGRPOTrainer, "group"),
        (GRPOTrainer, IPSGRPOTrainer, "replay"),
        (RLOOTrainer, IPSRLOOTrainer, "group"),
    ],
)
def test_scaling_off_is_trl_bit_for_bit(
    tmp_path, plain, trainer, estimator, record_property
) -> None:
    """alpha = 0, 20 steps: every loss, every other number TRL logs, and every weight."""
    off = toy.train(tmp_path / "off", trainer, trainer_options=ips(alpha=0.0, estimator=estimator))
    reference = toy.train(tmp_path / "plain", plain)
    logged = [{k: v for k, v in entry.items() if not ours(k)} for entry in toy.log(off)]
    assert len(logged) == 21
    assert logged == toy.log(reference)
    weights = off.model.state_dict()
    for name, value in reference.model.state_dict().items():
        assert torch.equal(weights[name], value), name
    record_property("figure", f"{trainer.__name__}, {estimator}: 20 steps, 0 differences")
    # and it is no accident: with scaling on they differ
    on = toy.train(tmp_path / "on", trainer, max_steps=2, trainer_options=ips())
    assert [e["loss"] for e in toy.log(on)[:2]] != [e["loss"] for e in toy.log(reference)[:2]]


def test_nothing_else_of_trl_is_overridden() -> None:
    """Neither methods nor attributes of TRL, also not by an accident of names."""
    for host in (GRPOTrainer, RLOOTrainer):
        added = {**vars(Evidence), **vars(IPSMixin)}
        common = {name for name in added if hasattr(host, name)} - set(vars(object))
        common -= {"__module__", "__dict__", "__weakref__"}
        assert common == {
            "_calculate_rewards", "_generate_and_score_completions",
            "_save_optimizer_and_scheduler", "_load_optimizer_and_scheduler",
        }  # fmt: skip
        for trainer in (IPSGRPOTrainer, IPSRLOOTrainer):
            assert not {name for name in vars(trainer) if not name.startswith("__")}


def test_no_attribute_of_trl_is_overwritten(tmp_path) -> None:
    stored = {
        node.attr
        for mixin in (IPSMixin, Evidence)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(mixin))))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert {"outcome_fn", "method", "estimator"} <= stored
    plain = small(tmp_path, GRPOTrainer)
    assert not {name for name in stored if hasattr(plain, name)}


# --- logs ---------------------------------------------------------------------------------------


def test_logs_are_the_table_summed_up(tmp_path) -> None:
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=3, log_completions=True, trainer_options=ips()
    )
    rows = toy.table(tmp_path)
    for step, entry in enumerate(toy.log(trainer)[:3], start=1):
        part = rows[rows["step"] == step]
        raw, weights = part["raw_reward"].astype(float), part["ips_weight"].astype(float)
        n = Counter(outcome for outcome in part["outcome"] if outcome is not None)
        q = np.array(list(n.values())) / sum(n.values())
        assert raw.tolist() == toy.valid(part["completion"])
        assert list(part["outcome"]) == toy.answer(part["completion"])
        assert part["valid"].tolist() == raw.tolist()
        assert entry["reward"] == entry["rewards/valid/mean"] == raw.mean()
        scaled = raw * weights
        # float32 means of 16 values up to 16
        assert entry["ips/reward"] == pytest.approx(scaled.mean(), rel=TOLERANCE["float32"])
        assert entry["ips/reward_std"] == pytest.approx(scaled.std(), rel=TOLERANCE["float32"])
        assert entry["ips/rewards/valid/mean"] == entry["ips/reward"]
        assert entry["ips/weight_max"] == weights.max() == G / min(n.values())
        assert entry["outcomes/distinct"] == len(n)
        # float64, tens of terms
        assert entry["outcomes/effective"] == pytest.approx(np.exp(-q @ np.log(q)), rel=1e-12)
        assert entry["outcomes/no_outcome"] == 1 - sum(n.values()) / G


@pytest.mark.parametrize(
    ("plain", "trainer", "settings"),
    [
        (GRPOTrainer, IPSGRPOTrainer, {}),
        (
            GRPOTrainer,
            IPSGRPOTrainer,
            {"scale_rewards": "batch", "reward_weights": [0.5, 2.0, 1.0]},
        ),
        (RLOOTrainer, IPSRLOOTrainer, {}),
    ],
    ids=["grpo", "batch", "rloo"],
)
def test_what_trl_logs_is_what_it_would_log(tmp_path, plain, trainer, settings) -> None:
    """The model does not learn, so all numbers are equal to the last bit, and so is the table.

    Two functions of one name, and rewards whose sum has rounding errors, come from users.
    """

    def made() -> Any:
        def some(completions, **columns):
            return [None if text == "a3" else 0.3 for text in completions]

        return some

    settings = {
        "rewards": [toy.valid, made(), made()], "learning_rate": 0.0,
        "max_steps": 3, "num_generations": 4, **settings,
    }  # fmt: skip
    alone = toy.train(tmp_path / "alone", plain, **settings)
    scaled = toy.train(tmp_path / "scaled", trainer, trainer_options=ips(), **settings)
    for ours_, theirs in zip(toy.log(scaled)[:3], toy.log(alone)[:3], strict=True):
        rest = {name: value for name, value in ours_.items() if not ours(name)}
        learned = {"loss", "grad_norm"}
        assert rest.keys() == theirs.keys()
        for name in rest.keys() - learned:
            # An older TRL has other formulas for the same.
            bits = {"rel": 0, "abs": 0} if Version("1.16") <= TRL else {"rel": 1e-5, "abs": 1e-6}
            assert rest[name] == pytest.approx(theirs[name], nan_ok=True, **bits), name
        assert ours_["ips/reward"] > ours_["reward"]
    for name, column in alone._logs["rewards"].items():
        np.testing.assert_array_equal(list(scaled._logs["rewards"][name]), list(column))


def test_columns_that_a_reward_function_logs_stay_as_they_are(tmp_path) -> None:
    """Also one that is called as one of ours."""

    def reward(completions, log_extra, **columns):
        log_extra("length", [len(text) for text in completions])
        log_extra("outcome", completions)
        return toy.valid(completions)

    toy.train(
        tmp_path, IPSGRPOTrainer, rewards=reward, max_steps=1, log_completions=True,
        trainer_options=ips(),
    )  # fmt: skip
    rows = toy.table(tmp_path)
    assert len(rows) == G
    assert list(rows["length"]) == [len(text) for text in rows["completion"]]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["a0", "a1", "a2", "a3"], {}, "All outcomes differ in 100%"),
        (["a0", "a0", "a0", "a0"], {}, "100% of the groups have a single outcome"),
        (["a0", "a0", "a1", "a1"], {"eps": 0.2}, "eps = 0.2 has no effect"),
    ],
)
def test_warnings(tmp_path, caplog, texts, options, message) -> None:
    """Said once, and not again while nothing gets worse."""
    trainer = small(tmp_path, trainer_options=options)
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(trainer, texts)
        rewards_of(trainer, texts)
    assert [message in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a0", "a1", "a2", "a3"], "All outcomes differ in 100%"),
        (["a0", "a0", "a0", "a0"], "100% of the groups have a single outcome"),
        (["j0", "j0", "j1", "j0"], "100% of the rewarded samples have no outcome"),
    ],
)
def test_replay_warns_too(tmp_path, caplog, texts, message) -> None:
    history = PromptHistory(log_probs=False)
    options = {"estimator": history, "eps": 0.2}
    trainer = small(tmp_path, rewards=lambda **_: [1.0] * 4, trainer_options=options)
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(trainer, texts)
        rewards_of(trainer, texts)
    # There is no warning about eps: a share of several groups may be below 1/G.
    assert [message in record.getMessage() for record in caplog.records] == [True]


def test_replay_is_not_inert_where_weights_differ(tmp_path, caplog) -> None:
    """All four differ, but a0 was seen before: 5 of 8, and 1 of 8 each."""
    trainer = small(tmp_path, trainer_options={"estimator": PromptHistory(log_probs=False)})
    rewards_of(trainer, ["a0", "a0", "a0", "a1"])
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(trainer, ["a0", "a1", "a2", "a3"])
    assert not caplog.records


def test_a_healthy_group_warns_of_nothing(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(small(tmp_path), ["a0", "a0", "a1", "j0"])
    assert not caplog.records


# --- rewards of every kind ----------------------------------------------------------------------


def by_letter(completions: list[str], **columns: Any) -> list[float]:
    """Reward of the number in an answer."""
    return [
        int(text.strip()[1:]) / 4 if text.strip()[:1] in ("a", "j") else 0.0 for text in completions
    ]


def test_several_rewards_with_weights(tmp_path) -> None:
    """Every column gets the weight of its row, so their weighted sum does."""
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, rewards=[toy.valid, by_letter], reward_weights=[0.5, 2.0],
        max_steps=2, log_completions=True, trainer_options=ips(),
    )  # fmt: skip
    rows = toy.table(tmp_path)
    first, second = toy.valid(rows["completion"]), by_letter(rows["completion"])
    assert (list(rows["valid"]), list(rows["by_letter"])) == (first, second)
    expected = [0.5 * a + 2 * b for a, b in zip(first, second, strict=True)]
    assert list(rows["raw_reward"]) == expected  # quarters: exact
    assert_closed_form(rows)
    logged = toy.log(trainer)[0]
    assert logged["rewards/by_letter/mean"] == np.mean(second[:G])
    assert logged["reward"] == np.mean(expected[:G])
    weights = rows["ips_weight"].astype(float)
    scaled = (np.array(second) * weights)[:G].mean()
    assert logged["ips/rewards/by_letter/mean"] == pytest.approx(scaled, rel=1e-6)  # in float32


def test_none_rewards_stay_none(tmp_path, caplog) -> None:
    """A row with one None is the sum of the others; with all None it counts as a sample only."""

    def some(completions, **columns):
        return [None if text == "a1" or text[0] == "j" else 1.0 for text in completions]

    def others(completions, **columns):
        return [None if text[0] == "j" else 2.0 for text in completions]

    trainer = small(tmp_path, rewards=[some, others])
    rewards = rewards_of(trainer, ["a0", "a1", "a0", "j0"])
    nan = math.nan
    # p^ = 2/4, 1/4, 2/4
    assert_same(rewards, np.array([[2.0, 4.0], [nan, 8.0], [2.0, 4.0], [nan, nan]]))
    assert trainer._metrics["train"]["ips/weight_max"] == [4.0]


@pytest.mark.parametrize("method", [Split(), DPG()])
@pytest.mark.parametrize("rewards", [[1, 1, 0, 0], [1, 1, -1, 0], [1, 1, None, 0]])
def test_a_method_of_success_counts_right_completions_alone(tmp_path, method, rewards) -> None:
    """As in core, where p^ is not given: not those that are wrong, or that no function scored."""
    trainer = small(tmp_path, rewards=lambda **_: rewards, trainer_options={"method": method})
    rewards_of(trainer, ["a0", "a1", "a1", "a2"])
    scored = np.array([reward is not None for reward in rewards])
    group = Group(np.array([reward or 0.0 for reward in rewards]), np.array([0, 1, 1, 2]), scored)
    assert_same(trainer._advantages_N, method(group).advantages)


def test_a_right_completion_that_earns_less_than_0_is_wrong_for_split(tmp_path) -> None:
    trainer = small(
        tmp_path, rewards=lambda **_: [1, 1, -1, 0],
        trainer_options={"method": Split(), "success": -2.0, "negative_rewards": "keep"},
    )  # fmt: skip
    rewards_of(trainer, ["a0", "a1", "a1", "a2"])
    right = np.array([True, True, False, True])
    group = Group(np.array([1.0, 1, -1, 0]), np.array([0, 1, 1, 2]), success=right)
    assert_same(trainer._advantages_N, Split()(group).advantages)


def test_training_with_rows_that_nobody_scores(tmp_path) -> None:
    def reward(completions, **columns):
        return [None if text.strip()[:1] == "j" else 1.0 for text in completions]

    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, rewards=reward, max_steps=3, log_completions=True,
        trainer_options=ips(),
    )  # fmt: skip
    rows = toy.table(tmp_path)
    unscored = rows["completion"].str.startswith("j")
    assert unscored.any()
    assert rows["reward"].isna().equals(unscored)
    assert all(math.isfinite(entry["loss"]) for entry in toy.log(trainer)[:3])
    if Version("1.16") <= TRL:  # before, TRL takes None of all functions for 0
        assert (rows["advantage"][unscored] == 0).all()


def test_nobody_scores_anything(tmp_path) -> None:
    """Nothing to learn, and no number that is none."""
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, rewards=lambda completions, **_: [None] * len(completions),
        max_steps=2, trainer_options=ips(),
    )  # fmt: skip
    start = toy.model(toy.tokenizer()).state_dict()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, start[name]), name


def logged_outcome(completions: list[str], log_extra: Any, **columns: Any) -> list[float]:
    log_extra("answer", toy.answer(completions))
    return toy.valid(completions)


def own_outcome(completions: list[str], log_extra: Any, **columns: Any) -> list[float]:
    log_extra("outcome", toy.answer(completions))
    return toy.valid(completions)


def exact_arguments(
    prompts, completions, completion_ids, row, trainer_state, log_extra, log_metric
):
    """Takes what TRL gives to a reward function, by name."""
    assert len(prompts) == len(completions) == len(completion_ids) == len(row)
    log_metric("step", trainer_state.global_step)
    return toy.answer(completions)


async def answer_later(completions: list[str], **columns: Any) -> list[str | None]:
    await asyncio.sleep(0)
    return toy.answer(completions)


class Named:
    """A callable object."""

    __name__ = "named"

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return toy.valid(completions)


@pytest.mark.parametrize(
    ("rewards", "outcome_fn"),
    [
        (valid_later, toy.answer),
        (logged_outcome, "answer"),
        (own_outcome, "outcome"),
        (Named(), functools.partial(toy.answer)),
        (toy.valid, exact_arguments),
        (toy.valid, answer_later),
        (valid_later, answer_later),
    ],
    ids=[
        "async reward",
        "column",
        "column outcome",
        "objects",
        "all by name",
        "async outcome",
        "both async",
    ],
)
def test_other_ways_to_say_the_same(tmp_path, rewards, outcome_fn) -> None:
    """Losses and weights are those of a plain reward and a plain outcome function."""
    two = {"max_steps": 2, "log_completions": True}
    reference = toy.train(tmp_path / "a", IPSGRPOTrainer, trainer_options=ips(), **two)
    other = toy.train(
        tmp_path / "b", IPSGRPOTrainer, rewards=rewards,
        trainer_options={"outcome_fn": outcome_fn}, **two,
    )  # fmt: skip
    for name in ("outcome", "raw_reward", "ips_weight", "advantage"):
        assert list(toy.table(tmp_path / "a")[name]) == list(toy.table(tmp_path / "b")[name])
    weights = other.model.state_dict()
    for name, value in reference.model.state_dict().items():
        assert torch.equal(weights[name], value), name


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_outcomes_may_be_an_array(tmp_path, kind) -> None:
    trainer = small(tmp_path, trainer_options={"outcome_fn": lambda **_: kind([7, 7, 0, 7])})
    rewards = rewards_of(trainer, ["a0"] * 4)
    torch.testing.assert_close(rewards, torch.tensor([[4 / 3], [4 / 3], [4.0], [4 / 3]]))


def test_an_unscaled_penalty(tmp_path) -> None:
    """negative_rewards='keep': a total below 0 stays, and its row counts in the group."""

    def reward(completions, **columns):
        return [-1.0 if text == "a1" else 1.0 for text in completions]

    texts = ["a0", "a0", "a1", "a2"]
    keep = small(tmp_path, rewards=reward, trainer_options={"negative_rewards": "keep"})
    assert rewards_of(keep, texts)[:, 0].tolist() == [2.0, 2.0, -1.0, 4.0]
    with pytest.raises(InvalidInput, match=r"total reward -1\. .*negative_rewards='keep'"):
        rewards_of(small(tmp_path, rewards=reward), texts)
    off = small(tmp_path, rewards=reward, trainer_options={"alpha": 0.0})
    assert rewards_of(off, texts)[:, 0].tolist() == [1.0, 1.0, -1.0, 1.0]  # nothing is scaled


def test_a_penalty_inside_a_positive_total_is_scaled(tmp_path) -> None:
    """What counts is the total, with the weights of the reward functions."""

    def penalty(completions, **columns):
        return [-1.0] * len(completions)

    trainer = small(tmp_path, rewards=[toy.valid, penalty], reward_weights=[1.0, 0.5])
    rewards = rewards_of(trainer, ["a0", "a0", "a1", "a1"])
    assert rewards.tolist() == [[2.0, -2.0]] * 4  # totals of .5, twice as much each


@pytest.mark.parametrize(
    ("reward", "teaches", "then"),
    [
        (-1.0, r"total reward -1\. .*negative_rewards='keep'", [2.0, 2.0, -1.0, 4.0]),
        # Its group would have NaN for advantages, which TRL 1.16 takes for 0, without a word.
        (math.inf, "infinite reward.*Return finite", [2.0, 2.0, math.nan, 4.0]),
        (-math.inf, "infinite reward.*Return finite", [2.0, 2.0, math.nan, 4.0]),
    ],
)
@pytest.mark.parametrize("estimator", ["group", "replay"])
def test_what_cannot_be_scaled_is_refused_at_first_and_left_alone_later(
    tmp_path, caplog, reward, teaches, then, estimator
) -> None:
    """A run of days does not end by one penalty; one warning says what was done."""

    def rewards(completions, **columns):
        return [reward if text == "a1" else 1.0 for text in completions]

    history = PromptHistory(batches=1, log_probs=False)
    options = {"estimator": history if estimator == "replay" else "group"}
    trainer = small(tmp_path, rewards=rewards, trainer_options=options)
    texts = ["a0", "a0", "a1", "a2"]
    with pytest.raises(InvalidInput, match=teaches):
        rewards_of(trainer, texts)
    trainer.state.global_step = 1
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        for _ in range(2):
            assert_same(rewards_of(trainer, texts)[:, 0], np.array(then))
    (said,) = [record.getMessage() for record in caplog.records]
    assert ("left out" if math.isinf(reward) else "left unscaled") in said


def test_training_goes_on_after_an_infinite_reward(tmp_path) -> None:
    def reward(completions, trainer_state, **columns):
        infinite = trainer_state.global_step == 1
        return [math.inf if infinite and i == 3 else 1.0 for i in range(len(completions))]

    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, rewards=reward, max_steps=3, trainer_options=ips()
    )
    assert all(math.isfinite(entry["grad_norm"]) for entry in toy.log(trainer)[:3])
    assert all(weight.isfinite().all() for weight in trainer.model.parameters())
    assert [entry["reward"] for entry in toy.log(trainer)[:3]] == [1.0] * 3


# --- evaluation ---------------------------------------------------------------------------------


def test_evaluation_is_not_scaled(tmp_path) -> None:
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=1, eval_strategy="steps", eval_steps=1,
        per_device_eval_batch_size=8, num_generations_eval=4, log_completions=True,
        trainer_options=ips(eval_dataset=toy.dataset(4)),
    )  # fmt: skip
    (entry,) = [entry for entry in toy.log(trainer) if "eval_reward" in entry]
    assert 0 < entry["eval_reward"] <= 1  # with weights it would read up to 4
    assert 1 <= entry["eval_outcomes/effective"] <= entry["eval_outcomes/distinct"] <= 4
    assert not [name for name in entry if name.startswith("eval_ips/")]
    (step,) = [entry for entry in toy.log(trainer) if "reward" in entry]
    assert step["ips/reward"] > step["reward"]


# --- other ways to train ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "generations"),
    [
        ({"num_iterations": 2, "max_steps": 4}, 2),
        ({"gradient_accumulation_steps": 2, "max_steps": 2}, 2),
        ({"per_device_train_batch_size": 8, "steps_per_generation": 4, "max_steps": 8}, 2),
        ({"loss_type": "grpo", "max_steps": 2}, 2),
        ({"scale_rewards": "none", "max_steps": 2}, 2),
    ],
    ids=["num_iterations", "accumulation", "steps_per_generation", "loss_type", "scale_rewards"],
)
@pytest.mark.parametrize("estimator", ["group", "replay"])
def test_ways_to_train(tmp_path, settings, generations, estimator) -> None:
    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, log_completions=True, trainer_options=ips(estimator=estimator),
        **settings,
    )  # fmt: skip
    rows = toy.table(tmp_path)
    losses = [entry["loss"] for entry in toy.log(trainer) if "loss" in entry]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(losses) == settings["max_steps"]
    if estimator == "group":
        plain = settings.get("scale_rewards") == "none"
        assert_closed_form(rows, (lambda r: r - r.mean()) if plain else grpo)
        # Batches of a generation are logged at its last step; none is missing in a table of two.
        per_generation = len(rows) // generations
        assert per_generation % G == 0


def test_iterable_data(tmp_path) -> None:
    if Version("1.16") > TRL:
        pytest.skip(f"TRL {TRL} takes no iterable data sets")
    toy.train(
        tmp_path, IPSGRPOTrainer, data=toy.dataset(8).to_iterable_dataset(), max_steps=2,
        log_completions=True, trainer_options=ips(),
    )  # fmt: skip
    assert_closed_form(toy.table(tmp_path))


CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


@pytest.mark.parametrize("estimator", ["group", "replay"])
def test_conversations(tmp_path, estimator) -> None:
    """Prompts and completions are messages; the outcome function gets them as they are."""

    def content(completions):
        return [completion[0]["content"] for completion in completions]

    words = toy.tokenizer()
    words.chat_template = CHAT
    data = toy.dataset(8).map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    toy.train(
        tmp_path, IPSGRPOTrainer, words=words, data=data, max_steps=2, log_completions=True,
        rewards=lambda completions, **_: toy.valid(content(completions)),
        trainer_options={
            "outcome_fn": lambda completions, **_: toy.answer(content(completions)),
            "estimator": estimator,
        },
    )  # fmt: skip
    rows = toy.table(tmp_path)
    assert len(rows) == 2 * G
    assert sum(outcome is not None for outcome in rows["outcome"]) > G
    if estimator == "group":
        assert_closed_form(rows)


@pytest.mark.parametrize("estimator", ["group", "replay"])
def test_lora(tmp_path, estimator) -> None:
    from peft import LoraConfig

    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=2, log_completions=True,
        trainer_options=ips(
            estimator=estimator,
            peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        ),
    )  # fmt: skip
    weights = dict(trainer.model.named_parameters())
    grown = [v for name, v in weights.items() if "lora_B" in name]
    assert grown
    assert all(v.abs().max() > 0 for v in grown)  # they start at 0
    if estimator == "group":
        assert_closed_form(toy.table(tmp_path))


def test_a_reference_model(tmp_path) -> None:
    """beta > 0 loads the reference by its path, and adds the divergence to the loss only."""
    folder = toy.saved(tmp_path / "model")
    trainer = toy.train(
        tmp_path / "run", IPSGRPOTrainer, net=str(folder), max_steps=2, beta=0.1,
        log_completions=True, trainer_options=ips(),
    )  # fmt: skip
    assert toy.log(trainer)[0]["kl"] == pytest.approx(0, abs=1e-5)  # the same model, in float32
    assert toy.log(trainer)[1]["kl"] > 0
    assert_closed_form(toy.table(tmp_path / "run"))


def test_a_column_that_nobody_logs(tmp_path) -> None:
    trainer = small(tmp_path, trainer_options={"outcome_fn": "answer"})
    with pytest.raises(InvalidInput, match=r"no reward function has logged the column 'answer'"):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])


def test_a_column_that_two_reward_functions_log(tmp_path) -> None:
    rewards = [logged_outcome, functools.partial(logged_outcome)]
    trainer = small(tmp_path, rewards=rewards, trainer_options={"outcome_fn": "answer"})
    with pytest.raises(InvalidInput, match=r"'answer'.*8 values for 4 completions\. Let one"):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])


def test_groups_that_mix_prompts(tmp_path) -> None:
    """A history belongs to one prompt."""
    data = toy.dataset(8).map(lambda row: {"prompt": "name one" if row["row"] % 2 else "one more"})

    class Shuffled(IPSGRPOTrainer):
        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    with pytest.raises(InvalidInput, match="a group mixes prompts"):
        toy.train(
            tmp_path, Shuffled, data=data, num_generations=4, per_device_train_batch_size=8,
            trainer_options=ips(estimator="replay"),
        )  # fmt: skip


# --- the hook -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [GRPOTrainer, RLOOTrainer])
def test_the_hook_is_as_it_was(host) -> None:
    """If this fails, TRL has changed the one method that IPS hangs on: look at it, then adapt."""
    assert list(inspect.signature(host._calculate_rewards).parameters) == [
        "self", "inputs", "prompts", "completions", "completion_ids_list",
    ]  # fmt: skip


@pytest.mark.parametrize("host", [GRPOTrainer, RLOOTrainer])
def test_the_hook_returns_a_reward_per_completion_and_function(tmp_path, host) -> None:
    """[N, K], None as NaN, unweighted; tests/llm/test_distributed.py: N of all processes."""
    trainer = small(
        tmp_path, host, rewards=[toy.valid, lambda **_: [None, 2.0, 2.0, 2.0]],
        reward_weights=[3.0, 5.0],
    )  # fmt: skip
    rewards = rewards_of(trainer, ["a0", "j0", "a1", "j0"])
    assert_same(rewards, np.array([[1.0, math.nan], [0.0, 2.0], [1.0, 2.0], [0.0, 2.0]]))


def test_a_hook_that_does_not_gather_is_refused(tmp_path) -> None:
    class Local(GRPOTrainer):
        def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            return rewards[: len(prompts) // 2]

    class IPSLocal(IPSMixin, Local):
        pass

    trainer = small(tmp_path, IPSLocal)
    with pytest.raises(ConfigError, match="got 2 rewards for 4 completions of all processes"):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])


def test_a_mixin_behind_its_trainer_is_refused() -> None:
    class Behind(GRPOTrainer, IPSMixin):
        pass

    with pytest.raises(TypeError, match="outcome_fn"):
        Behind("model", **ips())


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [MaxRL(), MaxRL(advantage_clip=0.5)], ids=str)
def test_advantages_of_a_method_replace_those_of_trl(tmp_path, method) -> None:
    options = {"outcome_fn": None, "method": method}
    toy.train(tmp_path, IPSGRPOTrainer, max_steps=3, log_completions=True, trainer_options=options)
    rows = toy.table(tmp_path)
    assert "outcome" not in rows
    for _, part in rows.groupby("step"):
        raw = part["raw_reward"].to_numpy(float).reshape(1, -1)
        expected = method(Group(raw)).advantages[0]
        # written from float32
        np.testing.assert_allclose(part["advantage"].astype(float), expected, rtol=1e-6, atol=1e-7)
        assert len(set(part["advantage"])) > 1


RIVALS = {
    "split": {}, "dpg": {}, "dra": {}, "uniqueness": {}, "batch-penalty": {}, "ucb": {},
    "darling": {}, "gapo": {"known": 8}, "setpo": {}, "dqo": {}, "ucpo": {}, "unlikeliness": {},
    "mara": {"beta": 0.05},
    "rs": {}, "pass-at-k": {"size": 2}, "pkpo": {"size": 2}, "f-grpo": {},
}  # fmt: skip


def test_every_rival_is_tried() -> None:
    assert METHODS.keys() == {*RIVALS, "ips-grpo", "grpo", "maxrl"}


@pytest.mark.parametrize("name", RIVALS)
def test_every_method_learns_from_its_evidence(tmp_path, name) -> None:
    """Two groups of four by hand: what TRL is given is what the method says of what is known."""
    method = METHODS[name](**RIVALS[name])
    texts = ["a0", "a0", "j1", "j0", "a2", "j1", "a2", "a1"]
    trainer = small(
        tmp_path, per_device_train_batch_size=8, rewards=toy.valid, beta=0.05,
        net=str(toy.saved(tmp_path / "toy")),  # from where the reference is loaded, too
        trainer_options={"outcome_fn": toy.answer, "method": method},
    )  # fmt: skip
    with torch.no_grad():  # away from the reference
        weight = trainer.model.lm_head.weight
        weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    for before in ([0, 0, 0, 0, 0, 0, 0, 0], [2, 2, 0, 0, 2, 0, 2, 1]):
        rewards = rewards_of(trainer, texts)
        ids = np.array([[7, 7, -1, -1], [9, -1, 9, 8]])
        log_p = [log_prob(trainer, trainer.model, n) for n in range(8)]  # token n, see rewards_of
        log_ref = [log_prob(trainer, trainer.ref_model, n) for n in range(8)]
        known = Group(
            np.array([[1.0, 1, 0, 0], [1, 0, 1, 1]]), ids, lengths=np.ones((2, 4)),
            log_pf=np.array(log_p).reshape(2, 4), log_ref=np.array(log_ref).reshape(2, 4),
            visits=np.array(before).reshape(2, 4),
        )  # fmt: skip
        if isinstance(method, RewardMethod):
            expected = method.rewards(known).reshape(-1)
            found = rewards[:, 0].numpy()
        else:
            expected, found = method(known).advantages.reshape(-1), trainer._advantages_N
        # float32 log-probabilities, padded otherwise
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert np.ptp(found) > 0


def log_prob(trainer: Any, model: Any, token: int) -> float:
    """The log-probability of a completion of one token, alone and not padded."""
    start = trainer.processing_class("name one", return_tensors="pt")
    with torch.no_grad():
        logits = model(**start).logits[0, -1]
    return (logits / trainer.temperature).log_softmax(-1)[token].item()


def test_a_reference_is_needed_to_undo_its_kl(tmp_path) -> None:
    with pytest.raises(ConfigError, match="MARA.*Set beta"):
        small(tmp_path, trainer_options={"outcome_fn": toy.answer, "method": MARA()})


def test_similarities_are_those_of_a_function(tmp_path) -> None:
    def half(keys: list[str]) -> np.ndarray:
        return (1 + np.eye(len(keys))) / 2

    options = {"outcome_fn": toy.answer, "similarity_fn": half}
    trainer = small(tmp_path, trainer_options=options | {"method": DRA()})
    # a0 twice and a1: 1 + 1 + 1/2, and 1 + 1/2 + 1/2; j0 is like nothing and earns nothing.
    found = rewards_of(trainer, ["a0", "a0", "a1", "j0"])[:, 0]
    torch.testing.assert_close(found, torch.tensor([1 / 2.5, 1 / 2.5, 1 / 2, 0]))
    with pytest.raises(ConfigError, match="similarity_fn has no effect"):
        small(tmp_path, trainer_options=options | {"method": MaxRL()})


@dataclass(frozen=True)
class Silent(Method):
    def advantages(self, group: Group) -> GroupAdvantage:
        return GroupAdvantage(np.zeros(group.rewards.shape), np.ones(group.rewards.shape[:1], bool))


def test_what_is_learned_from_is_what_the_method_says(tmp_path) -> None:
    """Without an advantage nothing moves; TRL's own would have moved it."""
    still, moved = (
        toy.make(tmp_path / name, IPSGRPOTrainer, max_steps=2, trainer_options=ips(method=method))
        for name, method in (("still", Silent()), ("moved", GRPO()))
    )
    for trainer, stays in ((still, True), (moved, False)):
        before = trainer.model.lm_head.weight.detach().clone()
        trainer.train()
        assert torch.equal(before, trainer.model.lm_head.weight) is stays


def test_a_bound_of_the_advantage_holds_for_methods_that_change_rewards(tmp_path) -> None:
    trainer = small(tmp_path, trainer_options={"method": IPS(advantage_clip=0.25)})
    inputs = [{"prompt": "name one"} for _ in range(trainer.args.per_device_train_batch_size)]
    advantages = trainer._generate_and_score_completions(inputs)["advantages"]
    assert advantages.abs().max() == 0.25
    assert list(trainer._logs["advantages"]) == advantages.tolist()


@pytest.mark.parametrize(
    ("rewards", "texts", "says"),
    [
        # 1.2 for a0 and a1, .2 for j0 and j1: .4 of 2.8
        (["valid", "formatted"], ["a0", "a1", "j0", "j1"], r"0\.2 of 1\.2\) have 14% of .*"
         r"success=\['valid'\], or success=0\.7 .*--success-above 0\.7.*success=0\."),
        (["partial"], ["a0", "a0", "a1", "a1"], r"0\.5 of 1\) have 33% of .*right: success=0\.75"),
    ],
)  # fmt: skip
def test_rewards_of_wrong_answers_are_warned_of(tmp_path, caplog, rewards, texts, says) -> None:
    functions = {"valid": toy.valid, "formatted": formatted, "partial": partial_credit}
    for success, said in ((None, 1), (0.0, 0)):
        caplog.clear()
        trainer = small(
            tmp_path, rewards=[functions[name] for name in rewards],
            trainer_options={"outcome_fn": everything, "success": success},
        )  # fmt: skip
        with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
            for _ in range(2):
                rewards_of(trainer, texts)
        messages = [r.getMessage() for r in caplog.records if "target" in r.getMessage()]
        assert len(messages) == said
        assert all(re.search(says, message) for message in messages)


def test_the_first_right_answer_brings_the_warning(tmp_path, caplog) -> None:
    """Until it comes nothing says that the others are wrong."""
    trainer = small(
        tmp_path, rewards=[toy.valid, formatted], trainer_options={"outcome_fn": everything}
    )
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        for _ in range(2):
            rewards_of(trainer, ["j0", "j0", "j1", "j1"])
        assert not caplog.records
        rewards_of(trainer, ["j0", "j0", "j1", "a0"])  # the third, when nothing else is looked at
    assert ["25% of the target" in record.getMessage() for record in caplog.records] == [True]


def test_right_answers_that_stay_rare_bring_the_warning(tmp_path, caplog) -> None:
    """The first comes beside zeros, and the next in a generation in which nothing else is done."""
    trainer = small(
        tmp_path, rewards=[toy.valid, formatted_if_j], trainer_options={"outcome_fn": everything}
    )
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(trainer, ["b0", "b0", "b1", "a0"])
        for _ in range(3):
            rewards_of(trainer, ["j0", "j0", "j1", "j1"])
        assert not caplog.records
        rewards_of(trainer, ["j0", "j0", "j1", "a0"])
    assert ["of the target" in record.getMessage() for record in caplog.records] == [True]


def formatted_if_j(completions: list[str], **columns: Any) -> list[float]:
    return [0.2 * text.startswith("j") for text in completions]


def test_what_is_said_to_be_right_brings_no_alarm(tmp_path, caplog) -> None:
    """Wrong answers earn something, and are not scaled, as they should."""
    trainer = small(
        tmp_path, rewards=[toy.valid, formatted],
        trainer_options={"outcome_fn": everything, "success": ["valid"]},
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        for _ in range(8):
            rewards_of(trainer, ["j0", "j0", "j1", "a0"])
    assert not caplog.records


def test_success_that_nothing_reaches_is_told(tmp_path, caplog) -> None:
    trainer = small(tmp_path, trainer_options={"outcome_fn": everything, "success": 5.0})
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        for generation in range(1, 17):
            rewards_of(trainer, ["a0", "a0", "a1", "j0"])
            assert len(caplog.records) == (generation >= 8)
    assert "none of the completions of 8 generations is right" in caplog.text
    assert "the largest total reward is 1." in caplog.text


def test_binary_rewards_are_not_warned_of(tmp_path, caplog) -> None:
    trainer = small(tmp_path, trainer_options={"outcome_fn": everything})
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])
    assert not caplog.records


def partial_credit(completions: list[str], **columns: Any) -> list[float]:
    return [1.0 if text == "a0" else 0.5 for text in completions]


def formatted(completions: list[str], **columns: Any) -> list[float]:
    """A reward that every answer earns."""
    return [0.2] * len(completions)


@pytest.mark.parametrize("success", [0.5, ["valid"], "valid"], ids=str)
def test_only_what_is_right_is_scaled(tmp_path, success) -> None:
    """A wrong answer keeps its reward, and is not counted."""
    trainer = toy.make(
        tmp_path,
        IPSGRPOTrainer,
        rewards=[toy.valid, formatted],
        trainer_options={"outcome_fn": everything, "success": success},
    )
    texts = ["a0", "a0", "a1", "j0"] * 4
    prompts = ["name one"] * len(texts)
    trainer.model.train()
    inputs = [{"prompt": prompt} for prompt in prompts]
    scaled = trainer._calculate_rewards(inputs, prompts, texts, [[0]] * len(texts))
    # 8 of 16 are right with a0, and 4 with a1: 1.2 / (8/16) and 1.2 / (4/16).
    rewards = scaled.sum(dim=1).tolist()
    assert rewards[:4] == [pytest.approx(value) for value in (2.4, 2.4, 4.8, 0.2)]


def test_a_function_that_gives_no_reward_does_not_say_what_is_right(tmp_path) -> None:
    """As where each task has its own function, which returns None for the others."""

    def even(completions, **columns):
        return [float(int(t[1]) % 2 == 0) if t[0] == "a" else None for t in completions]

    def of_j(completions, **columns):
        return [float(t == "j1") if t[0] == "j" else None for t in completions]

    trainer = small(
        tmp_path, rewards=[even, of_j, formatted],
        trainer_options={"outcome_fn": everything, "success": ["even", "of_j"]},
    )  # fmt: skip
    totals = rewards_of(trainer, ["a0", "a1", "j0", "j1"]).nansum(dim=1).tolist()
    assert totals == [pytest.approx(value) for value in (4.8, 0.2, 0.2, 4.8)]


def test_a_penalty_later_does_not_end_a_method_that_cannot_use_it(tmp_path, caplog) -> None:
    trainer = small(
        tmp_path, rewards=lambda **_: [1.0, 0.0, -1.0, 0.0], trainer_options={"method": MaxRL()}
    )
    with pytest.raises(InvalidInput, match="rewards have negative values"):
        rewards_of(trainer, ["a0", "j0", "j1", "j2"])
    trainer.state.global_step = 1
    with caplog.at_level(logging.WARNING, logger="ipsrl.llm"):
        for _ in range(2):
            rewards_of(trainer, ["a0", "j0", "j1", "j2"])
            assert not trainer._advantages_N.any()
    (record,) = caplog.records
    assert record.getMessage().endswith("Such batches are left out.")


def everything(completions: list[str], **columns: Any) -> list[str]:
    """Wrong answers are outcomes too."""
    return [text.strip() for text in completions]
