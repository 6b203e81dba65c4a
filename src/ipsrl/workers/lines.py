"""Programs that answer JSON lines: one request line in, one answer line out, in order.

    with Lines([interpreter("tool"), "-m", "tool_program"], timeout=60) as lines:
        lines.ask({"smiles": "CCO"})

`serve` is the other side, for programs in Python.  A program that hangs, dies or answers garbage
costs one request, and is started again for the next.  Nothing of it outlives this process, however
that ends: the program reads the end of its input, and a guard in its process group kills the group.
(Only a child that leaves the group, as a daemon does, gets away; and a fork of this process keeps
the program as long as it lives itself.)
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import IO, Any

from ipsrl.errors import RunError

LONGEST = 2**24  # bytes of an answer; a program that prints without end must not fill the memory
SHOWN = 2000  # bytes of standard error that are kept for the message


class WorkerDied(RunError):
    """The program cannot be started, ended without an answer, or does not keep to the protocol."""


class WorkerTimeout(RunError):
    """The program did not answer in time."""


class Lines:
    """A program that is asked one request at a time, from one thread.

    It starts with the first request.  After a failure it is killed with all its children, and the
    next request starts it again.

    Args:
      command: the program and its arguments.
      timeout: seconds for one answer; for the first after a start they include the start.
    """

    def __init__(self, command: Sequence[str | os.PathLike[str]], timeout: float) -> None:
        self.command, self.timeout = [os.fspath(part) for part in command], timeout
        self._guard: subprocess.Popen[bytes] | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._errors = b""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; {"error": ...} is an answer like any other.

        Raises:
          WorkerTimeout: if there is none within the limit.
          WorkerDied: if the program cannot be started, ends, or writes anything but one line with
            a JSON object for one request.
        """
        line = json.dumps(request).encode() + b"\n"
        deadline = monotonic() + self.timeout
        if self._program is not None and self._program.poll() is not None:
            self.close()  # it died while nothing was asked: no fault of this request
        try:
            program = self._program or self._start()
            return self._parse(self._exchange(program, line, deadline))
        except BaseException:  # also Ctrl-C: the answer under way would pass for the next one
            self.close()
            raise

    def close(self) -> None:
        """Kill the program and its children; a later request starts it again."""
        guard, program, self._guard, self._program = self._guard, self._program, None, None
        if guard is not None:
            os.killpg(guard.pid, signal.SIGKILL)  # the group is ours until the guard is reaped
            guard.communicate()
        if program is not None:
            program.wait()
            for stream in _streams(program):
                stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        # The guard waits for a line that never comes; its input ends when this process does.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", "read line; kill -KILL 0"],
            stdin=pipe, stdout=null, stderr=null, process_group=0,
        )  # fmt: skip
        self._errors = b""
        try:
            self._program = subprocess.Popen(
                self.command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe,
                process_group=self._guard.pid,
            )  # fmt: skip
        except OSError as error:
            raise WorkerDied(self._message(f"cannot be started: {error}")) from None
        for stream in _streams(self._program):
            os.set_blocking(stream.fileno(), False)
        return self._program

    def _exchange(self, program: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
        """Write the request and read the answer at once, so that neither side blocks the other."""
        stdin, stdout, stderr = _streams(program)
        if unasked := stdout.read(SHOWN):
            raise WorkerDied(self._message(f"wrote without having been asked: {unasked[:200]!r}"))
        answer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while b"\n" not in answer:
                if (left := deadline - monotonic()) <= 0:
                    raise WorkerTimeout(self._message(f"gave no answer in {self.timeout:g} s"))
                events = selector.select(min(left, 0.1))
                # Children may keep its output open, which then does not end with it.
                if not events and program.poll() is not None:
                    raise self._ended(program)
                for key, _ in events:
                    if key.fileobj is stdin:
                        request = _written(stdin, request)
                        if not request:
                            selector.unregister(stdin)
                    elif key.fileobj is stderr:
                        if not self._keep_errors(stderr):
                            selector.unregister(stderr)
                    elif chunk := stdout.read(2**16):
                        answer += chunk
                    else:
                        raise self._ended(program)
                if len(answer) > LONGEST:
                    raise WorkerDied(self._message(f"wrote {len(answer)} bytes without a line end"))
        return answer

    def _parse(self, answer: bytes) -> dict[str, Any]:
        line, _, more = answer.partition(b"\n")
        try:
            parsed = None if more else json.loads(line)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise WorkerDied(
                self._message(f"answered what is not one JSON object: {answer[:200]!r}")
            )
        return parsed

    def _ended(self, program: subprocess.Popen[bytes]) -> WorkerDied:
        try:
            end = f"ended with code {program.wait(timeout=1)} and without an answer"
        except subprocess.TimeoutExpired:
            end = "closed its output without an answer"
        self._keep_errors(_streams(program)[2])
        return WorkerDied(self._message(end))

    def _keep_errors(self, stderr: IO[bytes]) -> bytes | None:
        """Read some standard error, of which the end is kept; b"" when it has ended."""
        if chunk := stderr.read(2**16):
            self._errors = (self._errors + chunk)[-SHOWN:]
        return chunk

    def _message(self, trouble: str) -> str:
        words = self._errors.decode(errors="replace").strip()
        tail = f". The end of its standard error:\n{words}" if words else ""
        return f"the worker program {trouble} ({' '.join(self.command)}){tail}"


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests of `Lines` until the input ends; an exception is answered as {"error": ...}.

    What else the program prints, libraries in C included, goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        try:
            reply = json.dumps(answer(json.loads(line)))
        except Exception as error:
            reply = json.dumps({"error": f"{type(error).__name__}: {error}"})
        print(reply, file=answers, flush=True)


def _streams(program: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    stdin, stdout, stderr = program.stdin, program.stdout, program.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    return stdin, stdout, stderr


def _written(stdin: IO[bytes], request: bytes) -> bytes:
    """What is left of the request; nothing if the program reads no more."""
    try:
        return request[stdin.write(request) or 0 :]
    except BrokenPipeError:
        return b""
