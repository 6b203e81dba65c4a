"""What JAX has compiled is found again by the next start, and changes nothing but its time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipsrl import user_cache
from ipsrl.user_cache import PROGRAMS, keep_compiled

TINY = [
    "--side", "3", "--hidden", "4", "--group-size", "4", "--batch", "4", "--seeds", "1",
    "--iterations", "2", "--eval-every", "1", "--checkpoint-every", "1",
]  # fmt: skip
SETTINGS = (
    "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)  # fmt: skip
MISS = "PERSISTENT COMPILATION CACHE MISS"


def start(home: Path, out: Path, **settings: str) -> subprocess.Popen:
    """A training in a process of its own, with that cache folder."""
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    environment |= {"XDG_CACHE_HOME": str(home), "JAX_EXPLAIN_CACHE_MISSES": "1", **settings}
    words = [sys.executable, "-m", "ipsrl", "train", "hypergrid", *TINY, "--out", str(out)]
    return subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def said(run: subprocess.Popen) -> str:
    """What a training has said that came to its end."""
    _, text = run.communicate()
    assert run.returncode == 0, text
    return text


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "environment.json"
    }


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> dict[str, bytes]:
    """The run as it is without a cache."""
    folder = tmp_path_factory.mktemp("without")
    one = start(folder / "cache", folder / "run", JAX_ENABLE_COMPILATION_CACHE="off")
    said(one)
    assert not (folder / "cache").exists()
    return contents(folder / "run")


@pytest.fixture(scope="module")
def filled(without, tmp_path_factory) -> Path:
    """A cache that two starts at once have filled."""
    folder = tmp_path_factory.mktemp("filled")
    runs = [start(folder, folder / name) for name in ("a", "b")]
    assert MISS in said(runs[0]) + said(runs[1])
    assert contents(folder / "a") == contents(folder / "b") == without
    return folder


def test_a_start_compiles_nothing_again_and_writes_the_same_bytes(without, filled, tmp_path):
    assert MISS not in said(start(filled, tmp_path / "run"))
    assert contents(tmp_path / "run") == without


def test_programs_are_for_the_user_alone(filled):
    assert (filled / "ipsrl" / "jax").stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_read_is_compiled(without, tmp_path):
    """Programs as a start leaves them that was killed while it wrote."""
    said(start(tmp_path, tmp_path / "first"))
    for path in (tmp_path / "ipsrl" / "jax").glob("*-cache"):
        os.truncate(path, path.stat().st_size // 2)
    text = said(start(tmp_path, tmp_path / "run"))
    assert "Error reading persistent compilation cache entry" in text
    assert contents(tmp_path / "run") == without


def test_a_full_disk_does_not_stop_a_training(without, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a small disk")
    try:
        text = said(start(disk, tmp_path / "run"))
    finally:
        subprocess.run(["umount", disk], check=True)
    assert "Error writing persistent compilation cache entry" in text
    assert contents(tmp_path / "run") == without


# --- the folder -----------------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """Where compiled programs belong for a user who has set nothing."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ipsrl" / "jax"


def chosen() -> str | None:
    keep_compiled()
    return os.environ.get("JAX_COMPILATION_CACHE_DIR")


def test_the_folder_is_in_the_cache_of_the_user(folder, monkeypatch, tmp_path):
    assert chosen() == str(folder)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert chosen() == str(tmp_path / "home" / ".cache" / "ipsrl" / "jax")


@pytest.mark.parametrize("setting", SETTINGS[:2])
def test_settings_of_the_user_hold(folder, monkeypatch, setting):
    monkeypatch.setenv(setting, "off")
    before = dict(os.environ)
    keep_compiled()
    assert dict(os.environ) == before
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_not_used(folder):
    folder.parent.write_text("in the way")
    assert chosen() is None


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_that_others_may_write_is_not_used(folder, mode):
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert chosen() is None


def test_the_folder_of_another_user_is_not_used(folder):
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("this process may not give a folder away")
    os.chown(folder, 12345, 12345)
    assert chosen() is None


def test_a_read_only_folder_is_not_used(folder):
    folder.mkdir(mode=0o700, parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=12k,mode=700", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a small disk")
    try:
        assert chosen() is None
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("found", "used"), [("0.9.2", False), ("0.10.1", False), ("0.10.2", True), ("0.11.0rc1", True)]
)
def test_jax_must_be_new_enough(folder, monkeypatch, found, used):
    monkeypatch.setattr(user_cache, "version", lambda name: found)
    assert (chosen() is not None) == used


def test_the_oldest_programs_go(folder):
    folder.mkdir(mode=0o700, parents=True)
    for i in range(PROGRAMS + 2):
        program = folder / f"{i}-cache"
        program.touch()
        os.utime(program, (0, PROGRAMS - i))  # later names are older
    (folder / "of_another_kind").touch()
    keep_compiled()
    left = {path.name for path in folder.iterdir()}
    assert left == {f"{i}-cache" for i in range(PROGRAMS)} | {"of_another_kind"}
