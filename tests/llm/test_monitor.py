"""The monitor in real runs: what it logs, when it stops, and that it changes nothing else."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from helpers import FLOAT32_DRIFT, HANGS
from packaging.version import Version
from tiny_grpo import outcome, reward, train

from ipsrl.errors import InvalidInput
from ipsrl.llm import IPSGRPOTrainer
from ipsrl.llm.collapse import diagnose_completions
from ipsrl.llm.completions import outcome_keys, read_completions
from ipsrl.llm.monitor import CollapseMonitor

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")

NAMES = ["distinct", "effective", "inert_groups", "single_outcome_groups", "no_outcome"]


def logged(trainer: Any, name: str = "outcomes/effective") -> list[Any]:
    """Values of the logs of training that have one."""
    return [log[name] for log in trainer.state.log_history if "loss" in log and name in log]


def test_watching_changes_nothing(tmp_path: Path) -> None:
    """Losses, rewards and weights are equal bit for bit; the metrics come in addition."""
    monitor = CollapseMonitor(outcome)
    plain = train(tmp_path / "plain", reward_funcs=[reward], max_steps=15)
    watched = train(
        tmp_path / "watched",
        reward_funcs=[monitor.watch(reward)],
        callbacks=[monitor],
        max_steps=15,
    )
    names = ["loss", "grad_norm", "reward", "rewards/reward/mean", "rewards/reward/std"]
    for name in names:
        assert logged(watched, name) == logged(plain, name)
        assert len(logged(plain, name)) == 15
    for ours, theirs in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for name in NAMES:
        assert len(logged(watched, f"outcomes/{name}")) == 15
    assert logged(plain) == []


def test_it_stops_a_run_that_collapses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = CollapseMonitor(outcome, stop_below=1.5, patience=4)
    trainer = train(
        tmp_path, reward_funcs=[monitor.watch(reward)], callbacks=[monitor], max_steps=100
    )
    effective = logged(trainer)
    stopped = trainer.state.global_step
    assert stopped == len(effective) < 50
    assert max(effective[-4:]) < 1.5 <= effective[-5]  # at the first chance
    runs = [max(effective[i : i + 4]) for i in range(len(effective) - 4)]
    assert min(runs) >= 1.5
    printed = [line for line in capsys.readouterr().out.splitlines() if "CollapseMonitor" in line]
    assert len(printed) == 1
    assert f"stops the run at step {stopped}" in printed[0]
    assert f"below 1.5 in 4 logs in a row since step {stopped - 3}" in printed[0]
    assert f"before step {stopped - 3} with IPSGRPOTrainer" in printed[0]


def test_one_log_above_starts_the_count_anew(tmp_path: Path) -> None:
    """At a learning rate of 0 the effective outcomes go up and down around their median."""

    def run(name: str, **options: Any) -> Any:
        monitor = CollapseMonitor(outcome, **options)
        return train(
            tmp_path / name,
            reward_funcs=[monitor.watch(reward)],
            callbacks=[monitor],
            learning_rate=0.0,
            max_steps=30,
        )

    effective = logged(run("whole"))
    stop_below = sorted(effective)[15]
    trainer = run("stopped", stop_below=stop_below, patience=3)
    below = [value < stop_below for value in effective]
    first = next(step for step in range(3, 31) if all(below[step - 3 : step]))
    assert sum(below[:first]) > 3  # else a count that never starts anew would do
    assert trainer.state.global_step == first


def test_it_lets_a_run_of_ours_go_on(tmp_path: Path) -> None:
    """IPS measures by itself, and does not collapse; with exponent 0 it is GRPO, and does."""
    settings = {"reward_funcs": [reward], "trainer": IPSGRPOTrainer, "max_steps": 40}
    kept = train(
        tmp_path / "ips",
        callbacks=[CollapseMonitor(stop_below=1.5)],
        trainer_options={"outcome_fn": outcome},
        **settings,
    )
    assert kept.state.global_step == 40
    assert min(logged(kept)) > 1.5
    collapsed = train(
        tmp_path / "grpo",
        callbacks=[CollapseMonitor(stop_below=1.5)],
        trainer_options={"outcome_fn": outcome, "alpha": 0.0},
        **settings,
    )
    assert collapsed.state.global_step < 40


async def later(completions: list[str], **columns: Any) -> list[float]:
    return reward(completions)


class Rewarder:
    scale = 1.0

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [self.scale * value for value in reward(completions)]


class LaterRewarder(Rewarder):
    async def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return reward(completions)


@pytest.mark.parametrize(
    ("reward_fn", "name"),
    [
        (later, "later"),
        (Rewarder(), "Rewarder"),
        (LaterRewarder(), "LaterRewarder"),
        (functools.partial(later, bonus=1), "later"),
    ],
)
def test_every_kind_of_reward_function_keeps_its_name_and_rewards(
    tmp_path: Path, reward_fn: Any, name: str
) -> None:
    if not hasattr(reward_fn, "__name__") and Version(trl.__version__) < Version("1.16"):
        pytest.skip(f"TRL {trl.__version__} takes plain functions only")
    monitor = CollapseMonitor(outcome)
    plain = train(tmp_path / "plain", reward_funcs=[reward_fn], max_steps=3)
    watched = train(
        tmp_path / "watched",
        reward_funcs=[monitor.watch(reward_fn)],
        callbacks=[monitor],
        max_steps=3,
    )
    assert logged(watched, f"rewards/{name}/mean") == logged(plain, f"rewards/{name}/mean")
    assert logged(watched, "loss") == logged(plain, "loss")
    assert len(logged(watched)) == 3


def test_steps_that_reuse_completions_log_nothing(tmp_path: Path) -> None:
    """Completions for two steps at a time: every other log has no outcomes, and does not count."""
    monitor = CollapseMonitor(outcome, stop_below=8.5, patience=3)  # there are 8: always below
    trainer = train(
        tmp_path,
        reward_funcs=[monitor.watch(reward)],
        callbacks=[monitor],
        per_device_train_batch_size=16,
        steps_per_generation=2,
        max_steps=10,
    )
    assert [step for step in range(1, 6) if step % 2] == [
        log["step"] for log in trainer.state.log_history if "outcomes/effective" in log
    ]
    assert trainer.state.global_step == 5  # measured at 1, 3 and 5


def test_accumulation_measures_whole_groups(tmp_path: Path) -> None:
    monitor = CollapseMonitor(outcome)
    trainer = train(
        tmp_path,
        reward_funcs=[monitor.watch(reward)],
        callbacks=[monitor],
        per_device_train_batch_size=4,
        gradient_accumulation_steps=8,
        max_steps=3,
        log_completions=True,
        num_completions_to_print=0,
    )
    rows = read_completions([tmp_path])
    d = diagnose_completions(rows, outcome_keys(rows, outcome), group_size=16)
    assert logged(trainer) == pytest.approx(d.effective, rel=FLOAT32_DRIFT)


def test_evaluation_has_groups_and_metrics_of_its_own(tmp_path: Path) -> None:
    monitor = CollapseMonitor(outcome, stop_below=4.5)  # 4 completions are always below
    trainer = train(
        tmp_path,
        reward_funcs=[monitor.watch(reward)],
        callbacks=[monitor],
        max_steps=4,
        learning_rate=0.0,
        num_generations_eval=4,
        per_device_eval_batch_size=8,
        eval_strategy="steps",
        eval_steps=1,
    )
    assert trainer.state.global_step == 4  # evaluation does not stop a run
    evaluated = [
        log["eval_outcomes/distinct"]
        for log in trainer.state.log_history
        if "eval_outcomes/distinct" in log
    ]
    assert len(evaluated) == 4
    assert max(evaluated) <= 4 < min(logged(trainer, "outcomes/distinct"))


def test_a_trainer_without_outcomes_is_refused_at_the_first_log(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"logged no 'outcomes/effective'.*monitor.watch"):
        train(tmp_path, reward_funcs=[reward], callbacks=[CollapseMonitor(outcome)], max_steps=9)


def test_a_watched_function_needs_the_callback(tmp_path: Path) -> None:
    watched = CollapseMonitor(outcome).watch(reward)
    with pytest.raises(InvalidInput, match="32 completions.*groups of None.*in callbacks too"):
        train(tmp_path, reward_funcs=[watched], max_steps=1)


def test_another_group_size_than_the_trainers_is_refused(tmp_path: Path) -> None:
    monitor = CollapseMonitor(outcome, num_generations=8)
    with pytest.raises(InvalidInput, match="num_generations is 8, but 16 for the trainer"):
        train(tmp_path, reward_funcs=[monitor.watch(reward)], callbacks=[monitor], max_steps=1)


def test_outside_of_a_trainer_the_function_is_what_it_was() -> None:
    watched = CollapseMonitor(outcome).watch(reward)
    assert watched(completions=["a0", "x1"]) == reward(["a0", "x1"]) == [1.0, 0.0]
    assert watched.__name__ == "reward"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outcome_fn": "mod:fn"}, "'mod:fn', which cannot be called"),
        ({"stop_below": 1.0}, "stop_below is 1.0.*more than 1"),
        ({"stop_below": float("nan")}, "stop_below is nan"),
        ({"patience": 0}, "patience is 0"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"num_generations": 0}, "num_generations is 0"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        CollapseMonitor(**arguments)


def test_what_cannot_be_watched() -> None:
    with pytest.raises(InvalidInput, match="no outcome_fn"):
        CollapseMonitor().watch(reward)
    for model in (torch.nn.Linear(2, 1), "some/reward-model"):
        with pytest.raises(InvalidInput, match="not a function and cannot be watched"):
            CollapseMonitor(outcome).watch(model)


TWO_PROCESSES = """
import json, sys
from pathlib import Path
import torch
from tiny_grpo import outcome, reward, train
from ipsrl.llm.monitor import CollapseMonitor

