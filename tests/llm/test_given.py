"""What a trainer with IPS is given is checked before any work."""

from __future__ import annotations

import math

import llm_toy as toy
import numpy as np
import pytest
import trl
from llm_toy import ips, rewards_of, small
from trl import GRPOTrainer

from ipsrl import GRPO, IPS, MaxRL
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.llm import IPSGRPOTrainer, IPSMixin, IPSRLOOTrainer


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"outcome_fn": 3}, InvalidInput, "outcome_fn is 3.*one key per completion"),
        ({"estimator": "kernel"}, ConfigError, "Kernel needs similarity_fn"),
        ({"similarity_fn": np.equal}, ConfigError, "no effect with the estimator 'group'"),
        (
            {"estimator": "kernel", "similarity_fn": 3},
            ConfigError,
            "similarity_fn is 3. Pass a function",
        ),
        ({"eps": 2.0}, InvalidInput, "eps is 2.0"),
        ({"alpha": -1.0}, InvalidInput, "alpha is -1.0"),
        ({"eps": "0.1"}, ConfigError, "eps is '0.1'. Pass a number"),
        ({"alpha": None}, ConfigError, "alpha is None. Pass a number"),
        ({"estimator": "grup"}, ConfigError, "estimator is 'grup'"),
        ({"negative_rewards": "drop"}, ConfigError, "negative_rewards is 'drop'"),
    ],
)
def test_wrong_options(options, error, message) -> None:
    """Refused before any work: there is not even a model."""
    with pytest.raises(error, match=message):
        IPSGRPOTrainer(**{"outcome_fn": toy.answer, **options})


def test_an_outcome_must_be_named() -> None:
    with pytest.raises(InvalidInput, match="outcome_fn is None"):
        IPSGRPOTrainer("model")


def test_wrong_configurations(tmp_path) -> None:
    apart = toy.config(tmp_path, multi_objective_aggregation="normalize_then_sum")
    with pytest.raises(ConfigError, match="normalize_then_sum.*Use 'sum_then_normalize'"):
        IPSGRPOTrainer(**ips(args=apart))
    with pytest.raises(ConfigError, match="normalize_then_sum"):
        IPSGRPOTrainer("model", toy.valid, apart, **ips())
    clip = toy.config(tmp_path, trl.RLOOConfig, reward_clip_range=(0.0, 1.0))
    with pytest.raises(ConfigError, match="reward_clip_range would cut the scaled rewards"):
        IPSRLOOTrainer(**ips(args=clip))
    # Without scaling, there is nothing to be undone.
    toy.make(
        tmp_path, IPSGRPOTrainer, trainer_options=ips(alpha=0.0),
        multi_objective_aggregation="normalize_then_sum",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("a0 a", "keys returned a str for 4 completions"),
        (["a0"] * 3, "keys returned 3 outcomes for 4 completions"),
        (iter(["a0"] * 4), "keys returned a list_iterator for 4 completions"),
        (np.zeros((4, 1), int), r"keys returned a ndarray of shape \[4, 1\] for 4 completions"),
        (None, "keys returned a NoneType for 4 completions"),
        ([0.5] * 4, "outcome key has type 'float'"),
        ([["a"]] * 4, "outcome key has type 'list'"),
    ],
    ids=["text", "too few", "iterator", "array", "nothing", "floats", "lists"],
)
def test_wrong_outcomes(tmp_path, keys, message) -> None:
    def returns_keys(**_):
        return keys

    trainer = small(tmp_path, trainer_options={"outcome_fn": returns_keys})
    with pytest.raises(InvalidInput, match=message):
        rewards_of(trainer, ["a0", "a0", "a1", "j0"])


def test_a_hook_with_another_signature_is_refused() -> None:
    class Newer(GRPOTrainer):
        def _calculate_rewards(self, inputs, rollouts):
            raise NotImplementedError

    class IPSNewer(IPSMixin, Newer):
        pass

    with pytest.raises(
        ConfigError, match=r"_calculate_rewards of IPSNewer takes \['inputs', 'rollouts'\], but IPS"
    ):
        IPSNewer("model", **ips())


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        ("a2po", "A2POTrainer", "one completion per prompt"),
        ("online_dpo", "OnlineDPOTrainer", "which of two completions is better"),
        ("async_grpo", "AsyncGRPOTrainer", "in its rollout worker"),
    ],
)
def test_a_trainer_without_groups_is_refused_for_its_own_reason(module, name, why) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        found = pytest.importorskip(
            f"trl.experimental.{module}", reason="this TRL has none, or it needs more packages",
            exc_type=ImportError,
        )  # fmt: skip
    trainer = type("Mine", (IPSMixin, getattr(found, name)), {})
    with pytest.raises(ConfigError, match=f"Mine cannot be scaled: .*{why}.*Train with"):
        trainer("model", **ips())


def test_a_trainer_without_the_hook_is_refused() -> None:
    with pytest.raises(ConfigError, match="Mine has no _calculate_rewards"):
        type("Mine", (IPSMixin, trl.SFTTrainer), {})("model", **ips())


@pytest.mark.parametrize("success", ["other", [], True, {"a": 1}, math.nan, math.inf], ids=str)
def test_success_must_name_reward_functions(tmp_path, success) -> None:
    with pytest.raises(ConfigError, match=r"success is .*reward functions.*valid"):
        small(tmp_path, trainer_options={"success": success})


@pytest.mark.parametrize(
    ("options", "teaches"),
    [
        ({"method": "maxrl"}, "Pass an instance"),
        ({"method": IPS(), "eps": 0.2}, "Give them to the method"),
        ({"method": IPS(scale="none")}, "TRL's scale_rewards"),
        ({"method": MaxRL(), "success": 0.5}, "success has no effect with MaxRL"),
        ({"method": GRPO(), "estimator": "replay"}, "estimator has no effect with GRPO"),
        ({"method": GRPO(), "negative_rewards": "keep"}, "negative_rewards has no effect"),
        ({"estimator": "exact"}, "'leave-one-out'.*knows nothing of a group but outcomes"),
    ],
    ids=str,
)
def test_methods_that_cannot_be(tmp_path, options, teaches) -> None:
    with pytest.raises(ConfigError, match=teaches):
        small(tmp_path, trainer_options=options)


def test_rloo_keeps_its_penalty(tmp_path) -> None:
    """It is part of the reward there, which a method that computes advantages does not see."""
    with pytest.raises(ConfigError, match=r"beta = 0\.05.*MaxRL"):
        small(tmp_path, IPSRLOOTrainer, beta=0.05, trainer_options={"method": MaxRL()})
