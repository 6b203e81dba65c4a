"""Long work says how far it is, and neither floods a log nor touches what a command prints."""

import time

from ipsrl.runs import progress


def test_lines_where_nobody_looks_at_a_terminal(monkeypatch, capsys):
    """The first two seconds say nothing, and what is done is said at once."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with progress("training", 10) as advance:
        for done, now in ((1, 1.0), (2, 2.0), (3, 2.5), (4, 4.0), (5, 4.6), (10, 4.7)):
            clock[0] = now
            advance(done, f"at {now}")
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "training: 30% at 2.5",  # 3 of 10, 2.5 s after the start
        "training: 50% at 4.6",  # 2.1 s after that
        "training: 100% at 4.7",  # the end
    ]
    assert printed.out == ""


def test_nothing_to_do(capsys):
    with progress("training", 0) as advance:
        advance(0)
    assert capsys.readouterr().err == "training: 0% \n"
