"""The command `ipsrl reproduce` offers every item, and writes where it says."""

import re
from pathlib import Path

import pytest

from ipsrl.cli import main
from ipsrl.reproduce import ITEMS


def test_the_help_lists_every_item(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    offered = capsys.readouterr().out
    for name, item in ITEMS.items():
        assert re.search(rf"^ *{name} +{re.escape(item.what)}$", offered, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["table-1"], "runs/table-1-quick"),
        (["table-2", "--preset", "cpu"], "runs/table-2-cpu"),
        (["theory", "--preset", "paper", "--out", "mine/theory"], "mine/theory"),
    ],
)
def test_where_it_writes(words, place, tmp_path, monkeypatch, capsys):
    """Files stand where folders would, which stops it before any work."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "mine"):
        Path(name).touch()
    assert main(["reproduce", *words]) == 1
    assert f"{place} cannot be written" in capsys.readouterr().err
