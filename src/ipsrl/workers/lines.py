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
import subprocess
from collections.abc import Callable, Sequence
from time import monotonic
from typing import IO, Any, TypeVar

from ipsrl.errors import RunError, words
from ipsrl.workers.group import ProcessGroup

LONGEST = 2**24  # bytes of an answer; a program that prints without end must not fill the memory
SHOWN = 2000  # bytes of standard error that are kept for the message


class _Trouble(RunError):
    """Attributes:
    trouble: what happened.
    words: what the program wrote to standard error since the request, or the end of it.
    """

    def __init__(self, command: Sequence[str], trouble: str, words: str) -> None:
        super().__init__(command, trouble, words)
        self.trouble, self.words = trouble, words

    def __str__(self) -> str:
        command, trouble, words = self.args
        tail = f". The end of its standard error:\n{words}" if words else ""
        return f"the worker program {' '.join(command)} {trouble}{tail}"


class WorkerDied(_Trouble):
    """The program cannot be started, ended without an answer, or broke the protocol."""


class WorkerTimeout(_Trouble):
    """The program did not answer in time."""


E = TypeVar("E", bound=_Trouble)


class Lines:
    """A program that answers one request at a time, from one thread.

    It starts with the first request.  After a failure it is killed with all its children, and the
    next request starts it again.

    Args:
      command: the program and its arguments.
      timeout: seconds for one answer; for the first after a start they include the start.
      hello: a request that comes first after each start, so that the start has a limit of its own.
      start: seconds for the answer to `hello`.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        timeout: float,
        *,
        hello: dict[str, Any] | None = None,
        start: float = 600.0,
    ) -> None:
        self.command, self.timeout = [os.fspath(part) for part in command], timeout
        self.hello, self.start = hello, start
        self._group: ProcessGroup | None = None
        self._program: subprocess.Popen[bytes] | None = None
        self._errors = b""
        self._greeting: dict[str, Any] = {}

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
        self.ready()
        return self._ask(request, self.timeout)

    def ready(self) -> dict[str, Any]:
        """Start the program unless it runs, and return what it answered to `hello`.

        Raises:
          WorkerTimeout, WorkerDied: as `ask`.
        """
        if self._program is not None and self._program.poll() is not None:
            self.close()  # it died between requests: the next one is not to blame
        if self._program is None and self.hello is not None:
            self._greeting = self._ask(self.hello, self.start)
        return self._greeting

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        try:
            return self._exchange(self._program or self._start(), request, limit)
        except BaseException:  # also on Ctrl-C: a pending answer would be taken for the next
            self.close()
            raise

    def close(self) -> None:
        """Kill the program and its children; a later request starts it again."""
        group, program, self._group, self._program = self._group, self._program, None, None
        if group is not None:
            group.close()
        if program is not None:
            program.wait()
            for stream in _streams(program):
                stream.close()

    def kill(self) -> None:
        """Kill the program and its children, from any thread: a request under way fails."""
        if (group := self._group) is not None:
            group.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        self._errors = b""
        try:
            self._group = ProcessGroup()
            self._program = subprocess.Popen(
                self.command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe,
                process_group=self._group.id,
            )  # fmt: skip
        except OSError as error:
            raise self._trouble(WorkerDied, f"cannot be started: {error}") from None
        for stream in _streams(self._program):
            os.set_blocking(stream.fileno(), False)
        return self._program

    def _exchange(
        self, program: subprocess.Popen[bytes], request: dict[str, Any], limit: float
    ) -> dict[str, Any]:
        """Write the request and read the answer at once, so that neither side blocks the other."""
        stdin, stdout, stderr = _streams(program)
        left_to_write = json.dumps(request).encode() + b"\n"
        deadline = monotonic() + limit
        if unasked := stdout.read(SHOWN):
            raise self._trouble(WorkerDied, f"wrote without having been asked: {unasked[:200]!r}")
        self._keep_errors(stderr)
        self._errors = answer = b""  # text between requests belongs to neither
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while b"\n" not in answer:
                if (left := deadline - monotonic()) <= 0:
                    raise self._trouble(WorkerTimeout, f"gave no answer in {limit:g} s")
                events = selector.select(min(left, 0.1))
                # Children may keep its output open, so it need not end with the program.
                if not events and program.poll() is not None:
                    raise self._ended(program)
                for key, _ in events:
                    if key.fileobj is stdin:
                        left_to_write = _written(stdin, left_to_write)
                        if not left_to_write:
                            selector.unregister(stdin)
                    elif key.fileobj is stderr:
                        if not self._keep_errors(stderr):
                            selector.unregister(stderr)
                    elif chunk := stdout.read(2**16):
                        answer += chunk
                    else:
                        raise self._ended(program)
                if len(answer) > LONGEST:
                    raise self._trouble(WorkerDied, f"wrote {len(answer)} bytes without a line end")
        return self._parse(answer)

    def _parse(self, answer: bytes) -> dict[str, Any]:
        line, _, more = answer.partition(b"\n")
        try:
            parsed = None if more else json.loads(line)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise self._trouble(
                WorkerDied, f"answered what is not one JSON object: {answer[:200]!r}"
            )
        return parsed

    def _ended(self, program: subprocess.Popen[bytes]) -> WorkerDied:
        try:
            end = f"ended with code {program.wait(timeout=1)} and without an answer"
        except subprocess.TimeoutExpired:
            end = "closed its output without an answer"
        self._keep_errors(_streams(program)[2])
        return self._trouble(WorkerDied, end)

    def _keep_errors(self, stderr: IO[bytes]) -> bytes | None:
        """Read some standard error and keep its end; b"" when it has ended."""
        if chunk := stderr.read(2**16):
            self._errors = (self._errors + chunk)[-SHOWN:]
        return chunk

    def _trouble(self, kind: type[E], trouble: str) -> E:
        return kind(self.command, trouble, self._errors.decode(errors="replace").strip())


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests of `Lines` until the input ends; an exception is answered as {"error": ...}.

    What else the program prints, libraries in C included, goes to standard error, and what else
    reads standard input finds nothing.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in requests:
        try:
            reply = json.dumps(answer(json.loads(line)))
        except Exception as error:
            reply = json.dumps({"error": words(error)})
        print(reply, file=answers, flush=True)


def _streams(program: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    stdin, stdout, stderr = program.stdin, program.stdout, program.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    return stdin, stdout, stderr


def _written(stdin: IO[bytes], request: bytes) -> bytes:
    """The rest of the request; nothing if the program has stopped reading."""
    try:
        return request[stdin.write(request) or 0 :]
    except BrokenPipeError:
        return b""
