"""Components in processes that can be killed: no call is lost, and nothing hangs.

    with Processes(config) as component:      config.workers processes
        component(["CCO", "CCC"])             as the component itself, in order

Each process holds the component and is asked for one molecule at a time.  When the limit runs out,
a signal stops Python code, and the process lives on; what does not come back from native code is
killed `GRACE` seconds later, with its children.  A process that died, or answered garbage, is
started again and asked once more.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from queue import SimpleQueue

from ipsrl.errors import ConfigError, RunError
from ipsrl.molecules.component import Failure, Timeout
from ipsrl.molecules.config import ComponentConfig
from ipsrl.workers.lines import Lines, WorkerDied, WorkerTimeout

GRACE = 1.0  # seconds that a worker has, after its limit, to say that it ran out


class Worker:
    """A component in a process of its own, one molecule at a time.

    Args:
      config: of the component.
    """

    def __init__(self, config: ComponentConfig) -> None:
        self.retries = config.retries
        self.identity = ""
        self._stopped = False
        self._lines = Lines(
            # -P: what lies in the current folder must not pass for a library.
            [sys.executable, "-P", "-m", "ipsrl.molecules.scoring.worker"], config.timeout + GRACE,
            hello={"component": config.model_dump(mode="json"), "timeout": config.timeout},
        )  # fmt: skip

    def start(self) -> str:
        """Build the component there; returns its `identity`.

        Raises:
          ConfigError: if it cannot be built.
          WorkerDied, WorkerTimeout: if the process does not start.
        """
        answer = self._lines.ready()
        if "error" in answer:
            raise ConfigError(answer["error"])
        self.identity = answer["identity"]
        return self.identity

    def ask(self, smiles: str) -> float | Failure:
        """Value of a canonical SMILES, or why there is none.

        Raises:
          RunError: if the process had to be started again and is another component now.
        """
        failure = Failure("the workers were stopped")
        for _ in range(1 + self.retries):
            if self._stopped:
                break
            try:
                self._start_again()
                return self._answer(self._lines.ask({"smiles": smiles}))
            except WorkerTimeout as late:
                return Timeout(f"the worker {late.trouble} and was killed")
            except WorkerDied as death:
                last = death.words.splitlines()[-1:]
                failure = Failure(": ".join([f"the worker {death.trouble}", *last])[:200])
        return failure

    def stop(self) -> None:
        """Kill the process and start no other; may be called from any thread."""
        self._stopped = True
        self._lines.kill()

    def close(self) -> None:
        """End the process and its children."""
        self._lines.close()

    def _start_again(self) -> None:
        """Start the process, unless it runs."""
        greeting = self._lines.ready()
        if "error" in greeting:
            self.close()  # the next attempt builds the component anew
            raise WorkerDied(self._lines.command, f"cannot be built again: {greeting['error']}", "")
        if greeting["identity"] != self.identity:
            raise RunError(
                "a worker was started again and has other files or versions than the run began "
                "with, so its values cannot be mixed with those before. Undo the change and go on "
                "with --resume, or begin a new run."
            )

    def _answer(self, answer: dict[str, object]) -> float | Failure:
        match answer:
            case {"value": float(value)} if math.isfinite(value):
                return value
            case {"failure": str(reason)}:
                return Failure(reason)
            case {"timeout": str(reason)}:
                return Timeout(reason)
        self.close()  # what it says next is not to be trusted either
        raise WorkerDied(self._lines.command, f"answered {answer!r:.80}", "")


class Elsewhere(ABC):
    """A component that is computed in workers; a context that ends them.

    Attributes:
      identity: of the component.
    """

    identity: str

    @abstractmethod
    def arrivals(self, smiles: Iterable[str]) -> Iterator[tuple[str, float | Failure]]:
        """Each of these different SMILES once, with its answer, as the answers arrive."""

    @abstractmethod
    def close(self) -> None:
        """End the workers and their children, also those that are at work."""

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        answers = dict(self.arrivals(dict.fromkeys(smiles)))
        return [answers[text] for text in smiles]


class Processes(Elsewhere):
    """A component in processes on this machine.

    Args:
      config: of the component.
    Raises:
      ConfigError: if it cannot be built.
      RunError: if a file or version that it depends on changes meanwhile.
    """

    def __init__(self, config: ComponentConfig) -> None:
        self._workers = [Worker(config) for _ in range(config.workers)]
        self._threads = ThreadPoolExecutor(config.workers)
        self._asked: list[Future[float | Failure]] = []
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        try:
            identities = set(self._threads.map(Worker.start, self._workers))
            if len(identities) > 1:
                raise RunError(
                    f"the workers of {config.column!r} have different files or versions, because "
                    "one of these was changed while they started, so their values cannot be "
                    "mixed. Begin again when nothing changes any more."
                )
            (self.identity,) = identities
        except BaseException:
            self.close()
            raise

    def arrivals(self, smiles: Iterable[str]) -> Iterator[tuple[str, float | Failure]]:
        asked = {self._threads.submit(self._ask, text): text for text in smiles}
        self._asked = list(asked)
        for future in as_completed(asked):
            yield asked[future], future.result()

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        while True:  # a thread may have been about to start a process again
            for worker in self._workers:
                worker.stop()
            if not wait(self._asked, timeout=0.05).not_done:
                break
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def _ask(self, smiles: str) -> float | Failure:
        worker = self._free.get()
        try:
            return worker.ask(smiles)
        finally:
            self._free.put(worker)
