"""What the items share."""

from rich.table import Table

from ipsrl.reproduce.runs import interval, show


def test_an_interval_is_median_and_range():
    # Sorted: 1, 2, 4, 10; the median is half-way between 2 and 4.
    assert interval([10, 1, 4, 2]) == {"median": 3, "low": 1, "high": 10}


def test_a_wide_table_is_not_cut_in_a_pipe(capsys):
    words = [f"a heading of column {i}" for i in range(20)]
    table = Table(*words)
    table.add_row(*words)
    show(table)
    head, body = (line for line in capsys.readouterr().out.splitlines() if "heading" in line)
    assert all(word in head and word in body for word in words)
