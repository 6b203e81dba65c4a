"""Stocks: canonical, counted, and refused where they hold next to nothing."""

import gzip

import pytest

from ipsrl.errors import InvalidInput
from ipsrl.molecules import Stock
from ipsrl.molecules.synthesis.stock import STOCKS


def test_a_stock_is_canonical_and_counts_what_it_skips(tmp_path):
    text = "\ufeff# a comment\nOCC ethanol\nC(C)O again\n\n*CC* polymer\nno molecule\nc1ccccc1\n"
    (tmp_path / "mine.smi").write_text(text)
    (tmp_path / "mine.smi.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("mine.smi", "mine.smi.gz"):
        stock = Stock.load(tmp_path / name)
        assert stock.smiles == {"CCO", "c1ccccc1"}
        assert stock.skipped == 2
    assert stock.digest == Stock(["c1ccccc1", "OCC"]).digest != Stock(["CCO"]).digest


def test_the_shipped_stock(common):
    assert common.skipped == 0
    assert len(common.smiles) >= 300
    lines = (STOCKS / "common.smi").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert all(len(row) == 2 for row in rows)
    assert len(rows) == len({name for _, name in rows}) == len(common.smiles)


def test_the_stock_of_20000_blocks(blocks):
    assert len(blocks.smiles) > 19_900  # some are sold as salts as well as neutral
    assert 0 < blocks.skipped < 100


@pytest.mark.parametrize("content", [b"", b"*C*\n", b"CCO\nCCN,2\nCCC,3\n", b"\xff\xfe"])
def test_a_stock_of_next_to_nothing_is_refused(tmp_path, content):
    (tmp_path / "mine.smi").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"holds [01] molecules, and \d lines|cannot be read"):
        Stock.load(tmp_path / "mine.smi")
    with pytest.raises(InvalidInput, match=r"cannot be read.*common"):
        Stock.load("absent")
