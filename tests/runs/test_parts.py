"""A table in parts is one table, and a death at any moment leaves its rows where they were."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipsrl.runs import Folder, Parts
from ipsrl.runs.formats import as_parquet

ROWS = {2: [1, 2, 2], 4: [], 6: [5], 8: [7, 8]}  # steps of the rows, by checkpoint


def table(steps: list[int]) -> pa.Table:
    texts = [f"row {step}" for step in steps]
    return pa.table({"step": pa.array(steps, pa.int64()), "text": pa.array(texts, pa.string())})


@pytest.fixture
def parts(tmp_path) -> Parts:
    made = Parts(Folder.make(tmp_path), "calls")
    for step, steps in ROWS.items():
        made.add(step, table(steps))
    return made


def steps_of(parts: Parts) -> list[int]:
    return parts.rows()["step"].to_pylist()


def test_rows_are_in_order_and_joined_they_are_one_file(parts, tmp_path):
    assert steps_of(parts) == [1, 2, 2, 5, 7, 8]
    expected = table([1, 2, 2, 5, 7, 8])
    assert parts.join().equals(expected)
    assert (tmp_path / "calls.parquet").read_bytes() == as_parquet(expected)
    assert {path.name for path in tmp_path.iterdir()} == {"files.json", "calls.parquet"}
    assert Folder(tmp_path).listed == {"calls.parquet"}


def test_a_table_is_read_whole_or_in_parts(parts, tmp_path):
    assert Parts(Folder(tmp_path), "others").read() is None
    before = parts.read()
    assert before["step"].to_pylist() == [1, 2, 2, 5, 7, 8]
    parts.join()
    assert Parts(Folder(tmp_path), "calls").read().equals(before)


@pytest.mark.parametrize(("step", "left"), [(2, [1, 2, 2]), (4, [1, 2, 2]), (6, [1, 2, 2, 5])])
@pytest.mark.parametrize("joined", [False, True])
def test_a_cut_goes_back_to_a_checkpoint(parts, step, left, joined):
    """Also after the parts were joined, and what is added then is not lost."""
    if joined:
        parts.join()
    parts.cut(step)
    assert steps_of(parts) == left
    parts.add(10, table([9, 10]))
    parts.cut(10)
    assert steps_of(parts) == [*left, 9, 10]


@pytest.mark.parametrize("step", [2, 8])
def test_a_death_between_the_whole_and_the_removal_of_its_parts_costs_nothing(
    parts, step, tmp_path
):
    parts.files.write("calls.parquet", as_parquet(parts.rows()))
    parts.cut(step)
    assert steps_of(parts) == [row for rows in ROWS.values() for row in rows if row <= step]
    assert not (tmp_path / "calls.parquet").exists()


def test_a_death_between_listing_and_writing_costs_nothing(parts, tmp_path):
    parts.files.claim("calls/step-000000000010.parquet")
    killed = Parts(Folder(tmp_path), "calls")
    assert killed.read()["step"].to_pylist() == [1, 2, 2, 5, 7, 8]
    killed.cut(8)
    killed.add(9, table([9]))
    assert steps_of(killed) == [1, 2, 2, 5, 7, 8, 9]


@pytest.mark.parametrize("count", [3, 30])
def test_rows_are_added_at_the_price_of_the_new_ones(count, tmp_path, monkeypatch):
    """Neither read nor written again, however many there are."""
    parts = Parts(Folder.make(tmp_path), "calls")
    for step in range(1, count):
        parts.add(step, table([step]))
    written = []
    monkeypatch.setattr(pq, "read_table", lambda path: pytest.fail(f"{path} is read"))
    monkeypatch.setattr(Folder, "write", lambda _, name, content: written.append(len(content)))
    parts.add(count, table([count]))
    assert written == [len(as_parquet(table([count])))]
