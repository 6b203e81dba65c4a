"""A cell of each family that the library's own commands train; it is run, measured and resumed."""

import pytest

from ipsrl.reproduce.rivals.contestants import CONTESTANTS, Contestant
from ipsrl.reproduce.rivals.families import Grid, HypoSpace, Molecules, families
from ipsrl.reproduce.rivals.record import SEEDS

TINY = {
    "grid": {"iterations": 2, "batch": 64, "eval_every": 1, "checkpoint_every": 1},
    "hypospace": {
        "sets": 4, "samples": 4,
        "trl": {"max_steps": 1, "num_generations": 4, "per_device_train_batch_size": 8},
    },
    "molecules": {"budget": 16, "batch": 16, "replay": 0, "memory": 0, "augmentations": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def beginner(tmp_path_factory):
    """Folder of a Boolean start model that was hardly taught."""
    from ipsrl.hypospace import Boolean, dataset
    from ipsrl.hypospace.tiny import start_model

    task, cache = Boolean(), tmp_path_factory.mktemp("cache")
    return start_model(task, dataset(task), steps=1, cache=cache)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """All tasks, with one learning rate to choose from."""

    def make(**models):
        changes = {of: {**keys, **models.get(of, {})} for of, keys in TINY.items()}
        for kind in (Grid, HypoSpace, Molecules):
            monkeypatch.setattr(kind, "rates", (1e-3,))
        return {task.name: task for task in families(tmp_path, changes)}

    return make


def cell(task, name):
    """Records of one seed, and when the files of its runs were written."""
    records = list(task.run(CONTESTANTS[name], (0,)))
    files = sorted(task.out.glob("runs/**/result.json"))
    return records, [file.stat().st_mtime_ns for file in files]


def check_a_cell(task) -> None:
    """It is run and measured, and what was run is used again."""
    (record,), written = cell(task, "ips group")
    assert record.rate == 1e-3
    assert record.samples == task.budget
    assert record.measures["coverage"] >= 0
    assert record.curve[-1][1] == pytest.approx(record.measures["coverage"], abs=1e-6)  # float32
    (again,), unchanged = cell(task, "ips group")
    assert unchanged == written
    assert again.measures == record.measures


def test_a_cell_of_a_grid(tasks) -> None:
    check_a_cell(tasks()["grid 8x8 R0 0.1"])


def test_a_cell_of_molecules(tasks, small_prior) -> None:
    check_a_cell(tasks(molecules={"prior": str(small_prior)})["molecules qed-band"])


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_a_cell_of_hypospace(tasks, beginner) -> None:
    check_a_cell(tasks(hypospace={"model": str(beginner)})["hypospace boolean"])


def test_references_of_a_grid(tasks) -> None:
    """The ideal sampler overlaps whole, and nobody has a higher overlap."""
    found = tasks()["grid 8x8 R0 0.1"].references()
    assert [len(each) for each in found.values()] == [len(SEEDS), 1]
    assert found["ideal"][0]["coverage"] == 1
    assert 0 < found["start"][0]["coverage"] < 1
    assert found["start"][0]["reward"] < found["ideal"][0]["reward"] <= 1


def test_who_is_left_out_has_a_reason(tasks) -> None:
    made = tasks()
    for task in made.values():
        fed, out = task.contestants(), task.left_out()
        assert not set(fed) & set(out)
        assert set(CONTESTANTS) <= set(fed) | set(out)
        assert all(out.values())
        assert "gapo" in out  # which must know how many are right
        assert ("exemplar-replay" in fed) != ("exemplar-replay" in out)
    assert "exemplar-replay" in made["grid 8x8 R0 0.1"].left_out()
    for name in ("hypospace boolean", "molecules qed-band"):
        assert "exemplar-replay" in made[name].contestants()
    for name in ("exemplar-replay", "split", "pass-at-k"):  # of which a hit is right
        config = made["molecules qed-band"].config(Contestant(name), 1e-3, (0,))
        assert config.success_above == config.threshold
    assert "every state earns" in made["grid 8x8 R0 0.1"].left_out()["split likelihood"]
    assert "ips exact" in made["grid 8x8 R0 0.1"].contestants()
    assert "ips exact" in made["hypospace boolean"].left_out()
