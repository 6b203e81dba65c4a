"""Nothing that happens to a training process changes its result: death, signals, a full disk.

The law of every test here: the files of a run that was interrupted and continued equal those of
the run that was left in peace, byte for byte.
"""

import functools
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from killing import checkpoints, start, survive, wait_for_progress

import ipsrl.grids.loop
from ipsrl.cli import main
from ipsrl.errors import RunError
from ipsrl.grids import Config, train
from ipsrl.runs import Run

# Three checkpoints of two evaluations each; the third chunk is cut short by the end.
SMALL = Config(
    side=4, policy="tabular", group_size=8, batch=16, iterations=5, eval_every=1,
    checkpoint_every=2, seeds=2, lr=0.1, advantage_clip=2.0,
)  # fmt: skip
# Sixty checkpoints, so that a kill finds the process writing more often than not.
LONG = Config(
    side=5, hidden=8, group_size=32, batch=32, iterations=600, eval_every=10,
    checkpoint_every=10, seeds=2,
)  # fmt: skip


def options(config: Config) -> list[str]:
    changed = config.model_dump(exclude_defaults=True).items()
    return [word for key, value in changed for word in (f"--{key.replace('_', '-')}", str(value))]


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a run; environment.json may differ between machines, and a death after the
    result leaves lock.json."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in ("environment.json", "lock.json")
    }


def differences(directory: Path, reference: Path) -> list[str]:
    ours, theirs = contents(directory), contents(reference)
    return [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]


