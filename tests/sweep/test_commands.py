"""A sweep makes every run once; what fails is said, and the others go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import submitit  # noqa: F401 (its import closes the handlers of absl, and with them a captured stream)
from helpers import HANGS
from tiny_grid import files

from ipsrl.cli import main
from ipsrl.runs import Folder, Run
from ipsrl.runs.lock import is_held
from ipsrl.sweep.jobs import Job

TINY = """
train = "hypergrid"
seeds = 2
[config]
side = 3
policy = "tabular"
group_size = 4
batch = 4
iterations = {iterations}
eval_every = 1
checkpoint_every = 1
[grid]
method = ["grpo", "ips-grpo"]
"""


def written(folder, iterations=2):
    file = folder / "tiny.toml"
    file.write_text(TINY.format(iterations=iterations))
    return file


def test_runs_are_made_once_and_compared(tmp_path, monkeypatch, capfd):
    """One process at a time, then a second command that has nothing to do."""
    monkeypatch.chdir(tmp_path)
    words = ["sweep", str(written(tmp_path)), "--workers", "1", "--json"]
    assert main([*words, "-v"]) == 0
    told = capfd.readouterr()
    assert "sweep: 0% \n" in told.err  # and not that 0 runs had ended before
    assert "sweep: 50% method=grpo ended" in told.err  # which run each line is about
    rows = json.loads(told.out)
    out = tmp_path / "runs" / "tiny"
    assert rows == json.loads((out / "table.json").read_text())
    assert [row["values"] for row in rows] == [{"method": "grpo"}, {"method": "ips-grpo"}]
    for row in rows:
        (run,) = row["runs"]
        result = Run.open(out / run).result()
        assert row["measures"]["total_l1"]["values"] == result["total_l1"]
        # The median of two seeds lies half-way between them.
        assert row["measures"]["total_l1"]["median"] == pytest.approx(sum(result["total_l1"]) / 2)
    assert "<svg" in (out / "sweep.svg").read_text()
    before = files(out)
    assert main(words[:-1]) == 0
    said = capfd.readouterr()
    assert "ips-grpo" in said.out
    assert "sweep: 100%" in said.err
    assert main([*words[:-1], "-q"]) == 0
    assert capfd.readouterr().err == ""
    assert files(out) == before
    assert not is_held(out)


def test_a_run_that_crashes_is_told_and_the_others_go_on(tmp_path, capfd):
    """A file lies where the first run would be; it is made when that is gone."""
    file, out = written(tmp_path), tmp_path / "out"
    out.mkdir()
    words = ["sweep", str(file), "--out", str(out), "--workers", "1"]
    broken = out / "method=grpo" / "notes.txt"
    # The folder is the sweep's own by its list, and yet not empty when the run begins.
    (out / "files.json").write_text(json.dumps({"files": ["method=grpo/"]}))
    broken.parent.mkdir()
    broken.write_text("mine")
    assert main(words) == 1
    said = capfd.readouterr()
    assert "method=grpo failed: ended with code 1: " in said.err
    assert "is not empty (it holds notes.txt)" in said.err
    assert "method=ips-grpo ended (1 failed so far)" in said.err
    rows = json.loads((out / "table.json").read_text())
    assert [row["measures"]["total_l1"] is None for row in rows] == [True, False]
    assert list(rows[0]["failed"]) == ["method=grpo"]
    broken.unlink()
    assert main(words) == 0
    rows = json.loads((out / "table.json").read_text())
    assert [row["failed"] for row in rows] == [{}, {}]


def test_a_run_without_a_value_has_failed_also_when_the_sweep_goes_on(tmp_path, capfd):
    (tmp_path / "oracle.py").write_text("def score(smiles):\n    raise OSError('no licence')\n")
    (tmp_path / "oracle.toml").write_text(
        "budget = 8\nbatch = 8\n[[components]]\nkind = 'function'\nfunction = 'oracle.py:score'\n"
    )
    file, out = tmp_path / "s.toml", tmp_path / "out"
    file.write_text("train = 'molecules'\nbase = 'oracle.toml'\n[grid]\nlr = [1e-4]\n")
    words = ["sweep", str(file), "--out", str(out), "--workers", "1"]
    tables = []
    for _ in range(2):
        assert main(words) == 1
        tables.append((out / "table.json").read_bytes())
    assert tables[0] == tables[1]
    said = capfd.readouterr()
    assert "no oracle call has a value" in said.err
    assert "no licence" in said.err
    assert "written to" not in said.err
    assert "To run it again, remove" in said.out


def test_a_sweep_that_is_killed_goes_on(tmp_path, capsys):
    """Its runs die with it, and end as if nothing had happened."""
    many = 20_000  # iterations, of which each is a checkpoint: it will not be over before the kill
    file, out = written(tmp_path, many), tmp_path / "out"
    command = [sys.executable, "-m", "ipsrl", "sweep", str(file), "--out", str(out)]
    process = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + HANGS
    runs = [out / "method=grpo", out / "method=ips-grpo"]
    while not all(list(run.glob("checkpoints/*.json")) for run in runs):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    assert main(command[3:]) == 1  # the same sweep at the same time
    assert "is being written by process" in capsys.readouterr().err
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_held(out)
    for run in runs:
        while (run / "lock.json").exists() and _is_locked(run):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not (run / "result.json").exists()
        assert Run.open(run).metrics()


def test_a_sweep_begins_under_slurm_and_goes_on(tmp_path):
    """With submitit's local executor; in a process of its own, as it logs to what pytest closes."""
    file, out = written(tmp_path), tmp_path / "out"
    file.write_text(file.read_text().replace('["grpo", "ips-grpo"]', '["grpo"]'))
    words = ["sweep", file, "--out", out, "--slurm", "partition=any"]
    env = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}  # without sbatch
    for _ in range(2):
        shutil.rmtree(out / "method=grpo", ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-m", "ipsrl", *map(str, words)], env=env, capture_output=True,
            text=True, timeout=HANGS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert Run.open(out / "method=grpo").result()


def _is_locked(run) -> bool:
    """Whether the process that the lock names still lives."""
    try:
        os.kill(json.loads((run / "lock.json").read_text())["process"], 0)
    except (ValueError, ProcessLookupError):
        return False
    return True


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--ray", "auto", "--slurm"], "are two places"),
        (["--workers", "0"], "runs nothing"),
        (["--slurm", "partition"], "write KEY=VALUE"),
        (["--slurm", "nonsense=1"], "is refused by submitit"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused_before_work(words, why, tmp_path, capsys):
    file, out = written(tmp_path), tmp_path / "out"
    assert main(["sweep", str(file), "--out", str(out), *words]) == 2
    assert why in capsys.readouterr().err
    assert not out.exists()


def test_a_misspelt_measure_is_refused_before_work(tmp_path, capsys):
    file, out = written(tmp_path), tmp_path / "out"
    file.write_text(f'measures = ["totl_l1"]\n{file.read_text()}')
    assert main(["sweep", str(file), "--out", str(out)]) == 2
    assert "no number 'totl_l1'; the nearest is 'total_l1'" in capsys.readouterr().err
    assert not out.exists()


def test_runs_of_another_configuration_are_not_mixed_in(finished, tmp_path, capsys):
    """`finished` is a run of other keys, where a cell would be."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "method=grpo").symlink_to(finished)
    assert main(["sweep", str(written(tmp_path)), "--out", str(out)]) == 1
    assert "holds a run of another configuration" in capsys.readouterr().err


def test_sinks_of_a_sweep_watch_every_run(tmp_path):
    job = Job("hypergrid", tmp_path / "a", ("tensorboard", "mlflow"))
    assert job.command()[-3:] == ["--log-to", "tensorboard", "mlflow"]


def test_tables_of_other_commands_are_not_overwritten(tmp_path, capsys):
    """Rows of an item have no failures, and a table that nobody listed is the user's."""
    file, item, mine = written(tmp_path), tmp_path / "item", tmp_path / "mine"
    folder = Folder.make(item)
    for name in ("table.json", "index.html"):
        folder.write(name, b"[{}]")
    mine.mkdir()
    (mine / "table.json").write_text("[{}]")
    for out, why in ((item, "holds the table of `ipsrl reproduce`"), (mine, "is in the way")):
        assert main(["sweep", str(file), "--out", str(out)]) == 1
        assert why in capsys.readouterr().err
        assert (out / "table.json").read_text() == "[{}]"
    Folder.make(tmp_path / "swept").write("sweep.svg", b"")
    assert main(["reproduce", "figure-3", "--out", str(tmp_path / "swept")]) == 1
    assert "holds the table of `ipsrl sweep`" in capsys.readouterr().err
