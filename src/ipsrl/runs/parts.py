"""Tables that grow: a file for the new rows of each checkpoint, and one of all at the end.

To add rows costs as much as there are, however many were added before.  While a run goes on there
are NAME/step-N.parquet, and after it NAME.parquet alone.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ipsrl.runs.folder import Folder
from ipsrl.runs.formats import as_parquet, read_parquet


class Parts:
    """One such table in the folder of a run; its rows have a column `step`."""

    def __init__(self, files: Folder, name: str) -> None:
        self.files, self.name, self.whole = files, name, f"{name}.parquet"

    def add(self, step: int, table: pa.Table) -> None:
        """Write new rows, of the checkpoint of that step; may be none."""
        (self.files.path / self.name).mkdir(exist_ok=True)
        self.files.write(self._part(step), as_parquet(table))

    def rows(self) -> pa.Table:
        """All rows that were added, in order."""
        return pa.concat_tables([self._read(name) for name in self._written()])

    def read(self) -> pa.Table | None:
        """The table as it is now, whole or in parts; None where there is none yet."""
        if self.whole in self.files:
            return self._read(self.whole)
        return self.rows() if self._written() else None

    def join(self) -> pa.Table:
        """Make one table of all, and return it."""
        table = self.rows()
        self.files.write(self.whole, as_parquet(table))
        self._remove(self._parts())
        return table

    def cut(self, step: int) -> None:
        """Go back to the checkpoint of a step: what came after it is dropped.

        A death within `join` may have left the whole table: it becomes a part again.
        """
        if self.whole in self.files:
            table = self._read(self.whole)
            self.add(step, table.filter(pc.field("step") <= step))
            self._remove([name for name in self._parts() if name != self._part(step)])
            self._remove([self.whole])
        self._remove([name for name in self._parts() if name > self._part(step)])

    def _part(self, step: int) -> str:
        return f"{self.name}/step-{step:012d}.parquet"

    def _parts(self) -> list[str]:
        return sorted(one for one in self.files.listed if one.startswith(f"{self.name}/step-"))

    def _written(self) -> list[str]:
        """Those that can be read: a death may have left the last one listed alone."""
        names = self._parts()
        return names if names and names[-1] in self.files else names[:-1]

    def _read(self, name: str) -> pa.Table:
        return read_parquet(self.files.path / name)

    def _remove(self, names: list[str]) -> None:
        self.files.remove(names)
        if not self._parts():
            folder = self.files.path / self.name
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
