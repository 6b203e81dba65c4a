"""An environment is there exactly if its installation was completed from the same requirements."""

import subprocess
import sys
import zipfile

import pytest

from ipsrl import workers
from ipsrl.errors import InvalidInput, RunError


def wheel(folder, name, version="1.0"):
    """A package with one empty module: a wheel is a zip file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Requirements of a worker `tool`, without the network; ipsrl is a small stand-in."""
    (tmp_path / "requirements").mkdir()
    requirements = tmp_path / "requirements" / "tool.txt"
    requirements.write_text(f"{wheel(tmp_path, 'hammer')}\n")
    monkeypatch.setattr(workers, "FOLDER", requirements.parent)
    monkeypatch.setattr(workers, "_ipsrl", lambda: [str(wheel(tmp_path, "ipsrl"))])
    monkeypatch.setenv("IPSRL_WORKERS", str(tmp_path / "workers"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return requirements


def output(code):
    python = workers.interpreter("tool")
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def test_a_life(tool, tmp_path, capfd):
    with pytest.raises(RunError, match="ipsrl workers install tool"):
        workers.interpreter("tool")

    # A failure leaves nothing that counts, although there is a Python.
    good = tool.read_text()
    tool.write_text(good + "./no-such.whl\n")
    with pytest.raises(RunError, match="pip failed"):
        workers.install("tool")
    assert workers._python(workers._folder("tool")).exists()
    assert workers.status() == {"tool": None}

    # Over it, the right requirements; pip reports on standard error.
    tool.write_text(good)
    capfd.readouterr()
    folder = workers.install("tool")
    assert folder == tmp_path / "workers" / "tool"
    assert output("import hammer, ipsrl, sys; print(sys.prefix)") == str(folder)
    assert workers.status() == {"tool": workers.interpreter("tool")}
    captured = capfd.readouterr()
    assert "hammer" in captured.err
    assert not captured.out

    workers.install("tool")  # again is nothing
    assert "hammer" not in capfd.readouterr().err

    # With other requirements it is not the one asked for.
    tool.write_text(good + "# and nails\n")
    with pytest.raises(RunError, match="older"):
        workers.interpreter("tool")


def test_a_killed_installation_does_not_count(tool):
    # The process dies in its first subprocess, when the folder has a Python and no packages.
    code = (
        "import os, signal, subprocess\n"
        "from pathlib import Path\n"
        "from ipsrl import workers\n"
        f"workers.FOLDER = Path({str(tool.parent)!r})\n"
        "subprocess.run = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "workers.install('tool')"
    )
    (workers._folder("tool")).mkdir(parents=True)
    (workers._folder("tool") / "pyvenv.cfg").touch()
    stamp = workers._folder("tool") / workers.STAMP
    stamp.write_text("of older requirements")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert workers._python(workers._folder("tool")).exists()
    assert not stamp.exists()
    with pytest.raises(RunError):
        workers.interpreter("tool")


def test_a_folder_of_the_user_is_left_as_it_is(tool):
    notes = workers._folder("tool") / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(RunError, match="IPSRL_WORKERS"):
        workers.install("tool")
    assert notes.read_text() == "mine"


def test_an_unknown_name_is_told_the_known_ones():
    for function in (workers.install, workers.interpreter):
        with pytest.raises(InvalidInput, match="'nail'.*verl"):
            function("nail")


def test_the_default_place_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("IPSRL_WORKERS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert workers._folder("verl") == tmp_path / "ipsrl" / "workers" / "verl"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workers._folder("verl") == tmp_path / ".local/share/ipsrl/workers/verl"


def test_the_worker_gets_this_checkout():
    option, checkout = workers._ipsrl()
    assert option == "--editable"
    assert workers.__file__.startswith(f"{checkout}/src/ipsrl")


def test_every_requirement_is_pinned():
    for name in workers.names():
        for line in workers._requirements(name).read_text().splitlines():
            assert not line or line.startswith("#") or "==" in line, f"{name}: {line}"
