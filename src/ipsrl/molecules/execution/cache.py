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
from ipsrl.molecules.component import Component, Failure
from ipsrl.molecules.execution.processes import Elsewhere

WAIT = 60.0  # seconds for another process that writes
_FOREIGN = (
    "SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"
)


class Cached:
    """A component that is asked only for what the file does not hold.

    A file that cannot be read or written any more, such as one that another process keeps locked,
    is waited for once in a batch and warned of; the answers are kept for the next batch.

    Args:
      component: with an `identity`.
      path: of the SQLite file; made if it is not there.
    Raises:
      ConfigError: if the file cannot be used.
    """

    def __init__(self, component: Component, path: str) -> None:
        self.component, self.path = component, path
        self.identity = f"{component.identity}, RDKit {rdBase.rdkitVersion}"  # pyright: ignore
        self._unwritten: dict[str, float] = {}
        self._reached = self._warned = False
        try:
            with self._open() as database:
                if database.execute(_FOREIGN).fetchall():
                    raise sqlite3.DatabaseError("it has views, triggers or virtual tables")
                database.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (smiles TEXT, identity TEXT, value REAL, "
                    "PRIMARY KEY (smiles, identity)) WITHOUT ROWID"
                )
                database.execute("SELECT smiles, identity, value FROM answers LIMIT 1")
        except sqlite3.Error as error:
            raise ConfigError(
                f"cache = {path!r} cannot be used ({error}). Name a file that the cache made and "
                "that no other process keeps locked, or one that is not there yet."
            ) from None

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        self._reached = True
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
            self._lost("read", error)
        return found | {text: self._unwritten[text] for text in smiles if text in self._unwritten}

    def _keep(self, answers: dict[str, float | Failure]) -> None:
        self._unwritten |= {t: v for t, v in answers.items() if not isinstance(v, Failure)}
        if not (self._reached and self._unwritten):
            return
        rows = [(text, self.identity, value) for text, value in self._unwritten.items()]
        try:
            with self._open() as database:
                database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._lost("written", error)
        else:
            self._unwritten, self._warned = {}, False

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, whose changes are made all at once at the end, or not at all."""
        database = sqlite3.connect(self.path, timeout=WAIT)
        try:
            database.execute("PRAGMA trusted_schema = OFF")  # of a file of somebody else
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last values
            with database:
                yield database
        finally:
            database.close()

    def _lost(self, what: str, error: sqlite3.Error) -> None:
        """Without the file for the rest of the batch; one warning until it is written again."""
        self._reached = False
        if not self._warned:
            warnings.warn(
                f"the cache {self.path} cannot be {what}: {error}. The search goes on without it, "
                "and tries again with each batch.",
                stacklevel=2,
            )
        self._warned = True