@pytest.fixture(scope="module")
def compiled():
    """The real loop, compiled once per configuration instead of once per call of `train`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipsrl.grids.loop, "Loop", functools.cache(ipsrl.grids.loop.Loop))
        yield


@pytest.fixture(scope="module")
def in_peace(compiled, tmp_path_factory) -> dict[Config, Path]:
    """Runs that nothing happened to."""
    runs = {}
    for config in (SMALL, LONG):
        runs[config] = tmp_path_factory.mktemp("peace") / "run"
        train(config, runs[config])
    return runs


def go_on(config: Config, directory: Path) -> None:
    """What a user does after an interruption."""
    begun = (directory / "config.toml").exists()
    train(config, directory, resume=begun)


# --- same configuration and seed, same files ------------------------------------------------------


def test_same_configuration_and_seed_twice_give_the_same_files(in_peace, tmp_path):
    again = tmp_path / "again"
    with pytest.MonkeyPatch.context() as patch:
        # compiled anew, as in a new process
        patch.setattr(ipsrl.grids.loop, "Loop", ipsrl.grids.loop.Loop.__wrapped__)
        train(SMALL, again)
    names = {"result.json", "metrics.jsonl", "outcomes.parquet", "arrays.safetensors"}
    assert {"config.toml", *names} <= set(contents(again))
    assert differences(again, in_peace[SMALL]) == []


@pytest.mark.promise(number=7)
def test_another_process_with_another_hash_seed_gives_the_same_files(
    in_peace, tmp_path, record_property
):
    out = tmp_path / "elsewhere"
    command = [sys.executable, "-m", "ipsrl", "train", "hypergrid", *options(SMALL)]
    environment = {**os.environ, "PYTHONHASHSEED": "4242"}
    subprocess.run([*command, "--out", out], env=environment, check=True, capture_output=True)
    assert differences(out, in_peace[SMALL]) == []
    record_property("figure", f"hypergrid: {len(contents(out))} files")


def test_another_seed_gives_other_files(in_peace, tmp_path):
    """Else the tests of equal files could not fail."""
    other = tmp_path / "other"
    train(SMALL.model_copy(update={"seed": 7}), other)
    changed = differences(other, in_peace[SMALL])
    assert {"metrics.jsonl", "outcomes.parquet", "arrays.safetensors", "result.json"} <= {*changed}


def test_a_seed_does_not_depend_on_the_seeds_beside_it(in_peace, tmp_path):
    alone = tmp_path / "alone"
    train(SMALL.model_copy(update={"seed": 1, "seeds": 1}), alone)
    together = Run.open(in_peace[SMALL])
    mine = [row for row in together.metrics() if row["seed"] == 1]
    for row, expected in zip(Run.open(alone).metrics(), mine, strict=True):
        # Another batch shape may round differently in the last bits of float32.
        assert row.pop("mode_mass") == pytest.approx(expected.pop("mode_mass"), rel=1e-4, abs=1e-6)
        assert row.keys() == expected.keys()
        for name, value in row.items():  # None where it is not known
            assert value == (expected[name] and pytest.approx(expected[name], rel=1e-4, abs=1e-6))


# --- death at every write -------------------------------------------------------------------------


class Death(BaseException):
    """Like kill -9, no `except Exception` and no `except OSError` sees it."""


class Reaper:
    """Counts what touches the disk, and dies before the `at`-th time.

    With `torn`, a death at a sync leaves the end of that file unwritten.
    """

    def __init__(self, die, at: int | None = None, torn: bool = False) -> None:
        self.die, self.at, self.torn = die, at, torn
        self.seen: list[str] = []

    def _meets(self, what: str, path: Path) -> bool:
        self.seen.append(f"{what} {path.name}")
        return len(self.seen) - 1 == self.at

    def install(self, patch: pytest.MonkeyPatch) -> None:
        fsync, truncate = os.fsync, os.truncate
        replace, unlink = Path.replace, Path.unlink

        def dying_fsync(descriptor):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if self._meets("sync", path):
                status = os.fstat(descriptor)
                if self.torn and stat.S_ISREG(status.st_mode):
                    # The journal is appended to: only its last line is at risk, not the file.
                    keep = status.st_size - 9 if path.suffix == ".jsonl" else status.st_size // 2
                    os.ftruncate(descriptor, max(keep, 0))
                self.die()
            fsync(descriptor)

        def dying(what, act):
            def wrapped(path, *rest, **options):
                if self._meets(what, Path(path)):
                    self.die()
                return act(path, *rest, **options)

            return wrapped

        patch.setattr(os, "fsync", dying_fsync)
        patch.setattr(os, "truncate", dying("truncate", truncate))
        patch.setattr(Path, "replace", dying("rename", replace))
        patch.setattr(Path, "unlink", dying("delete", unlink))


def die_softly():
    raise Death


def writes_of(config: Config, directory: Path) -> list[str]:
    """Everything that a whole run does to the disk, in order."""
    with pytest.MonkeyPatch.context() as patch:
        reaper = Reaper(die_softly)
        reaper.install(patch)
        train(config, directory)
    return reaper.seen


def die_in(directory: Path, at: int, torn: bool, *, resume: bool = False) -> bool:
    """Train SMALL until the `at`-th write; whether it died."""
    with pytest.MonkeyPatch.context() as patch:
        Reaper(die_softly, at, torn).install(patch)
        try:
            train(SMALL, directory, resume=resume)
        except Death:
            return True
    return False


def test_the_reaper_meets_every_kind_of_write(in_peace, tmp_path):
    seen = writes_of(SMALL, tmp_path / "run")
    assert differences(tmp_path / "run", in_peace[SMALL]) == []  # watching changes nothing
    for what in (
        "rename config.toml.tmp",
        "sync metrics.jsonl",
        "sync outcomes.parquet.tmp",
        "rename outcomes.parquet.tmp",
        "sync step-000000000002.safetensors.tmp",
        "rename step-000000000002.safetensors.tmp",
        "sync step-000000000002.json.tmp",
        "rename step-000000000002.json.tmp",
        "sync checkpoints",
        "delete step-000000000002.json",
        "delete step-000000000002.safetensors",
        "rename result.json.tmp",
    ):
        assert what in seen


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_death_before_any_write_changes_nothing(torn, in_peace, tmp_path):
    seen = writes_of(SMALL, tmp_path / "count")
    failures = []
    for at, what in enumerate(seen):
        if torn and not what.startswith("sync"):
            continue
        directory = tmp_path / f"dies-{at}"
        assert die_in(directory, at, torn)
        go_on(SMALL, directory)
        if changed := differences(directory, in_peace[SMALL]):
            failures.append((at, what, changed))
    assert failures == []


@pytest.mark.slow  # each death starts processes; those of the first run are tested above
def test_death_of_the_continued_run_too_changes_nothing(in_peace, tmp_path):
    """The first death is in the second checkpoint; then every write of the continuation."""
    seen = writes_of(SMALL, tmp_path / "count")
    first = seen.index("rename step-000000000004.json.tmp")
    failures, at, died = [], 0, True
    while died:
        directory = tmp_path / f"dies-{at}"
        assert die_in(directory, first, torn=True)
        if died := die_in(directory, at, torn=True, resume=True):
            go_on(SMALL, directory)
        if changed := differences(directory, in_peace[SMALL]):
            failures.append((at, changed))
        at += 1
    assert at > 10  # the continuation writes a checkpoint and the result
    assert failures == []


def die_hard_at(directory: str, at: str, torn: str) -> None:
    """Body of a child process that really dies: nothing is flushed, closed or cleaned up."""
    with pytest.MonkeyPatch.context() as patch:
        Reaper(lambda: os._exit(137), int(at), torn == "True").install(patch)
        train(SMALL, Path(directory))


def child_dies(directory: Path, at: int, torn: bool) -> None:
    words = [str(directory), str(at), str(torn)]
    script = f"import test_resume; test_resume.die_hard_at(*{words!r})"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert child.returncode == 137, child.stderr.decode()


@pytest.mark.parametrize(
    ("what", "torn"),
    [
        ("sync outcomes.parquet.tmp", False),  # after the metrics
        ("sync step-000000000004.json.tmp", True),  # after the outcomes and the arrays
    ],
)
def test_death_of_a_process_at_a_checkpoint_changes_nothing(what, torn, in_peace, tmp_path):
    seen = writes_of(SMALL, tmp_path / "count")
    at = len(seen) - 1 - seen[::-1].index(what) if "outcomes" in what else seen.index(what)
    child_dies(tmp_path / "run", at, torn)
    go_on(SMALL, tmp_path / "run")
    assert differences(tmp_path / "run", in_peace[SMALL]) == []


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_death_of_a_process_at_every_write_of_a_checkpoint_changes_nothing(
    torn, in_peace, tmp_path
):
    seen = writes_of(SMALL, tmp_path / "count")
    # From the end of the second checkpoint to the end of the third, which drops the first.
    first = seen.index("rename step-000000000004.json.tmp") + 1
    last = seen.index("delete step-000000000002.safetensors") + 1
    failures = []
    for at in range(first, last + 1):
        directory = tmp_path / f"dies-{at}"
        child_dies(directory, at, torn)
        go_on(SMALL, directory)
        if changed := differences(directory, in_peace[SMALL]):
            failures.append((at, seen[at], changed))
    assert failures == []


# --- kill -9 at random moments --------------------------------------------------------------------


def survives(kills: int, folder: Path, reference: Path) -> str:
    def check(directory: Path) -> None:
        assert differences(directory, reference) == []

    return survive(kills, folder, ["hypergrid", *options(LONG)], check)


def test_three_kills_change_nothing(in_peace, tmp_path):
    survives(3, tmp_path, in_peace[LONG])


@pytest.mark.slow
@pytest.mark.promise(number=5)
def test_twenty_kills_change_nothing(in_peace, tmp_path, record_property):
    record_property("figure", survives(20, tmp_path, in_peace[LONG]))


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.promise(number=18)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_signal_stops_the_run_and_it_can_be_continued(
    number, code, in_peace, tmp_path, record_property
):
    directory = tmp_path / "run"
    process = start("train", "hypergrid", *options(LONG), "--out", directory)
    wait_for_progress(process, directory, set())
    process.send_signal(number)
    message = process.communicate()[1]
    assert process.returncode == code, message
    assert not Run.open(directory).finished
    assert f"ipsrl train hypergrid --resume {directory}" in message
    assert "Traceback" not in message
    assert main(["train", "hypergrid", "--resume", str(directory)]) == 0
    assert differences(directory, in_peace[LONG]) == []
    record_property("figure", f"hypergrid: {signal.Signals(number).name}")


def test_a_finished_run_may_be_continued_and_stays_as_it_is(in_peace, tmp_path):
    directory = tmp_path / "run"
    train(SMALL, directory)
    before = contents(directory)
    result = train(SMALL, directory, resume=True)
    assert contents(directory) == before
    assert result.total_l1 == Run.open(directory).result()["total_l1"]


# --- a disk that is full or read-only -------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", point]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a small disk")
    yield point
    subprocess.run(["umount", point], check=True)


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    free = os.statvfs(disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return filler


def make_read_only(disk: Path) -> None:
    """The mount, not the file system: that would be busy while a thread of Arrow closes a file."""
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)


@pytest.mark.promise(number=18)
@pytest.mark.parametrize("leave", [52, 60], ids=lambda leave: f"{leave}-KiB")
def test_a_full_disk_loses_nothing(leave, compiled, in_peace, disk, record_property):
    """Room for a few checkpoints; then the growing journal, of 23 KiB in the end, has none."""
    filler, directory = fill(disk, leave * 1024), disk / "run"
    with pytest.raises((OSError, RunError)):
        train(LONG, directory)
    run = Run.open(directory)
    step = json.loads((directory / "checkpoints" / max(checkpoints(directory))).read_bytes())[
        "step"
    ]
    assert 0 < step < LONG.iterations
    filler.unlink()
    train(LONG, run.directory, resume=True)
    assert differences(directory, in_peace[LONG]) == []
    record_property("figure", f"hypergrid: full disk, after {step} of {LONG.iterations} steps")


@pytest.mark.promise(number=18)
def test_a_full_disk_is_explained(compiled, disk, capsys, record_property):
    fill(disk, 52 * 1024)
    out = disk / "run"
    assert main(["train", "hypergrid", *options(LONG), "--out", str(out)]) == 1
    message = capsys.readouterr().err
    assert "No space left" in message
    assert f"--resume {out}" in message
    record_property("figure", "hypergrid: full disk")


@pytest.mark.promise(number=18)
def test_a_read_only_disk_is_explained_before_any_work(compiled, disk, capsys, record_property):
    make_read_only(disk)
    assert main(["train", "hypergrid", *options(LONG), "--out", str(disk / "run")]) == 1
    message = capsys.readouterr().err
    assert "cannot be written" in message
    assert "Choose another --out" in message
    record_property("figure", "hypergrid: read-only disk")


@pytest.mark.promise(number=18)
def test_continuing_on_a_read_only_disk_is_explained(compiled, disk, capsys, record_property):
    directory = disk / "run"
    die_in(directory, at=40, torn=False)
    before = contents(directory)
    make_read_only(disk)
    assert main(["train", "hypergrid", "--resume", str(directory)]) == 1
    message = capsys.readouterr().err
    assert str(directory) in message
    assert "Read-only" in message or "cannot be written" in message
    assert contents(directory) == before
    record_property("figure", "hypergrid: read-only disk")


# --- what cannot be continued ---------------------------------------------------------------------


def test_a_run_is_not_overwritten(in_peace):
    before = contents(in_peace[SMALL])
    with pytest.raises(RunError, match="--resume"):
        train(SMALL, in_peace[SMALL])
    assert contents(in_peace[SMALL]) == before


def test_nothing_cannot_be_continued(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        train(SMALL, tmp_path / "nowhere", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_continued_with_its_own_configuration_only(in_peace, tmp_path):
    directory = tmp_path / "run"
    die_in(directory, at=40, torn=False)
    before = contents(directory)
    other = SMALL.model_copy(update={"lr": 0.2})
    with pytest.raises(RunError, match="configuration"):
        train(other, directory, resume=True)
    assert contents(directory) == before
