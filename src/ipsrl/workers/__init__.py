"""Separate environments for tools whose requirements clash with those of ipsrl.

    install("verl")        builds one from verl.txt beside this file, with ipsrl in it
    interpreter("verl")    its Python

They lie in $IPSRL_WORKERS, by default $XDG_DATA_HOME/ipsrl/workers.  An environment counts only
with its stamp, the digest of the requirements, which is written last: an installation that failed,
was killed, or is of other requirements is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

from ipsrl.errors import InvalidInput, RunError

FOLDER = Path(__file__).parent  # NAME.txt for each
STAMP = "requirements.sha256"


def install(name: str) -> Path:
    """Build the environment, unless it is there already; pip reports on standard error.

    Args:
      name: one of `names()`.
    Returns:
      the folder of the environment.
    Raises:
      InvalidInput: for an unknown name.
      RunError: if pip fails, or the folder holds something else.
    """
    requirements, folder = _requirements(name), _folder(name)
    if _is_ready(name):
        return folder
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise RunError(
            f"{folder} is not empty and not an environment of Python, so it is left as it is. "
            "Move it away, or set IPSRL_WORKERS to another folder."
        )
    (folder / STAMP).unlink(missing_ok=True)  # first: what follows may be killed at any point
    venv.create(folder, clear=True, with_pip=True)
    pip = [_python(folder), "-m", "pip", "install", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--requirement", requirements, *_ipsrl()], stdout=2)
    if done.returncode:
        raise RunError(
            f"pip failed for the worker environment {name!r} in {folder} (its report is above), so "
            f"tools in it cannot run. Mend the cause, and repeat:  ipsrl workers install {name}"
        )
    (folder / STAMP).write_text(_digest(requirements))
    return folder


def interpreter(name: str) -> Path:
    """The Python of an installed environment.

    Raises:
      InvalidInput: for an unknown name.
      RunError: if it is not installed, or not from the requirements of this version.
    """
    if not _is_ready(name):
        raise RunError(
            f"the worker environment {name!r} is not in {_folder(name)}, or is an older one. "
            f"Build it with:  ipsrl workers install {name}"
        )
    return _python(_folder(name))


def names() -> list[str]:
    """The names of all environments."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def status() -> dict[str, Path | None]:
    """The interpreter of every environment, None if it is not installed."""
    return {name: _python(_folder(name)) if _is_ready(name) else None for name in names()}


def _is_ready(name: str) -> bool:
    digest, stamp = _digest(_requirements(name)), _folder(name) / STAMP
    return stamp.is_file() and stamp.read_text() == digest


def _requirements(name: str) -> Path:
    if name not in names():
        raise InvalidInput(
            f"there is no worker environment {name!r}. Use one of: {', '.join(names())}."
        )
    return FOLDER / f"{name}.txt"


def _digest(requirements: Path) -> str:
    return sha256(requirements.read_bytes()).hexdigest()


def _folder(name: str) -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    home = os.environ.get("IPSRL_WORKERS") or Path(data) / "ipsrl" / "workers"
    return Path(home).absolute() / name


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _ipsrl() -> list[str]:
    """This version of ipsrl as arguments of pip: the checkout, its origin, or its version."""
    checkout = FOLDER.parents[2]
    if (checkout / "pyproject.toml").is_file():
        return ["--editable", str(checkout)]
    installed = distribution("ipsrl")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return [f"ipsrl @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"]
    return [f"ipsrl @ {origin['url']}" if origin else f"ipsrl=={installed.version}"]
