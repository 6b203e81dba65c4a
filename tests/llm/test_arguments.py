"""Arguments that do not fit together are refused before any work."""

from __future__ import annotations

import json

import pytest
from llm_task import SHORT, task

from ipsrl.errors import ConfigError
from ipsrl.llm.config import Config
from ipsrl.llm.training import train


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trl": {"num_generations": 3}}, r"trl: .*\(8\) must be divisible by num_generations"),
        ({"trl": {"num_generations": 1}}, "trl: .*at least 2 generations"),
        ({"trl": {"eval_strategy": "sometimes"}}, "trl.*sometimes"),
        ({"trl": {"num_iterations": 2, "save_steps": 3}}, "save_steps = 3.*multiple of 2.*resumed"),
        ({"trl": {"steps_per_generation": 4}}, "save_steps = 2.*multiple of 4"),
        ({"trl": {"steps_per_generation": 4, "save_steps": 0.25}}, "save_steps = 0.25.*of 4"),
        ({"trl": {"multi_objective_aggregation": "normalize_then_sum"}}, "sum_then_normalize"),
        ({"trl": {"eval_strategy": "steps", "eval_steps": 2}}, "eval_dataset"),
        ({"trl": {"optim": "adamw"}}, "adamw is not a valid"),
        ({"trl": {"per_device_train_batch_size": 32}},
         "has 3 prompts, but one generation takes 4.*nothing would be trained"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_do_not_fit_together_are_refused(options, message, assert_refused) -> None:
    assert_refused(options, message)


def test_steps_between_checkpoints_fit_the_generations_if_not_given(home, tmp_path) -> None:
    options = task(home, trl={"num_iterations": 3, "save_total_limit": 2}).model_dump()
    del options["trl"]["save_steps"]
    train(Config(**options), tmp_path / "run")
    state = json.loads((tmp_path / "run/trainer/checkpoint-6/trainer_state.json").read_bytes())
    assert state["save_steps"] == 51  # the first multiple of 3 from 50 on


def test_an_evaluation_that_never_comes_is_refused(home, tmp_path) -> None:
    with pytest.raises(ConfigError, match="eval_dataset is never used. Set trl.eval_strategy"):
        train(task(home, eval_dataset=str(home / "prompts.jsonl")), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_undoes_scaling_is_nothing_to_other_methods(home, tmp_path) -> None:
    trl = {"multi_objective_aggregation": "normalize_then_sum", **SHORT}
    train(task(home, method="grpo", trl=trl), tmp_path / "run")
