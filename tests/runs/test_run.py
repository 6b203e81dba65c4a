"""A run directory holds whole files, drops what no checkpoint covers, and runs no foreign code."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from run_families import contents
from small_runs import IDS, REWARDS, Toy

import ipsrl
from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError, RunError
from ipsrl.runs import Run


def advance(run: Run, step: int) -> None:
    """What a trainer does up to its checkpoint at `step`."""
    run.log([{"step": step, "loss": 1 / step}])
    run.log_outcomes(step, IDS, REWARDS)
    run.checkpoint(step, {"weights": np.arange(step, dtype=np.float32)})


def steps_of_outcomes(run: Run) -> list[int]:
    return sorted(set(pq.read_table(run.outcomes_path)["step"].to_pylist()))


def test_a_new_run_holds_its_configuration_and_environment(run):
    assert run.config(Toy) == Toy()
    environment = json.loads((run.directory / "environment.json").read_bytes())
    assert environment["config_digest"] == Toy().digest()
    assert environment["versions"]["ipsrl"] == ipsrl.__version__
    assert environment["versions"]["numpy"] == np.__version__
    assert run.metrics() == []
    assert run.restore() is None
    assert not run.finished


def test_an_existing_run_is_not_overwritten(run):
    with pytest.raises(RunError, match=f"--resume {run.directory}"):
        Run.create(run.directory, Toy(rate=0.25))
    assert run.config(Toy) == Toy()


def test_a_directory_without_a_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"not a run directory.*--out"):
        Run.open(tmp_path)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Run.create(tmp_path / "file" / "run", Toy())


def test_a_run_of_another_kind_is_refused(run):
    class Other(StrictConfig):
        speed: float = 0.5

    with pytest.raises(ConfigError, match=r"unknown key 'rate'; no key is like it"):
        run.config(Other)


def test_restore_returns_the_newest_checkpoint(run):
    for step in (1, 2, 3):
        advance(run, step)
    step, arrays = run.restore()
    assert step == 3
    np.testing.assert_array_equal(arrays["weights"], np.arange(3, dtype=np.float32))
    assert arrays["weights"].dtype == np.float32
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    assert steps_of_outcomes(run) == [1, 2, 3]


def test_restore_drops_what_came_after_the_checkpoint(run):
    advance(run, 1)
    advance(run, 2)
    run.log([{"step": 3, "loss": 0.0}])
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 4, "lo')  # a line that death cut
    run.log_outcomes(3, IDS, REWARDS)
    assert run.restore()[0] == 2
    assert [row["step"] for row in run.metrics()] == [1, 2]
    assert steps_of_outcomes(run) == [1, 2]


def test_without_a_checkpoint_everything_is_dropped(run):
    run.log([{"step": 1}])
    run.log_outcomes(1, IDS, REWARDS)
    assert run.restore() is None
    assert run.metrics() == []
    assert steps_of_outcomes(run) == []


def test_restore_is_idempotent(run):
    advance(run, 1)
    run.restore()
    before = {path: path.read_bytes() for path in run.directory.rglob("*") if path.is_file()}
    run.restore()
    assert {path: path.read_bytes() for path in before} == before


def test_arrays_without_their_json_are_no_checkpoint(run):
    advance(run, 1)
    (run.directory / "checkpoints" / "step-000000000002.safetensors").write_bytes(b"half of i")
    assert run.restore()[0] == 1


def test_two_checkpoints_are_kept(run):
    for step in range(1, 6):
        advance(run, step)
    names = sorted(path.name for path in (run.directory / "checkpoints").iterdir())
    assert names == [
        f"step-{step:012d}.{kind}" for step in (4, 5) for kind in ("json", "safetensors")
    ]


def test_steps_are_ordered_as_numbers(run):
    for step in (9, 10, 100):
        advance(run, step)
    assert run.restore()[0] == 100


def test_a_result_makes_a_run_finished(run):
    listed = {"files": [f"{run.directory.name}/"]}  # as a sweep lists its runs, and is none itself
    (run.directory.parent / "files.json").write_text(json.dumps(listed))
    with pytest.raises(RunError, match=rf"has not ended.*--resume {run.directory}\."):
        run.result()
    run.finish({"total_l1": [0.25, None]}, {"terminal": np.eye(2)})
    assert run.finished
    assert run.result() == {"total_l1": [0.25, None]}
    np.testing.assert_array_equal(run.arrays()["terminal"], np.eye(2))


def test_no_arrays_are_no_arrays(run):
    run.finish({}, {})
    assert run.arrays() == {}


def test_a_result_that_is_not_json_leaves_the_run_unfinished(run):
    with pytest.raises(ValueError, match="JSON"):
        run.finish({"total_l1": float("nan")}, {})
    assert not run.finished


def test_arrays_that_are_a_pickle_run_no_code(run, tmp_path):
    canary = tmp_path / "canary"
    # A pickle that would call os.system("touch canary").
    payload = b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    advance(run, 1)
    (run.directory / "checkpoints" / "step-000000000001.safetensors").write_bytes(payload)
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        run.restore()
    (run.directory / "arrays.safetensors").write_bytes(payload)
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        run.arrays()
    assert not canary.exists()


def test_metrics_that_lost_lines_are_refused_and_stay(run):
    advance(run, 1)
    run.metrics_path.write_bytes(run.metrics_path.read_bytes()[:-5])
    before = contents(run.directory)
    with pytest.raises(RunError, match=rf"{run.metrics_path} cannot be read \(it has"):
        run.restore()
    assert contents(run.directory) == before


def test_a_run_says_what_has_become_of_it(tmp_path):
    with Run.create(tmp_path / "run", Toy()) as run:
        advance(run, 1)
        assert Run.open(tmp_path / "run").state == "running"
    assert Run.open(tmp_path / "run").state == "stopped"
    with Run.resume(tmp_path / "run", Toy()) as run:
        run.finish({})
    assert Run.open(tmp_path / "run").state == "ended"


def end(directory, error: BaseException) -> None:
    with Run.create(directory, Toy()) as run:
        advance(run, 1)
        raise error


def test_the_error_that_ended_a_run_is_kept_until_it_goes_on(tmp_path):
    """So that the same configuration leaves the same files, however often it failed."""
    with pytest.raises(ValueError, match="broken"):
        end(tmp_path / "run", ValueError("broken"))
    failed = Run.open(tmp_path / "run")
    assert (failed.state, failed.failure()) == ("failed", "ValueError: broken")
    with Run.resume(tmp_path / "run", Toy()) as run:
        assert (run.state, run.failure()) == ("running", "")
        run.finish({})
    assert not (tmp_path / "run" / "failure.json").exists()


def test_a_stop_is_not_a_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        end(tmp_path / "run", KeyboardInterrupt())
    assert Run.open(tmp_path / "run").state == "stopped"


def test_a_line_without_an_end_is_not_a_line_yet(tmp_path):
    with Run.create(tmp_path / "run", Toy()) as run:
        advance(run, 1)
        with run.metrics_path.open("ab") as file:
            file.write(b'{"step": 2, "lo')
    assert [row["step"] for row in Run.open(tmp_path / "run").metrics()] == [1]
