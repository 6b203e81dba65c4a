"""Long work says how far it is, and neither floods a log nor touches what a command prints."""

import time

import pytest

from ipsrl.runs import progress, speaking


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the start, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_lines_where_nobody_looks_at_a_terminal(clock, capsys):
    """The first two seconds say nothing, and what is done is said at once."""
    with progress("training", 10) as advance:
        for done, now in ((1, 1.0), (2, 2.0), (3, 2.5), (4, 4.0), (5, 4.6), (10, 4.7)):
            clock[0] = now
            advance(done, f"at {now}")
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        # 3 of 10, 2.5 s after the start; 2 more took 1.5 s since 1.0, so 7 take 5.25 s
        "training: 30% at 2.5, 5 s left",
        # 2.1 s after that; 4 more took 3.6 s, so 5 take 4.5 s, which Python rounds to the even 4
        "training: 50% at 4.6, 4 s left",
        "training: 100% at 4.7",  # the end
    ]
    assert printed.out == ""


def test_lines_get_rarer(clock, capsys):
    """One step per second for ten hours: each line after 40 s comes 5 % after the last."""
    steps = 36_000
    with progress("training", steps) as advance:
        advance(0)
        for step in range(1, steps + 1):
            clock[0] = step
            advance(step)
    lines = capsys.readouterr().err.splitlines()
    # 13 in the first 40 s (every third second, as more than two must have passed), then
    # ln(36000 / 40) / ln(20 / 19) = 133, a few less as the clock has whole seconds.
    assert 110 < len(lines) < 146
    assert "9 h 59 min left" in lines[5]
    assert lines[-1] == "training: 100% "


def test_a_run_that_goes_on_has_the_pace_of_now(clock, capsys):
    """90 of 100 were there; 5 more take 10 s, and so do the last 5."""
    with progress("training", 100) as advance:
        advance(90, "compiling", at_once=True)
        clock[0] = 10.0
        advance(95)
    assert capsys.readouterr().err.splitlines() == [
        "training: 90% compiling", "training: 95% 10 s left",
    ]  # fmt: skip


def test_what_prepares_the_work_does_not_count(clock, capsys):
    """A minute of compiling, then 10 of 100 in 4 s: the other 90 take 36 s."""
    with progress("training", 100) as advance:
        advance(0, "compiling", at_once=True)
        clock[0] = 60.0
        advance(0, "compiled")
        clock[0] = 64.0
        advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "training: 0% compiling", "training: 0% compiled", "training: 10% 36 s left",
    ]  # fmt: skip


@pytest.mark.parametrize(("loudness", "lines"), [("quiet", 0), ("usual", 1), ("verbose", 4)])
def test_of_steps_that_come_together_the_last_is_said(loudness, lines, capsys):
    with speaking(loudness), progress("training", 4) as advance:
        for step in range(1, 5):
            advance(step, minor=step < 4)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert said[-1:] in ([], ["training: 100% "])


@pytest.mark.parametrize(("loudness", "lines"), [("quiet", 0), ("usual", 1), ("verbose", 4)])
def test_as_loud_as_asked(loudness, lines, clock, capsys):
    with speaking(loudness), progress("training", 4) as advance:
        for step in range(1, 5):
            advance(step)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_nothing_to_do(capsys):
    with progress("training", 0) as advance:
        advance(0)
    assert capsys.readouterr().err == "training: 0% \n"
