"""`ipsrl` in processes of their own, forked from one that has imported the libraries.

A command that starts from nothing imports PyTorch and TRL for ten seconds.  Each line of standard
input is a command, answered by the number of its process, and by its exit code when it has ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

LONGEST = 600  # seconds of a command


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


class Commands:
    """The side of the test; a context that ends the process."""

    def __enter__(self) -> Commands:
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__], stdin=pipe, stdout=pipe, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def __call__(
        self, *words: object, folder: Path, meanwhile: Callable[[int], None] | None = None
    ) -> Ended:
        """The command, run in a folder; `meanwhile` gets the number of its process."""
        number = self._ask({"words": [str(word) for word in words], "folder": str(folder)})
        if meanwhile is not None:
            meanwhile(number)
        code = self._answer()
        output, errors = ((folder / name).read_text() for name in ("stdout", "stderr"))
        return Ended(code, output, errors)

    def _ask(self, request: dict[str, object]) -> int:
        assert self._server.stdin is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return self._answer()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def serve() -> None:
    """Returns in each of the forks."""
    for name in ("tyro", "ipsrl.llm.collapse", "ipsrl.llm.training", "ipsrl.molecules.training"):
        import_module(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    while line := os.read(0, 2**20):  # not buffered: the forks read nothing of it
        request = json.loads(line)
        if not (child := os.fork()):
            signal.alarm(LONGEST)  # which ends what hangs
            os.chdir(request["folder"])
            sys.argv = ["ipsrl", *request["words"]]
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open("stdout", flags), 1)
            os.dup2(os.open("stderr", flags), 2)
            return
        os.write(1, f"{child}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"{code}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    serve()
    from ipsrl.cli import main

    sys.exit(main())
