"""What runs found: intervals over seeds, and tables."""

import pytest
from rich.table import Table

from ipsrl.errors import ConfigError
from ipsrl.sweep.results import _measured, interval, show


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


@pytest.mark.parametrize(
    ("measure", "values"),
    [("best", [2]), ("l1", [0.5, 0.25]), ("test.rate.0", [0.75]), ("never", [])],
)
def test_a_measure_is_found_in_a_result(measure, values):
    """A list has a value for each seed; null has none."""
    result = {"best": 2, "l1": [0.5, None, 0.25], "test": {"rate": [0.75, 0.5]}, "never": None}
    assert list(_measured(result, measure)) == values


@pytest.mark.parametrize("measure", ["bests", "test.rates", "test.rate.9", "best.low"])
def test_a_measure_that_is_not_there_is_refused(measure):
    with pytest.raises(ConfigError, match="a result has no"):
        list(_measured({"best": 2, "test": {"rate": [0.75, 0.5]}}, measure))