out = Path(sys.argv[1])
monitor = CollapseMonitor(outcome, stop_below=1.5)
trainer = train(
    out, reward_funcs=[monitor.watch(reward)], callbacks=[monitor], max_steps=60,
    per_device_train_batch_size=24, num_generations=16, log_completions=True,
    num_completions_to_print=0, prompts=3,
)
assert torch.distributed.get_world_size() == 2
effective = [log["outcomes/effective"] for log in trainer.state.log_history if "loss" in log]
rank = torch.distributed.get_rank()
(out / f"rank-{rank}.json").write_text(json.dumps([trainer.state.global_step, effective]))
"""


@pytest.mark.slow
def test_groups_that_straddle_processes_are_whole(tmp_path: Path) -> None:
    """3 groups of 16 on 2 processes of 24: both see what the logged completions show."""
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    process = subprocess.Popen(
        [*launch, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=HANGS)
    finally:
        if process.poll() is None:  # the workers too, or they wait for one another for ever
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, errors[-3000:]
    (steps, effective), other = (
        json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)
    )
    assert [steps, effective] == other
    assert steps < 60
    assert printed.count("CollapseMonitor stops the run") == 1
    rows = read_completions([tmp_path])
    d = diagnose_completions(rows, outcome_keys(rows, outcome))
    assert (d.group_size, d.groups) == (16, 3 * steps)
    assert effective == pytest.approx(d.effective, rel=FLOAT32_DRIFT)
