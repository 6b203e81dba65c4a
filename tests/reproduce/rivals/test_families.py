"""A cell of each family that the library's own commands train; it is run, measured and resumed."""

import pytest

pytest.importorskip("jax")
pytest.importorskip("trl")
pytest.importorskip("rdkit")

from ipsrl.reproduce.rivals.contestants import CONTESTANTS
from ipsrl.reproduce.rivals.families import families
from ipsrl.reproduce.rivals.record import SEEDS

TINY = {
    "grid": {"iterations": 2, "batch": 64, "eval_every": 1, "checkpoint_every": 1},
    "hypospace": {
        "sets": 4, "samples": 4,
        "trl": {"max_steps": 1, "num_generations": 4, "per_device_train_batch_size": 8},
    },
    "molecules": {"budget": 16, "batch": 16, "replay": 0, "memory": 0, "augmentations": 0},
}  # fmt: skip


@pytest.fixture
def tasks(small_prior, tmp_path):
    changes = {**TINY, "molecules": {**TINY["molecules"], "prior": str(small_prior)}}
    return {task.name: task for task in families(tmp_path, changes)}


def cell(task, name):
    """Records of one seed, and when the files of its runs were written."""
    records = list(task.run(CONTESTANTS[name], (0,)))
    files = sorted(task.out.glob("runs/**/result.json"))
    return records, [file.stat().st_mtime_ns for file in files]


@pytest.mark.parametrize("name", ["grid 8x8 R0 0.1", "hypospace boolean", "molecules qed-band"])
def test_a_cell_is_run_and_used_again(tasks, name) -> None:
    task = tasks[name]
    (record,), written = cell(task, "ips group")
    assert record.rate in task.rates
    assert record.samples == task.budget
    assert record.measures["coverage"] >= 0
    assert record.curve[-1][1] == pytest.approx(record.measures["coverage"], abs=1e-6)  # float32
    (again,), unchanged = cell(task, "ips group")
    assert unchanged == written
    assert again.measures == record.measures


def test_references_of_a_grid(tasks) -> None:
    """The ideal sampler overlaps whole, and nobody has a higher overlap."""
    found = tasks["grid 8x8 R0 0.1"].references()
    assert [len(each) for each in found.values()] == [len(SEEDS), 1]
    assert found["ideal"][0]["coverage"] == 1
    # Rewards 2.6 (4 modes), .6 and .1 in the numbers of the paper's 8x8 grid.
    assert 0 < found["start"][0]["coverage"] < 1
    assert found["start"][0]["reward"] < found["ideal"][0]["reward"] <= 1


def test_who_is_left_out_has_a_reason(tasks) -> None:
    for task in tasks.values():
        fed, out = task.contestants(), task.left_out()
        assert not set(fed) & set(out)
        assert set(CONTESTANTS) <= set(fed) | set(out)
        assert all(out.values())
        assert "gapo" in out  # which must know how many are right
    assert "ips exact" in tasks["grid 8x8 R0 0.1"].contestants()
    assert "ips exact" in tasks["hypospace boolean"].left_out()
