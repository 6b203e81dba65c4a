"""Every family is watched with one option, and computes what it computes alone."""

import pytest
from run_families import NAMES, started

from ipsrl.cli import main

# For each: where its lines are from, a number, and a table of what the samples ended in, if any.
SEEN = {
    "hypergrid": ("tensorboard", "total_l1/seed-0", "outcomes"),
    "llm": ("tensorboard", "outcomes/effective", "outcomes"),
    "hypospace": ("rl/tensorboard", "reward", "outcomes"),
    "molecules": ("tensorboard", "hits", "calls"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_watched_run_is_the_same_run(name, families, in_peace, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    assert main([*started(families[name], out), "--log-to", "tensorboard", "--quiet"]) == 0
    assert families[name].differences(out, in_peace[name]) == []
    folder, number, table = SEEN[name]
    events = EventAccumulator(str(out / folder)).Reload()
    assert len(events.Scalars(number)) > 1
    shown = events.Tensors(table)[-1].tensor_proto.string_val[0].decode()
    assert len(shown.splitlines()) > 2
    last = events.Tensors(table)[-1].step
    assert events.Images(f"{table}/picture")[-1].step == last
    if name in ("llm", "hypospace"):  # the numbers of grids count trajectories
        assert events.Scalars(number)[-1].step == last
