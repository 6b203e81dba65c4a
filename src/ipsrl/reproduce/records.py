"""Records of the runs of an item, in a file of JSON lines.

A run directory has megabytes, and a record a few kilobytes, which can be kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipsrl.errors import RunError
from ipsrl.runs import write_whole


def read_records(file: Path) -> list[dict[str, Any]]:
    """The records in the order of the lines; none if there is no such file.

    Raises:
      RunError: for a line that is not a record.
    """
    records = []
    for number, line in enumerate(file.read_bytes().splitlines() if file.exists() else (), 1):
        try:
            records.append(json.loads(line))
        except ValueError:
            raise RunError(
                f"line {number} of {file} is not a record, perhaps because it was cut off. Delete "
                "it; its run is measured again."
            ) from None
    return records


def add_record(file: Path, record: dict[str, Any]) -> None:
    """Add a line.  The file is replaced as a whole, so that no reader sees a part of a line."""
    before = file.read_bytes() if file.exists() else b""
    write_whole(file, before + json.dumps(record).encode() + b"\n")
