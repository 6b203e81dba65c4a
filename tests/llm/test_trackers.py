"""What the trainers log arrives where TRL sends it."""

from __future__ import annotations

import math

import llm_toy as toy
from llm_toy import ips

from ipsrl.llm import IPSGRPOTrainer


def test_tensorboard_receives_what_is_logged(tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=3, report_to="tensorboard", trainer_options=ips()
    )
    (folder,) = {file.parent for file in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder)).Reload()
    written = {
        tag.removeprefix("train/"): {event.step: event.value for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
        if tag.startswith("train/")
    }
    steps = trainer.state.log_history[:-1]  # the last is the summary of the run
    assert [entry["step"] for entry in steps] == [1, 2, 3]
    names = {name for name in steps[0] if name.startswith(("outcomes/", "ips/"))}
    assert {"outcomes/effective", "ips/reward", "ips/weight_max"} <= names
    for name in names | {"reward", "rewards/valid/mean"}:
        assert written[name].keys() == {1, 2, 3}, name
        for entry in steps:
            # TensorBoard keeps float32
            assert math.isclose(written[name][entry["step"]], entry[name], rel_tol=1e-6), name
    assert all(written["ips/reward"][step] > written["reward"][step] for step in (1, 2, 3))
