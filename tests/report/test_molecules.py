"""The figure of hits says what searches found."""

import numpy as np
import pytest
import report_runs as runs

from ipsrl.report.molecules import curve, hits_by_calls


def test_the_curve_is_that_of_the_metrics(tmp_path):
    run = runs.search_run(tmp_path / "search", ["CCO"] * 200, threshold=0.3)
    (line,) = hits_by_calls({"mine": [curve(tmp_path / "search")]}).axes[0].lines
    calls, hits = line.get_data()
    rows = run.metrics()
    assert (calls[0], hits[0], calls[-1], hits[-1]) == (0, 0, 200, rows[-1]["hits"])
    middle = rows[0]
    assert np.interp(middle["calls"], calls, hits) == pytest.approx(middle["hits"], abs=0.5)
