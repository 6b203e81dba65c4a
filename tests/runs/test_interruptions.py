"""What may happen to a run of any family: a second writer, signals, a full or read-only disk.

The law of every test here: nothing that was written is lost, and the run that goes on ends with the
same bytes as the one that was left in peace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_families import NAMES, contents, resumed, started

from ipsrl.cli import main
from ipsrl.runs import Run

HANGS = 300  # seconds after which a process that should have gone on is given up


def process(words: list[str]) -> subprocess.Popen[str]:
    """The command, in a process that heeds Ctrl-C even if ours was started to ignore it."""
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from ipsrl.cli import main; sys.exit(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(pattern: str, out: Path, running: subprocess.Popen[str]) -> None:
    """Until a file of the pattern has content."""
    deadline = time.monotonic() + HANGS
    while not any(path.stat().st_size for path in out.glob(pattern)):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


# --- promise 21: one writer -----------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from ipsrl.runs.lock import Lock

lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for one in running:
        one.kill()
        one.communicate()


def hold(directory: Path, running: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A process that has locked the directory."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    running.append(other)
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    return other


@pytest.mark.promise(number=21)
@pytest.mark.parametrize("name", NAMES)
def test_a_second_writer_is_refused_and_told_who_writes(
    name, families, in_peace, tmp_path, holder, capsys, record_property
):
    # In its own place: the model's run within one of HypoSpace knows its prompts by their path.
    out, whole = in_peace[name], tmp_path / "whole"
    shutil.copytree(out, whole)
    (out / "result.json").unlink()
    other = hold(out, holder)
    other.send_signal(signal.SIGSTOP)  # a stopped process holds its lock
    before = contents(out)
    capsys.readouterr()
    assert main(resumed(families[name], out)) == 1
    message = capsys.readouterr().err
    assert f"{out} is being written by process {other.pid} on" in message
    assert ", since 20" in message
    assert contents(out) == before
    other.kill()  # the lock of a dead process is taken over
    other.wait()
    assert (out / "lock.json").exists()
    assert main(resumed(families[name], out)) == 0
    assert families[name].differences(out, whole) == []
    assert not (out / "lock.json").exists()
    record_property("figure", f"{name}: refused while stopped, taken over when dead")


@pytest.mark.slow
@pytest.mark.promise(number=21)
@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_run_is_not_joined_by_another(
    name, families, in_peace, tmp_path, record_property
):
    out = tmp_path / "run"
    first = process(started(families[name], out))
    wait_for(families[name].begun, out, first)
    first.send_signal(signal.SIGSTOP)
    before = contents(out)
    second = process(resumed(families[name], out))
    message = second.communicate(timeout=HANGS)[1]
    assert second.returncode == 1
    assert f"is being written by process {first.pid}" in message
    assert contents(out) == before
    first.send_signal(signal.SIGCONT)
    message = first.communicate(timeout=HANGS)[1]
    assert first.returncode == 0, message
    assert families[name].differences(out, in_peace[name]) == []
    record_property("figure", f"{name}: a running command, stopped by SIGSTOP")


# --- promise 18: signals and disks ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.promise(number=18)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("name", NAMES[1:])  # of grids in test_resume.py
def test_a_signal_stops_the_run_and_it_goes_on(
    name, number, families, in_peace, tmp_path, record_property
):
    out = tmp_path / "run"
    running = process(started(families[name], out))
    wait_for(families[name].saved, out, running)
    running.send_signal(number)
    message = running.communicate(timeout=HANGS)[1]
    assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM), message
    assert f"continue with: ipsrl train {name} --resume {out}" in message
    assert "Traceback" not in message
    assert not (out / "result.json").exists()
    assert main(resumed(families[name], out)) == 0
    assert families[name].differences(out, in_peace[name]) == []
    record_property("figure", f"{name}: {number.name}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    point = tmp_path / "a disk"  # a path that a shell needs quotes for
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", point]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a small disk")
    yield point
    subprocess.run(["umount", point], check=True)


def used(disk: Path) -> int:
    free = os.statvfs(disk)
    return (free.f_blocks - free.f_bavail) * free.f_frsize


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return filler


@pytest.mark.promise(number=18)
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_loses_nothing(
    name, families, in_peace, disk, tmp_path, capsys, record_property
):
    """Room for a checkpoint or more, and not for all that a run writes."""
    family, out = families[name], disk / "run"
    whole = shutil.copytree(in_peace[name], disk / "whole")
    needs = used(disk)
    shutil.rmtree(whole)
    words = [*started(family, tmp_path / "run")[:-1], str(out)]
    filler = fill(disk, needs * 6 // 10)
    capsys.readouterr()
    assert main(words) == 1
    message = capsys.readouterr().err
    assert f"--resume '{out}'" in message
    assert "Traceback" not in message
    assert any(out.glob(family.saved))  # it had begun
    assert not (out / "result.json").exists()
    filler.unlink()
    assert main(resumed(family, out)) == 0
    assert family.differences(out, in_peace[name]) == []
    record_property("figure", f"{name}: full disk")


@pytest.mark.promise(number=18)
@pytest.mark.parametrize("name", NAMES)
def test_a_read_only_disk_is_told_before_any_work(
    name, families, in_peace, disk, tmp_path, capsys, record_property
):
    family, out = families[name], disk / "run"
    shutil.copytree(in_peace[name], disk / "begun")
    (disk / "begun" / "result.json").unlink()
    before = contents(disk)
    words = started(family, tmp_path / "run")[:-1]
    # The mount, not the file system: that would be busy while a thread of Arrow closes a file.
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    capsys.readouterr()
    for command in ([*words, str(out)], resumed(family, disk / "begun")):
        assert main(command) == 1
        message = capsys.readouterr().err
        assert "cannot be written" in message
        assert "Read-only file system" in message
        assert "Traceback" not in message
        assert "%" not in message  # no progress was made
    assert contents(disk) == before
    record_property("figure", f"{name}: read-only disk")


# --- a run that has ended -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_finished_run_says_again_how_it_ended(name, families, in_peace, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(in_peace[name], out)
    before = contents(out)
    capsys.readouterr()
    assert main(resumed(families[name], out)) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"written to {out}"
    assert len(told) > 1
    assert contents(out) == before
    assert Run.open(out).finished
