"""Files of a run are read whole, also while it replaces them."""

import threading

import pyarrow as pa

from ipsrl.runs import write_whole
from ipsrl.runs.formats import as_parquet, read_parquet


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
