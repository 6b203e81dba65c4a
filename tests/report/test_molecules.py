"""Figures of searches say what the runs found."""

import json

import numpy as np
import pytest

pytest.importorskip("rdkit")

from ipsrl.errors import RunError
from ipsrl.molecules import ComponentConfig, Config, train
from ipsrl.report.molecules import curve, hits_by_calls
from ipsrl.report.page import write_report
from ipsrl.runs import Run


def test_the_report_draws_searches_and_refuses_what_it_cannot_draw(small_prior, tmp_path):
    config = Config(prior=str(small_prior), budget=20, batch=16, augmentations=0, threshold=0.3)
    train(config, tmp_path / "search")
    write_report({"mine": tmp_path / "search"}, tmp_path / "page.html")
    assert "hits by oracle calls" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page-hits.png").read_bytes().startswith(b"\x89PNG")
    file = tmp_path / "search" / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "family": "llm"}))
    with pytest.raises(RunError, match="has no figures of"):
        write_report({"mine": tmp_path / "search"}, tmp_path / "page.html")


def test_the_report_tells_of_calls_without_a_value(small_prior, tmp_path):
    (tmp_path / "mine.py").write_text("def broken(smiles):\n    raise OSError('no licence')\n")
    config = Config(
        prior=str(small_prior), budget=8, batch=8, augmentations=0,
        components=[ComponentConfig(kind="function", function=f"{tmp_path}/mine.py:broken")],
    )  # fmt: skip
    train(config, tmp_path / "search")
    write_report({"mine": tmp_path / "search"}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "mine: 8 of 8 oracle calls have no value" in page
    assert "OSError: no licence." in page


def test_the_curve_is_that_of_the_metrics(small_prior, tmp_path):
    config = Config(prior=str(small_prior), budget=40, batch=16, augmentations=0, threshold=0.3)
    train(config, tmp_path / "search")
    (line,) = hits_by_calls({"mine": [curve(tmp_path / "search")]}).axes[0].lines
    calls, hits = line.get_data()
    rows = Run.open(tmp_path / "search").metrics()
    assert (calls[0], hits[0], calls[-1], hits[-1]) == (0, 0, 40, rows[-1]["hits"])
    middle = rows[0]
    assert np.interp(middle["calls"], calls, hits) == pytest.approx(middle["hits"], abs=0.5)
