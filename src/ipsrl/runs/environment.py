"""The start of a run: environment.json."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ipsrl.config import StrictConfig

_PACKAGES = (
    "ipsrl", "numpy", "jax", "jaxlib", "optax", "equinox", "torch", "transformers", "trl", "rdkit",
)  # fmt: skip


def environment(config: StrictConfig, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Family, versions, git revision, digests of the configuration and of input files."""
    return {
        "family": family(type(config)),
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


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The differences between the inputs of two runs, in words; "" if there are none."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{n}: {before.get(n, 'none')}, now {now.get(n, 'none')}" for n in names)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed, in this order."""
    found: dict[str, str] = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _git_revision() -> str | None:
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():  # installed: a repository around it is somebody else's
        return None
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
