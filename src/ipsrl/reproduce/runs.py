"""What the items share: runs that are used again, intervals over seeds, and tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError
from ipsrl.runs import Folder, Run


def train_once(config: StrictConfig, directory: Path, train: Callable[..., Any]) -> None:
    """Train into the directory, unless that is done; go on if it was interrupted.

    Args:
      config: what to train.
      directory: of the run.
      train: of the family that the configuration belongs to.
    Raises:
      ConfigError: if the directory holds a run of another configuration.
    """
    if not (directory / "config.toml").exists():
        train(config, directory)
        return
    run = Run.open(directory)
    if run.config(type(config)) != config:
        raise ConfigError(
            f"{directory} holds a run of another configuration, which would be mixed into this "
            "table. Remove it, or choose another --out."
        )
    if not run.finished:
        train(config, directory, resume=True)


def interval(values: Sequence[float]) -> dict[str, float]:
    """Median and range; of five seeds the range holds the true median with 94 % (1 - 2/2^5)."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def write_rows(out: Path, found: Any, name: str = "table.json") -> None:
    """The rows of a table, or whatever an item found, as JSON."""
    Folder.make(out).write(name, json.dumps(found, indent=2).encode() + b"\n")


def show(table: Table) -> None:
    """Print a table, uncut where nobody looks at a terminal."""
    console = Console()
    if not console.is_terminal:  # a pipe has no width; rich would cut at 80
        console.width = Console(width=1000).measure(table).maximum
    console.print(table)
