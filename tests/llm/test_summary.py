"""A diagnosis in words says what to do."""

from __future__ import annotations

from pathlib import Path

from llm_logs import FORMAT, diagnosed, log_of, rewarded

from ipsrl.llm.summary import summary


def test_few_levels_of_rewards_name_the_option(tmp_path: Path) -> None:
    d = diagnosed(tmp_path, rewarded(FORMAT))
    assert (d.reward_levels, d.wrong) == ([0.2, 1.2], None)
    assert "Rewards above 0 are 0.2, 1.2." in summary(d)
    assert "--success-above 0.7" in summary(d)
    one = diagnosed(tmp_path, rewarded({"a": 1.0, "b": 0.0}))
    assert "--success-above" not in summary(one)


def test_prompts_that_are_seen_once_are_told(tmp_path: Path) -> None:
    rows = [{**row, "prompt": f"p{row['step']}"} for row in log_of(lambda t: "aabb", 12, prompts=1)]
    assert "seen at one step only" in summary(diagnosed(tmp_path, rows))
    assert "one step only" not in summary(diagnosed(tmp_path, log_of(lambda t: "aabb", 12)))
