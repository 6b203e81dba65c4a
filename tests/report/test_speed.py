"""A long run is reported in seconds."""

import time

import pytest
import report_runs as runs


@pytest.mark.slow
def test_200_000_evaluations_are_reported_in_5_seconds(tmp_path, record_property):
    """Seconds of a processor: those of the wall are of whatever else the machine does."""
    from ipsrl.report.page import write_report

    runs.finish_grid(runs.grid_run(tmp_path / "run", evaluations=40_000, seeds=5), 5)
    began = time.process_time()
    write_report([tmp_path / "run"], tmp_path / "page.html")
    seconds = time.process_time() - began
    record_property("figure", f"{seconds:.1f} s")
    assert seconds < 5
