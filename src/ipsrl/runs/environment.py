"""The start of a run: environment.json."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ipsrl.config import StrictConfig
from ipsrl.errors import RunError

_PACKAGES = (
    "ipsrl", "numpy", "jax", "jaxlib", "optax", "equinox", "torch", "transformers", "trl", "rdkit",
)  # fmt: skip
_IPSRL = Path(__file__).parents[1]  # what it holds changes with the version, not with the run


def environment(config: StrictConfig, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Family, command, versions, git revision, digests of configuration and input files."""
    typed = _command()
    return {
        "family": family(type(config)),
        **({"command": typed} if typed else {}),
        "config_digest": config.digest(),
        "seeds": {key: value for key, value in config if key.startswith("seed")},
        "git_revision": _git_revision(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": installed_versions(_PACKAGES),
        "inputs": dict(inputs),
    }


def family(model: type[StrictConfig]) -> str:
    """The family of a configuration, such as grids: the package that defines it, or its base."""
    ours = (kind.__module__ for kind in model.__mro__ if kind.__module__.startswith("ipsrl."))
    return next(ours).split(".")[1]


def check_same(
    directory: Path,
    written: StrictConfig,
    config: StrictConfig,
    begun: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> None:
    """A run goes on as it was started.

    Args:
      directory: of the run, for the error.
      written: configuration in its config.toml.
      config: configuration that it is to go on with.
      begun: its environment.json.
      inputs: versions and digests, by name, that it is to go on with.
    Raises:
      RunError: if config.toml was edited, or the configuration or an input is another.
    """
    if written.digest() != begun.get("config_digest"):
        raise RunError(
            f"{directory}/config.toml is not what the run was started with, so it cannot go on. "
            "Undo the change (or take the version of ipsrl that environment.json names), or start "
            "a new run elsewhere."
        )
    if written != config:
        raise RunError(
            f"{directory} was started with another configuration, so it cannot go on with this "
            "one. Pass the configuration in its config.toml, or start a new run elsewhere."
        )
    if changed := differences(begun.get("inputs", {}), inputs):
        raise RunError(
            f"{directory} was started with other files or versions ({changed}), so what it "
            "computed cannot go on with these. Undo the change, or start a new run elsewhere."
        )


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The differences between the inputs of two runs, in words; "" if there are none."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{n}: {before.get(n, 'none')}, now {now.get(n, 'none')}" for n in names)


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, one after another."""
    found = sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
    return found.hexdigest()


def digests(named: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Short digests by name; what has no file, or comes with ipsrl, has none."""
    return {
        name: digest_of(paths)[:16]
        for name, paths in named.items()
        if paths and not paths[0].absolute().is_relative_to(_IPSRL)
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, in this order."""
    found: dict[str, str] = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _command() -> str:
    """The words of `ipsrl` as they were typed; "" if another program made the run."""
    program = Path(sys.argv[0]).parts
    is_ours = program[-1:] == ("ipsrl",) or program[-2:] == ("ipsrl", "__main__.py")
    return shlex.join(["ipsrl", *sys.argv[1:]]) if is_ours else ""


def _git_revision() -> str | None:
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():  # installed: a repository around it is somebody else's
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
