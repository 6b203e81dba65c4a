"""Values of components that outlast a run: SQLite, shared by processes and runs.

The key is the molecule and all that its value depends on: the `identity` of the component, and the
version of RDKit, whose canonical SMILES change.  Only values are kept, never failures.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rdkit import rdBase

from ipsrl.errors import ConfigError
from ipsrl.molecules.executor import Elsewhere
from ipsrl.molecules.scoring import Component, Failure

WAIT = 60.0  # seconds for another process that writes


class Cached:
    """A component that is asked only for what the file does not hold.

    A file that cannot be read or written any more costs time, not answers: it is warned of.

    Args:
      component: with an `identity`.
      path: of the SQLite file; made if it is not there.
    Raises:
      ConfigError: if the file cannot be used.
    """

    def __init__(self, component: Component, path: str) -> None:
        self.component, self.path = component, path
        self.identity = f"{component.identity}, RDKit {rdBase.rdkitVersion}"  # pyright: ignore
        try:
            with self._open() as database:
                database.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (smiles TEXT, identity TEXT, value REAL, "
                    "PRIMARY KEY (smiles, identity)) WITHOUT ROWID"
                )
                database.execute("SELECT smiles, identity, value FROM answers LIMIT 1")
        except sqlite3.Error as error:
            raise ConfigError(
                f"cache = {path!r} cannot be used ({error}). "
                "Name a file that the cache made, or one that is not there yet."
            ) from None

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        answers = self._known(smiles)
        asked = [text for text in dict.fromkeys(smiles) if text not in answers]
        if isinstance(self.component, Elsewhere):
            for text, answer in self.component.arrivals(asked):
                answers[text] = answer
                self._keep({text: answer})  # at once: the others may take long
        elif asked:
            found = dict(zip(asked, self.component(asked), strict=True))
            self._keep(found)
            answers |= found
        return [answers[text] for text in smiles]

    def _known(self, smiles: Sequence[str]) -> dict[str, float | Failure]:
        query = "SELECT value FROM answers WHERE smiles = ? AND identity = ?"
        found: dict[str, float | Failure] = {}
        try:
            with self._open() as database:
                for text in smiles:
                    for (value,) in database.execute(query, (text, self.identity)):
                        if isinstance(value, float) and math.isfinite(value):
                            found[text] = value
        except sqlite3.Error as error:
            self._warn("read", error)
        return found

    def _keep(self, answers: dict[str, float | Failure]) -> None:
        rows = [
            (text, self.identity, answer)
            for text, answer in answers.items()
            if not isinstance(answer, Failure)
        ]
        try:
            with self._open() as database:
                database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._warn("written", error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, whose changes are made all at once at the end, or not at all."""
        database = sqlite3.connect(self.path, timeout=WAIT)
        try:
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last values
            with database:
                yield database
        finally:
            database.close()

    def _warn(self, what: str, error: sqlite3.Error) -> None:
        warnings.warn(f"the cache {self.path} cannot be {what}: {error}", stacklevel=2)
