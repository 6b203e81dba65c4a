"""The program of a worker process: a component, asked for one molecule at a time.

    {"component": {...}, "timeout": 60.0}    {"identity": "..."}, or {"error": "..."}
    {"smiles": "CCO"}                        {"value": 1.0}, {"failure": "..."}, {"timeout": "..."}

`ipsrl.molecules.execution.processes` starts it, and kills it where its own limit does not reach: in
native code that does not come back.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from rdkit import RDLogger

from ipsrl.errors import words
from ipsrl.molecules.component import Component, Failure, Timeout, guarded
from ipsrl.molecules.config import ComponentConfig
from ipsrl.molecules.scoring.build import build
from ipsrl.workers.lines import serve


class _TimeIsUp(BaseException):
    """Not an Exception, which the code of a component may well catch."""


class Server:
    """Answers the requests of one `processes.Worker`."""

    def __init__(self) -> None:
        self.component: Component | None = None
        self.error = "no component was asked for"
        self.timeout = 0.0

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if "component" in request:
            return self._build(request["component"], request["timeout"])
        match self._value(request["smiles"]):
            case Timeout(reason):
                return {"timeout": reason}
            case Failure(reason):
                return {"failure": reason}
            case value:
                return {"value": value}

    def _build(self, config: dict[str, Any], timeout: float) -> dict[str, Any]:
        self.timeout = timeout
        try:
            self.component = build(ComponentConfig(**config))
        except Exception as error:
            self.error = words(error)
            return {"error": self.error}
        return {"identity": getattr(self.component, "identity", "")}

    def _value(self, smiles: str) -> float | Failure:
        if self.component is None:
            return Failure(self.error)
        try:
            signal.setitimer(signal.ITIMER_REAL, self.timeout)
            (value,) = self.component([smiles])
            signal.setitimer(signal.ITIMER_REAL, 0)
        except _TimeIsUp:
            _kill_children()
            return Timeout(f"no answer in {self.timeout:g} s")
        except Exception as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return Failure(words(error))
        return guarded(lambda: value)


def _stop(*_: object) -> None:
    raise _TimeIsUp


def _kill_children() -> None:
    """A program that the component ran would go on: kill all of the group but the guard and us."""
    group = os.getpgrp()  # the number of the guard
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        with suppress(ProcessLookupError, PermissionError):
            if pid not in (group, os.getpid()) and os.getpgid(pid) == group:
                os.kill(pid, signal.SIGKILL)


def main() -> None:
    signal.signal(signal.SIGALRM, _stop)
    RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]
    serve(Server())


if __name__ == "__main__":
    main()
