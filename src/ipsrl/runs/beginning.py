"""Where a run may begin, and whether one has."""

from __future__ import annotations

import shlex
from pathlib import Path

from ipsrl.errors import RunError
from ipsrl.runs import folder, lock
from ipsrl.runs.folder import Folder, is_page


def check_empty(directory: Path) -> None:
    """A new run begins in an empty folder, or where nothing but a beginning was left.

    A page of a run that failed before its first step is in nobody's way.

    Raises:
      RunError: for any other, which stays as it is.
    """
    try:
        names = {path.name for path in directory.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise not_written(directory, error) from None
    listed = Folder(directory).listed
    if "config.toml" in listed and "config.toml" in names:
        raise RunError(
            f"{directory} holds a run already, which would be overwritten. "
            f"Continue it with --resume {shlex.quote(str(directory))}, or choose another --out."
        )
    if "config.toml" in listed and has_begun(directory):
        raise RunError(
            f"{directory} holds a run whose config.toml is missing, and a new one would be mixed "
            "into it. Put config.toml back, or choose another --out."
        )
    ours = {folder.LIST, f"{folder.LIST}.tmp", lock.NAME}
    for name in listed:
        top = Path(name).parts[0]
        ours |= {top, f"{top}.tmp"}
    if foreign := [name for name in sorted(names - ours) if not is_page(directory / name)]:
        raise RunError(
            f"{directory} is not empty (it holds {foreign[0]}) and is not a run, so it is left as "
            "it is. Choose another --out, or an empty folder."
        )


def has_begun(directory: Path) -> bool:
    """True if a run, or one within it, has computed anything yet."""
    metrics = directory / "metrics.jsonl"
    return (
        (metrics.is_file() and metrics.stat().st_size > 0)
        or any((directory / "checkpoints").glob("step-*.json"))
        or any(directory.glob("*/config.toml"))
        or (directory / "result.json").exists()
    )


def not_written(directory: Path, error: Exception) -> RunError:
    return RunError(f"{directory} cannot be written ({error}). Choose another --out.")
