"""What runs found: intervals over seeds, and tables."""

import os
import sys

import pytest
from rich.table import Table

from ipsrl.sweep.picture import picture
from ipsrl.sweep.results import _measured, interval, print_rows, show, shown


def test_an_interval_is_median_and_range():
    # Sorted: 1, 2, 4, 10; the median is half-way between 2 and 4.
    assert interval([10, 1, 4, 2]) == {"median": 3, "low": 1, "high": 10}


def test_an_interval_is_shown_by_median_and_range():
    assert shown({"median": 2.0, "low": 1.0, "high": 3.25}, ".1f") == "2.0 [1.0, 3.2]"
    assert shown(None) == ""


def test_a_wide_table_is_not_cut_in_a_pipe(capsys):
    words = [f"a heading of column {i}" for i in range(20)]
    table = Table(*words)
    table.add_row(*words)
    show(table)
    head, body = (line for line in capsys.readouterr().out.splitlines() if "heading" in line)
    assert all(word in head and word in body for word in words)


def test_the_texts_of_a_table_are_no_markup(capsys):
    """Neither in brackets, as atoms of a SMILES or a closing tag, nor between colons."""
    texts = ["[*:1]c1cc[nH]c1", "[/red]", ":smile:"]
    found = {"median": 1.0, "low": 0.5, "high": 2.0, "values": [0.5, 2.0]}
    row = {"cell": "c", "failed": {}, "measures": {"[b]": found}}
    print_rows("[dim]", [{**row, "values": {"[i]": text}} for text in texts])
    out = capsys.readouterr().out
    for text in (*texts, "[b]", "[dim]", "[i]", "1 [0.5, 2]"):
        assert text in out


def test_a_table_that_nobody_reads_is_a_broken_pipe(monkeypatch):
    """The command ends quietly with it; rich would exit."""
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(BrokenPipeError):
            show(Table("a"))


def test_texts_of_the_picture_are_no_formulas():
    """As which they would be refused."""
    found = {"median": 1.0, "low": 0.5, "high": 2.0, "values": [0.5, 2.0]}
    row = {"cell": "lr=$1$", "measures": {r"to.$\frac$": found}}
    svg = picture("my$x$", [row]).decode()
    assert all(text in svg for text in ("my$x$: median", "lr=$1$", r"to.$\frac$"))


@pytest.mark.parametrize(
    ("measure", "values"),
    [
        ("best", [2]),
        ("l1", [0.5, 0.25]),
        ("test.rate.0", [0.75]),
        ("to.0.3", [7]),
        ("never", []),
        ("best.low", []),
        ("test.rate.9", []),
    ],
)
def test_a_measure_is_found_in_a_result(measure, values):
    """A list has a value for each seed; null has none, nor has what is not there."""
    test = {"rate": [0.75, 0.5]}
    result = {"best": 2, "l1": [0.5, None, 0.25], "test": test, "to": {"0.3": 7}, "never": None}
    assert list(_measured(result, measure.split("."))) == values


def test_a_key_and_a_measure_of_one_name_have_a_column_each(capsys):
    found = {"median": 1.0, "low": 0.5, "high": 2.0, "values": [0.5, 1.0, 2.0]}
    row = {"cell": "c", "values": {"reward": "a.py:f"}, "failed": {}}
    print_rows("t", [{**row, "measures": {"reward": found, "failed": None}}])
    heads = capsys.readouterr().out.splitlines()[2]
    assert [one.strip() for one in heads.strip("┃").split("┃")] == [
        "reward", "reward, result", "failed", "of seeds", "runs failed",
    ]  # fmt: skip
