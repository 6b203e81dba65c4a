"""Runs on a Ray cluster and under Slurm: what dies with its machine goes on elsewhere."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from helpers import HANGS

from ipsrl.cli import main
from ipsrl.grids import Config
from ipsrl.runs import Run
from ipsrl.sweep.jobs import Job, cause, run_all
from ipsrl.sweep.places import here, on_ray, under_slurm

KEYS = {
    "side": 3, "policy": "tabular", "group_size": 4, "batch": 4, "seeds": 1, "eval_every": 1,
    "checkpoint_every": 1,
}  # fmt: skip
# Ray forks when it starts.  JAX, which other tests of this process may have loaded, warns of that.
forks = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")


def job(out: Path, iterations: int = 2, seed: int = 0) -> Job:
    one = Job("hypergrid", out)
    one.config.write_text(Config(**KEYS, iterations=iterations, seed=seed).dump())
    return one


def test_the_error_of_a_run_is_why_it_failed(tmp_path):
    good, bad = job(tmp_path / "good"), Job("hypergrid", tmp_path / "bad")
    bad.config.write_text("side = 1\n")
    with here() as somewhere:
        ended = dict(run_all([bad, good], somewhere, 1))
    assert ended[good] == ""
    assert ended[bad].startswith("ended with code 2: ")
    assert "side = 1" in ended[bad]
    assert Run.open(good.out).finished


TRACE = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
MemoryError: no room
"""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("warning: few\nipsrl train llm: lr = 0\nwritten to runs/a\n", "lr = 0"),
        (f"training: 5%\n{TRACE}resource_tracker: 1 leaked\n", "MemoryError: no room"),
        ("training: 5%\nSegmentation fault\n\n", "Segmentation fault"),
        ("", "it said nothing"),
    ],
    ids=str,
)
def test_the_cause_is_the_error_and_not_the_last_line(said, why):
    assert cause(said, "llm") == why


def results(run: Path) -> dict[str, bytes]:
    """Files that are the same whenever a run is, interrupted or not."""
    names = ("metrics.jsonl", "outcomes.parquet", "result.json", "arrays.safetensors")
    return {name: (run / name).read_bytes() for name in names}


@pytest.mark.slow
@forks
def test_a_run_whose_machine_dies_goes_on_on_another(tmp_path):
    """Two nodes with one processor each; the second is killed when its run has begun."""
    import ray
    from ray.cluster_utils import Cluster

    long = 300
    jobs = [job(tmp_path / f"run-{seed}", long, seed) for seed in range(2)]
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **small})
    killed: list[bool] = []
    try:
        second = cluster.add_node(**small)

        def kill() -> None:
            deadline = time.monotonic() + HANGS
            while not all(list(one.out.glob("checkpoints/*.json")) for one in jobs):
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            killed.append(not any(Run.open(one.out).finished for one in jobs))
            cluster.remove_node(second, allow_graceful=False)

        killer = Thread(target=kill, daemon=True)
        with on_ray(cluster.address) as somewhere:
            killer.start()
            ended = dict(run_all(jobs, somewhere, 2))
        killer.join(HANGS)
    finally:
        if ray.is_initialized():
            ray.shutdown()
        cluster.shutdown()
    assert killed == [True]
    assert ended == dict.fromkeys(jobs, "")
    alone = job(tmp_path / "alone", long, 1)
    with here() as somewhere:
        assert somewhere(alone) == ""
    assert results(jobs[1].out) == results(alone.out)


@forks
def test_no_cluster_is_told_before_work(tmp_path, capsys):
    file = tmp_path / "tiny.toml"
    file.write_text('train = "hypergrid"\n')
    words = ["sweep", str(file), "--out", str(tmp_path / "out"), "--ray", "nonsense"]
    assert main(words) == 1
    assert "there is no Ray cluster at 'nonsense'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_jobs_of_submitit(tmp_path):
    """Its local executor, as where there is no sbatch; one of the two cannot run."""
    (tmp_path / "bad.toml").write_text("side = 1\n")
    good, alone = job(tmp_path / "good"), job(tmp_path / "alone")
    # In a process of its own: submitit logs to a standard output that pytest closes.
    env = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}  # without sbatch
    words = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert "runs run on this machine" in done.stderr
    ended = json.loads(done.stdout.splitlines()[-1])
    assert ended["good"] == ""
    assert ended["bad"].startswith("ended with code 2: ")
    with here() as somewhere:
        assert somewhere(alone) == ""
    assert results(good.out) == results(alone.out)


def two_jobs(folder: Path) -> None:
    """Print how the jobs good and bad of a folder ended."""
    jobs = [Job("hypergrid", folder / name) for name in ("good", "bad")]
    with under_slurm({"partition": "any"}, folder / "submitit") as somewhere:
        ended = run_all(jobs, somewhere, 2)
        print(json.dumps({one.out.name: said for one, said in ended}))


@pytest.mark.parametrize(
    ("words", "package"), [(["--ray", "auto"], "ray"), (["--slurm", "partition=x"], "submitit")]
)
def test_an_absent_library_is_told_before_work(words, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    file = tmp_path / "tiny.toml"
    file.write_text('train = "hypergrid"\n')
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), *words]) == 1
    assert 'pip install "ipsrl[cluster]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


if __name__ == "__main__":
    two_jobs(Path(sys.argv[1]))
