"""Arrays are written as they are, however they lie in memory, and tables are read whole."""

import threading

import numpy as np
import pyarrow as pa
import pytest

from ipsrl.runs import write_whole
from ipsrl.runs.formats import as_parquet, read_parquet

STRIDED = {
    "column": np.arange(6.0).reshape(2, 3)[:, -1],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "backwards": np.arange(6.0)[::-1],
    "scalar": np.array(0.5),
    "empty": np.zeros((0, 3)),
}


@pytest.mark.parametrize("name", STRIDED)
def test_arrays_of_any_layout_in_memory_survive(name, run):
    run.checkpoint(1, {name: STRIDED[name]})
    np.testing.assert_array_equal(run.restore()[1][name], STRIDED[name])
    run.finish({}, {name: STRIDED[name]})
    np.testing.assert_array_equal(run.arrays()[name], STRIDED[name])


def test_a_table_that_is_replaced_meanwhile_is_read_as_it_was_or_is(tmp_path):
    """A reader that opened the file twice would find the end of one and the pages of another."""
    path, tables = tmp_path / "outcomes.parquet", [pa.table({"step": range(n)}) for n in (9, 9000)]
    contents = [as_parquet(table) for table in tables]
    write_whole(path, contents[0])
    over = threading.Event()

    def replace() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            write_whole(path, contents[turn % 2])

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        lengths = {len(read_parquet(path)) for _ in range(1000)}
    finally:
        over.set()
        writer.join()
    assert lengths <= {9, 9000}
