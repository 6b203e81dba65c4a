"""Components on a Ray cluster: the same worker processes, on whatever machines there are.

Each of the component's workers is an actor of Ray that holds a `Worker`, and so keeps its limits
and its retries.  If an actor dies, with its machine for example, another takes its place as soon as
there is room, and the molecule that it was at is asked again.  The molecule is the key: one that
was answered is never asked or counted again.

RAY_ADDRESS names the cluster; without it one is started that only this machine can reach.  Ray
sends pickles between its own processes, so a cluster should be one that you trust.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

from ipsrl.errors import ConfigError, IpsrlError, MissingExtra, RunError
from ipsrl.molecules.component import Failure
from ipsrl.molecules.config import ComponentConfig
from ipsrl.molecules.execution.processes import Elsewhere, Worker

try:
    import ray
    from ray._private import ray_constants
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise MissingExtra("cluster", error.name or "ray") from None

WAIT = 30.0  # seconds without room after which that is told
STARTS = 10  # of actors per worker without one answer between; then the cluster is beyond help

# At the end of an actor Ray kills its children, of which one is there to kill grandchildren, too.
SPARE_CHILDREN = {"RAY_kill_child_processes_on_worker_exit": "false"}


class Holder:
    """The work of an actor."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.worker = Worker(ComponentConfig(**config))

    def start(self) -> tuple[str, str]:
        """Identity of the component, and why it cannot be built, if it cannot."""
        try:
            return self.worker.start(), ""
        except IpsrlError as error:
            return "", str(error)

    def ask(self, smiles: str) -> float | Failure:
        return self.worker.ask(smiles)


def _connect() -> None:
    """Connect to the cluster at RAY_ADDRESS, or to one of our own on the loopback interface."""
    named = bool(os.environ.get("RAY_ADDRESS"))
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = named and before  # else it listens on all interfaces
    try:
        # Without an address Ray joins whatever cluster a file in /tmp names.
        ray.init(None if named else "local", include_dashboard=False, log_to_driver=False)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


class Ray(Elsewhere):
    """A component in actors.

    Args:
      config: of the component.
      processors: of the cluster that an actor takes, 1 or a part of one.
    Raises:
      ConfigError: if it cannot be built.
      RunError: if there is no cluster, or no actor can start.
    """

    def __init__(self, config: ComponentConfig, processors: float = 1) -> None:
        self.config = config
        self._began = not ray.is_initialized()
        if self._began:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
            try:
                _connect()
            except (ConnectionError, RuntimeError, ValueError) as error:
                address = os.environ.get("RAY_ADDRESS", "")
                raise RunError(
                    f"there is no Ray cluster at RAY_ADDRESS = {address!r} ({error}). Correct it, "
                    "or unset it for a cluster on this machine."
                ) from None
        self._actor = ray.remote(
            num_cpus=processors,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": SPARE_CHILDREN},
        )(Holder)
        self._flying: dict[Any, tuple[Any, str | None]] = {}  # by reference: actor, and its SMILES
        self._free: list[Any] = []
        self._starts = 0
        for _ in range(config.workers):
            self._launch()
        try:
            self.identity, error = ray.get(self._next())
            if error:
                raise ConfigError(error)
        except RayError as error:
            self.close()
            raise RunError(
                f"no actor of Ray could start, so nothing can be computed: {error}"
            ) from None
        except BaseException:
            self.close()
            raise

    def arrivals(self, smiles: Iterable[str]) -> Iterator[tuple[str, float | Failure]]:
        waiting, tries = deque(smiles), Counter[str]()
        left = len(waiting)
        while left:
            while waiting and self._free:
                actor, text = self._free.pop(), waiting.popleft()
                self._flying[actor.ask.remote(text)] = actor, text
            if not self._flying:
                reason = f"{STARTS} actors in a row died, or differ from the first"
                yield from ((text, Failure(reason)) for text in waiting)
                return
            answered = self._next()
            actor, text = self._flying.pop(answered)
            try:
                answer = ray.get(answered)
            except RayError as death:
                if isinstance(cause := getattr(death, "cause", None), RunError):
                    raise cause from None  # the worker is another component now
                ray.kill(actor)  # if it lives, its place is not free
                self._launch()
                if text is None:
                    continue
                tries[text] += 1
                if tries[text] <= self.config.retries:
                    waiting.appendleft(text)
                    continue
                answer = Failure(f"its actor died: {type(death).__name__}")
            else:
                if text is None and answer != (self.identity, ""):
                    continue  # that machine has other versions: its values would be others
                self._free.append(actor)
            if text is not None:
                self._starts, left = 0, left - 1
                yield text, answer

    def close(self) -> None:
        actors = [*self._free, *(actor for actor, _ in self._flying.values())]
        for actor in actors if ray.is_initialized() else ():  # else it is over, and they with it
            ray.kill(actor)
        self._free, self._flying = [], {}
        if self._began:
            ray.shutdown()

    def _next(self) -> ray.ObjectRef:
        """Reference of the first answer; where there is no room for a worker, that is told."""
        while True:
            starting = all(text is None for _, text in self._flying.values())
            ready, _ = ray.wait(list(self._flying), timeout=WAIT if starting else None)
            if ready:
                return ready[0]
            print(
                f"the workers of {self.config.column!r} wait for room: the Ray cluster has "
                f"{ray.cluster_resources().get('CPU', 0):g} processors. Lower `workers`, add "
                "machines, or wait until others are done.",
                file=sys.stderr, flush=True,
            )  # fmt: skip

    def _launch(self) -> None:
        """Another actor, which works once it has started."""
        if self._starts < STARTS * self.config.workers:
            self._starts += 1
            actor = self._actor.remote(self.config.model_dump(mode="json"))
            self._flying[actor.start.remote()] = actor, None
