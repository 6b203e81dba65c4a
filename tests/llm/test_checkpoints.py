"""Old checkpoints go as a whole, and the newest that is whole is gone on from."""

from __future__ import annotations

from typing import Any

import pytest
from llm_task import KINDS, cut, differences, task

from ipsrl.llm.checkpoints import newest_checkpoint
from ipsrl.llm.training import train
from ipsrl.runs import Run


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
@pytest.mark.parametrize("kind", ["replay", "flowrl-mlp", "flowrl-table", "reused"])
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
