"""Wrong configurations are refused, and equal ones have equal digests."""

from __future__ import annotations

import pytest
from llm_task import task

from ipsrl.errors import ConfigError
from ipsrl.llm.config import Config


def test_equal_configurations_have_equal_digests(home) -> None:
    one = task(home, trl={"top_k": 3, "top_p": 0.5})
    other = Config(**{**one.model_dump(), "trl": dict(reversed(one.trl.items()))})
    assert one == other
    assert one.digest() == other.digest()


def test_a_configuration_comes_back_from_its_file(home, tmp_path) -> None:
    tables = {"lr_scheduler_kwargs": {"a": [1, 2.5, "b"], "c": {"d": True}}, "run_name": "ä\x7f\n"}
    config = task(home, trl={**tables, "learning_rate": 1e-05})
    (tmp_path / "config.toml").write_text(config.dump())
    assert Config.load(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outcome": ""}, 'ips-grpo needs to know what a completion means.*outcome = "file.py'),
        ({"outcome": "", "method": "grpo", "stop_below": 2.0}, "stop_below needs to know"),
        ({"method": "grpo", "eps": 0.1}, "eps has no effect with method grpo, only with ips-grpo"),
        ({"method": "grpo", "alpha": 0.5}, "alpha has no effect"),
        ({"method": "flowrl", "estimator": "replay"}, "estimator has no effect"),
        ({"method": "grpo", "negative_rewards": "keep"}, "negative_rewards has no effect"),
        ({"reward": []}, "reward = "),
        ({"success": ["a"], "success_above": 0.5}, "success has no effect with success_above"),
        ({"success": ["a"], "method": "grpo"}, "success has no effect with method grpo"),
        ({"estimator": "kernel"}, "estimator kernel and similarity go together"),
        ({"similarity": "a:b"}, "estimator kernel and similarity go together"),
        ({"flowrl_beta": 3.0}, "flowrl_beta has no effect with method ips-grpo, only with flowrl"),
        ({"flowrl_log_z": "table"}, "flowrl_log_z has no effect"),
        ({"load_in_4bit": True}, "freezes the weights, so set lora_rank"),
        ({"stop_below": 0.5}, "stop_below.*never stop.*1.5"),
        ({"eval_split": "test"}, "eval_split has no effect without eval_dataset"),
        ({"method": "ppo"}, "method = 'ppo'"),
        ({"eps": 1.5}, "eps is 1.5"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": float("nan")}, "alpha = nan"),
        ({"seed": -1}, "seed = -1"),
        ({"lora_rank": -1}, "lora_rank = -1"),
        ({"lora_dropout": 1.0}, "lora_dropout = 1"),
        ({"flowrl_beta": 0.0, "method": "flowrl"}, "flowrl_beta = 0"),
        ({"outcomes": "x"}, "unknown key 'outcomes'; the nearest key is 'outcome'"),
        ({"trl": {"output_dir": "x"}}, "trl.output_dir is set by ipsrl itself. Use --out and seed"),
        ({"trl": {"seed": 3}}, "trl.seed is set by ipsrl itself"),
        ({"trl": {"data_seed": 3}}, "trl.data_seed is set by ipsrl itself"),
        ({"trl": {"run_name": None}}, "trl.*without a value"),
        ({"trl": {"learning_rate": float("nan")}}, "trl.*learning_rate.*finite"),
        (
            {"trl": {"model_init_kwargs": 3}, "lora_rank": 2, "load_in_4bit": True},
            "trl.model_init_kwargs = 3",
        ),
        ({"trl": {"save_only_model": True}}, "save_only_model.*--resume"),
        ({"trl": {"beta": 0.1}, "method": "flowrl"}, "trl.beta.*flowrl_beta"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(options, message, home) -> None:
    with pytest.raises(ConfigError, match=message):
        task(home, **options)
