"""The newest checkpoint that is whole counts, and a death at any moment leaves one."""

import numpy as np
import pytest

from ipsrl.errors import RunError
from ipsrl.runs import Folder
from ipsrl.runs.checkpoints import Checkpoints


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    made = Checkpoints(Folder.make(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for step in (1, 2, 30):
        made.add({"weights": np.arange(step)}, {"step": step, "metrics_bytes": 10 * step})
    return made


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in (checkpoints.files.path / "checkpoints").iterdir())


def of(*steps: int) -> list[str]:
    return [f"step-{step:012}.{kind}" for step in steps for kind in ("json", "safetensors")]


def test_the_two_newest_are_kept(checkpoints):
    assert names(checkpoints) == of(2, 30)


def test_the_newest_comes_back(checkpoints):
    arrays, state = checkpoints.newest()
    assert state == {"step": 30, "metrics_bytes": 300}
    assert arrays["weights"].tolist() == list(range(30))


def test_there_may_be_none(tmp_path):
    assert Checkpoints(Folder.make(tmp_path)).newest() is None


def test_arrays_without_a_state_do_not_count_and_are_removed(checkpoints):
    """As after a death between the two files."""
    (checkpoints.files.path / "checkpoints" / of(30)[0]).unlink()
    assert checkpoints.newest()[1]["step"] == 2
    checkpoints.prune()
    assert names(checkpoints) == of(2)


def test_a_damaged_one_is_refused_and_the_one_before_is_the_way_on(checkpoints):
    state, arrays = (checkpoints.files.path / "checkpoints" / name for name in of(30))
    arrays.write_bytes(b"half of i")
    with pytest.raises(RunError, match=r"step 30 .* damaged .*\. Delete (\S+json), and the run"):
        checkpoints.newest()
    state.unlink()
    assert checkpoints.newest()[1]["step"] == 2
