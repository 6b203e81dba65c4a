"""The program of a worker answers every request, and lives on."""

import signal
import sys
from collections.abc import Iterator

import pytest
from components import ETHANE, PHENOL, USER
from faulty import marked
from helpers import HANGS, wait_until

from ipsrl.molecules import ComponentConfig
from ipsrl.molecules.scoring.build import build
from ipsrl.molecules.scoring.worker import Server
from ipsrl.workers.lines import Lines


@pytest.fixture
def program(mark) -> Iterator[Lines]:
    with Lines([sys.executable, "-P", "-m", "ipsrl.molecules.scoring.worker"], HANGS) as lines:
        yield lines


def to_build(config: ComponentConfig) -> dict[str, object]:
    return {"component": config.model_dump(mode="json"), "timeout": config.timeout}


def test_the_protocol_by_hand(program, tmp_path):
    file = tmp_path / "user.py"
    file.write_text(USER)
    asked = {"smiles": ETHANE}
    assert program.ask(asked) == {"failure": "no component was asked for"}
    refused = program.ask(to_build(ComponentConfig(kind="function", function="/no/file.py:f")))
    assert refused.keys() == {"error"}
    assert program.ask(asked) == {"failure": refused["error"]}
    for name, phenol, ethane in (
        ("size", {"value": 9}, {"value": 2}),
        ("picky", {"value": 1}, {"failure": "ValueError: not ethane"}),
        ("mute", {"failure": "Mute"}, {"failure": "Mute"}),
    ):
        config = ComponentConfig(kind="function", function=f"{file}:{name}", version="1")
        assert program.ask(to_build(config)) == {"identity": build(config).identity}
        assert [program.ask({"smiles": text}) for text in (PHENOL, ETHANE)] == [phenol, ethane]


def test_python_is_stopped_at_its_limit_and_lives_on(program, told, mark):
    program.ask(to_build(told.config(timeout=400.0)))
    number = program.ask({"smiles": "C"})
    before = set(marked(mark))
    for todo in (
        "time.sleep(600)",
        "subprocess.run(['sh', '-c', 'sleep 600 & sleep 600'])",
        # a handler of its own for all errors does not keep it alive
        "while True:\n  try: time.sleep(600)\n  except Exception: pass",
        "while True: pass",
    ):
        told.todo(f"time_is_up(400)\n{todo}")
        assert program.ask({"smiles": "N"}) == {"timeout": "no answer in 400 s"}
        assert program.ask({"smiles": "C"}) == number
        wait_until(lambda: not set(marked(mark)) - before)  # what it had started is gone


def raises(smiles: list[str]) -> list[float]:
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("component", "answer"),
    [(lambda smiles: [1.0], {"value": 1.0}), (raises, {"failure": "RuntimeError: no licence"})],
)
def test_no_limit_runs_on_after_an_answer(component, answer):
    """It would stop whatever the process does next."""
    server = Server()
    server.component, server.timeout = component, float(HANGS)
    assert server({"smiles": PHENOL}) == answer
    assert signal.setitimer(signal.ITIMER_REAL, 0) == (0.0, 0.0)  # what was left of one
