"""Fields that TRL cannot train with are refused before any work."""

from __future__ import annotations

import dataclasses

import pytest
from llm_task import TRL, task
from trl import GRPOConfig

from ipsrl.errors import ConfigError
from ipsrl.llm.config import Config
from ipsrl.llm.training import train


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trl": {"learning_rat": 1.0}}, "no key 'learning_rat'.*nearest is 'learning_rate'"),
        ({"trl": {"num_generation": 8}}, "nearest is 'num_generations'"),
        ({"trl": {"max_steps": "many"}}, "trl.max_steps = 'many'.*integer"),
        *(
            ({"trl": {"report_to": report}}, f"report_to.*needs '{named}'.*pip install")
            for report, named in (
                ("wandb", "wandb"), ("trackio", "trackio"),
                (["none", "mlflow"], "mlflow"), ("comet_ml", "comet_ml"),
            )
        ),
        ({"trl": {"report_to": "tensorbord"}}, "unknown; the nearest is 'tensorboard'"),
        ({"trl": {"report_to": ""}}, "unknown"),
        ({"trl": {"use_vllm": True}}, r'use_vllm.*needs.*pip install "trl\[vllm\]"'),
        ({"trl": {"use_liger_kernel": True}}, 'needs.*pip install "liger-kernel"'),
        ({"trl": {"deepspeed": "ds.json"}}, 'needs.*pip install "deepspeed"'),
        ({"trl": {"optim": "lomo"}}, "lomo.*pip install"),
        ({"trl": {"optim": "galore_adamw"}}, "(?i)galore.*pip install"),
        ({"trl": {"optim": "grokadamw"}}, "grokadamw.*pip install"),
        ({"trl": {"optim": "adamw_torch_8bit"}}, "torchao.*pip install"),
        ({"trl": {"optim_args": "nesterov"}}, "optimiser or its learning rates cannot begin"),
        ({"trl": {"learning_rate": -1.0}}, "trl.learning_rate = -1.0.*greater than or equal to 0"),
        ({"trl": {"adam_beta1": 1.0}}, "trl.adam_beta1 = 1.0.*less than 1"),
        ({"trl": {"lr_scheduler_type": "warmup_stable_decay"}}, "num_decay_steps"),
        ({"trl": {"lr_scheduler_kwargs": {"no_such": 1}}}, "no_such"),
        (
            {"trl": {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"no_such": 1}}},
            "lr_scheduler_kwargs",
        ),
        ({"trl": {"temperature": 0.0}}, "trl.temperature = 0.0.*greater than 0"),
        ({"trl": {"gradient_accumulation_steps": 0}}, "gradient_accumulation_steps = 0"),
        ({"trl": {"loss_type": "gpro"}}, "trl.loss_type = 'gpro'.*does not know it"),
        ({"trl": {"scale_rewards": "groups"}}, "trl.scale_rewards = 'groups'"),
        ({"trl": {"log_level": "loud"}}, "trl.log_level = 'loud'"),
        ({"trl": {"max_steps": 0}}, "trl.max_steps = 0 trains nothing"),
    ],
    ids=str,
)  # fmt: skip
def test_fields_that_trl_cannot_train_with_are_refused(options, message, assert_refused) -> None:
    assert_refused(options, message)


KEYS = sorted(field.name for field in dataclasses.fields(GRPOConfig) if field.init)


def test_every_misspelt_key_is_refused_and_every_value_of_a_wrong_kind(home, tmp_path) -> None:
    """Each of TRL's and of ours, once with a letter too many and once with a list of lists."""
    good = task(home).model_dump()
    values = {(*place, name): value for place, keys in (((), Config.model_fields), (("trl",), KEYS))
              for key in keys for name, value in ((f"{key}x", 1), (key, [[1.5]]))}  # fmt: skip
    for place, value in values.items():
        changed = {**good, "trl": dict(TRL)}
        (changed["trl"] if len(place) == 2 else changed)[place[-1]] = value
        with pytest.raises(ConfigError, match=place[-1]):
            train(Config(**changed), tmp_path / "run")
    assert len(values) > 200
    assert list(tmp_path.iterdir()) == []
