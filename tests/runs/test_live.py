"""Whoever watches a run sees its numbers, tables and pictures, and cannot stop it."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
from helpers import wait_until
from small_runs import Toy
from tiny_grid import TINY

from ipsrl.cli import main
from ipsrl.errors import ConfigError
from ipsrl.runs import Run, live, logging_to
from ipsrl.runs.sinks import SINKS, Sink

IDS = np.array([[7, 3, 7, 7]])
REWARDS = np.array([[1.0, 4.0, 2.0, 3.0]])


class Heard(Sink):
    """Keeps what it is called with."""

    calls: list

    def __init__(self, directory, config):
        type(self).calls = [("begins", directory.name, config)]

    def scalars(self, step, values):
        self.calls.append(("scalars", step, values))

    def table(self, name, step, columns, rows):
        self.calls.append((name, step, columns, rows))

    def picture(self, name, step, png):
        self.calls.append((name, step, png[:4]))

    def close(self):
        self.calls.append(("closes",))


class Raises(Heard):
    def scalars(self, step, values):
        if step == 2:
            raise SystemExit("no network")
        super().scalars(step, values)


class CannotBegin(Heard):
    def __init__(self, directory, config):
        raise OSError("no network")


class Hangs(Heard):
    def scalars(self, step, values):
        time.sleep(600)


def made(directory, sinks=()):
    """A run of three steps; its result files."""
    with logging_to(sinks), Run.create(directory, Toy()) as run:
        for step in (1, 2, 3):
            run.log([{"step": step, "loss": step / 2, "nothing": None, "text": "x"}])
            run.log_outcomes(step, IDS, REWARDS)
            run.checkpoint(step, {"weights": np.arange(step)})
        run.finish({"loss": 1.5})
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and path.name not in ("environment.json", "files.json")
    }


@pytest.fixture
def sinks(monkeypatch):
    """Sinks of this file, by names of packages that are always there."""
    for name, kind in {"json": Heard, "csv": Raises, "ast": CannotBegin, "abc": Hangs}.items():
        monkeypatch.setitem(SINKS, name, kind)


def test_numbers_tables_and_pictures_arrive_in_order(sinks, tmp_path):
    """Outcome 7 came three times with rewards 1, 2, 3: 2 on average.

    There is one picture in 30 s, and one of the end.
    """
    made(tmp_path / "run", ["json"])
    table = ["seed", "outcome", "count", "mean_reward"], [[0, 7, 3, 2.0], [0, 3, 1, 4.0]]
    assert Heard.calls == [
        ("begins", "run", {"rate": 0.5}),
        ("scalars", 1, {"loss": 0.5}),
        ("outcomes", 1, *table),
        ("outcomes/picture", 1, b"\x89PNG"),
        ("scalars", 2, {"loss": 1.0}),
        ("outcomes", 2, *table),
        ("scalars", 3, {"loss": 1.5}),
        ("outcomes", 3, *table),
        ("outcomes/picture", 3, b"\x89PNG"),
        ("closes",),
    ]


def test_every_seed_has_numbers_of_its_own(sinks, tmp_path):
    with logging_to(["json"]), Run.create(tmp_path / "run", Toy()) as run:
        run.log([{"trajectories": 8, "seed": seed, "l1": seed / 4} for seed in (1, 2)])
    assert Heard.calls[1:3] == [
        ("scalars", 8, {"trajectories/seed-1": 8.0, "l1/seed-1": 0.25}),
        ("scalars", 8, {"trajectories/seed-2": 8.0, "l1/seed-2": 0.5}),
    ]


@pytest.mark.parametrize("name", ["csv", "ast"])
def test_a_sink_that_fails_is_told_once_and_stops_nothing(name, sinks, tmp_path, capsys):
    alone = made(tmp_path / "alone")
    assert made(tmp_path / "run", [name, "json"]) == alone
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{name} failed (")
    assert "no network); the run goes on without it" in said
    assert len([call for call in Heard.calls if call[0] == "scalars"]) == 3  # the other has all


def test_a_sink_that_hangs_is_left_behind(sinks, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "_LEAVE", 0.2)
    alone = made(tmp_path / "alone")
    assert made(tmp_path / "run", ["abc"]) == alone
    assert "a sink hangs, and is left behind" in capsys.readouterr().err


def test_the_end_of_a_run_waits_once_though_the_queue_is_full(sinks, tmp_path, monkeypatch):
    """For one second in all, and not for the queue and then for the thread."""
    monkeypatch.setattr(live, "_LEAVE", 1.0)
    monkeypatch.setattr(live, "_WAITING", 1)
    with logging_to(["abc"]):
        run = Run.create(tmp_path / "run", Toy())
    run.log([{"step": 1}])
    wait_until(run._live._queue.empty)  # the sink has the first line, and hangs
    for step in (2, 3):
        run.log([{"step": step}])
    began = time.monotonic()
    run.close()
    assert 1.0 <= time.monotonic() - began < 1.9


def test_texts_of_a_picture_are_no_formulas():
    """As which they would be refused."""
    table = pa.table({"outcome": [r"$\frac$", "$x$"], "count": [2, 1]})
    assert live._bars("outcomes", table).startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_stops_nothing(sinks, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise AttributeError("half a library")

    monkeypatch.setattr(live, "_bars", broken)
    made(tmp_path / "run", ["json"])
    assert "a picture failed (AttributeError: half a library)" in capsys.readouterr().err
    assert [call[0] for call in Heard.calls].count("outcomes") == 3


def test_a_run_that_is_read_is_not_watched(sinks, tmp_path):
    made(tmp_path / "run")
    Heard.calls = []
    with logging_to(["json"]):
        assert Run.open(tmp_path / "run").metrics()
    assert Heard.calls == []


def test_an_absent_library_is_refused_before_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ipsrl.runs.sinks.find_spec", lambda _: None)
    out = tmp_path / "run"
    words = ["train", "hypergrid", *TINY, "--out", str(out), "--log-to", "wandb"]
    assert main(words) == 1
    assert 'pip install "ipsrl[wandb]"' in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_sink_is_refused():
    with pytest.raises(ConfigError, match="--log-to comet is unknown"), logging_to(["comet"]):
        pass


# --- the libraries themselves --------------------------------------------------------------------


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    assert made(out, ["tensorboard"])
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [
        (1, 0.5), (2, 1.0), (3, 1.5)
    ]  # fmt: skip
    (picture, _) = events.Images("outcomes/picture")
    assert picture.encoded_image_string[:4] == b"\x89PNG"
    assert (picture.width, picture.height) == (700, 148)  # 7 x (1 + 2 * .24) inches of 100 dots
    text = events.Tensors("outcomes")[-1].tensor_proto.string_val[0].decode()
    assert text.splitlines()[2] == "| 0 | 7 | 3 | 2 |"
    # The folder is the run's own, and the run goes on to be one.
    assert "tensorboard/" in Run.open(out).files.listed


def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason='it is in "ipsrl[wandb]"')
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert made(tmp_path / "run", ["wandb"]) == made(tmp_path / "alone")
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert b"outcomes" in kept.read_bytes()


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason='it is in "ipsrl[mlflow]"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # where there is no database
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    assert made(tmp_path / "run", ["mlflow"]) == made(tmp_path / "alone")
    client = mlflow.MlflowClient()
    (experiment,) = [one for one in client.search_experiments() if one.name == "ipsrl"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {"rate": "0.5"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_trackio(tmp_path):
    """In a process of its own: it reads where to write as it is imported."""
    if find_spec("trackio") is None:
        pytest.skip('it is in "ipsrl[trackio]"')
    words = [*TINY, "--out", str(tmp_path / "run"), "--log-to", "trackio"]
    done = subprocess.run(
        [sys.executable, "-m", "ipsrl", "train", "hypergrid", *words],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"failed" not in done.stderr
    (kept,) = (tmp_path / "trackio").rglob("*.db")
    assert b"total_l1" in kept.read_bytes() + b"".join(
        path.read_bytes() for path in kept.parent.glob("*.db-wal")
    )
