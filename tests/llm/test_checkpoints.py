"""Old checkpoints go as a whole, and the newest that is whole is gone on from."""

from __future__ import annotations

from typing import Any

import pytest
from llm_task import KINDS, config_of, cut, differences, task

from ipsrl.errors import RunError
from ipsrl.llm.checkpoints import newest_checkpoint
from ipsrl.llm.replay import FILE
from ipsrl.llm.training import train
from ipsrl.runs import Run


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
@pytest.mark.parametrize("kind", ["replay", "flowrl-mlp", "flowrl-table", "exemplars", "reused"])
def test_old_checkpoints_go_as_a_whole(kind, strategy, home, tmp_path) -> None:
    """Whatever the method wrote into them; and the newest can be resumed from."""
    limited = {"save_total_limit": 1, "save_strategy": strategy}
    train(task(home, **merged(KINDS[kind], limited)), tmp_path / "run")
    (newest,) = (tmp_path / "run" / "trainer").glob("checkpoint-*")
    assert newest_checkpoint(Run.open(tmp_path / "run")) == str(newest)


def merged(options: dict[str, Any], trl: dict[str, Any]) -> dict[str, Any]:
    return {**options, "trl": {**options.get("trl", {}), **trl}}


@pytest.mark.parametrize("harm", ["missing", "truncated", "empty"])
def test_a_checkpoint_that_was_being_written_is_passed_over(harm, home, finished, tmp_path) -> None:
    cut(finished("ips-grpo"), tmp_path / "run", at=4)
    newest = tmp_path / "run" / "trainer" / "checkpoint-4"
    (newest / "optimizer.pt").write_bytes(b"not all of it")
    state = newest / "trainer_state.json"
    if harm == "missing":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[: 100 if harm == "truncated" else 0])
    train(task(home), tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", finished("ips-grpo")) == []


@pytest.mark.parametrize("harm", ["before", "while", "after"])
def test_a_death_around_the_history_of_a_checkpoint(harm, home, finished, tmp_path) -> None:
    """It is written before trainer_state.json: the checkpoint before it is gone on from."""
    cut(finished("replay"), tmp_path / "run", at=4)
    newest = tmp_path / "run" / "trainer" / "checkpoint-4"
    (newest / "trainer_state.json").unlink()
    if harm != "after":
        content = (newest / FILE).read_bytes()
        (newest / FILE).unlink()
        if harm == "while":
            (newest / f"{FILE}.tmp").write_bytes(content[: len(content) // 2])
    train(config_of(home, "replay"), tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", finished("replay")) == []
    for step in (4, 6):
        name = f"trainer/checkpoint-{step}/{FILE}"
        assert (tmp_path / "run" / name).read_bytes() == (finished("replay") / name).read_bytes()
        assert name in Run.open(tmp_path / "run").files
        assert f"{name}.tmp" not in Run.open(tmp_path / "run").files.listed


def test_a_damaged_history_ends_the_resumed_run(home, finished, tmp_path) -> None:
    cut(finished("replay"), tmp_path / "run", at=4)
    file = tmp_path / "run" / "trainer" / "checkpoint-4" / FILE
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(RunError, match=f"checkpoint-4/{FILE} is not the history of prompts"):
        train(config_of(home, "replay"), tmp_path / "run", resume=True)
