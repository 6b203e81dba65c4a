"""Every tolerance of the tests with its reason, and the array namespaces that core runs on."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Relative to 1 + |expected|.  What is summed in these tests has at most a few hundred terms of
# order 1, so rounding is below 300 ulp; the division by a standard deviation loses another digit.
TOLERANCE = {
    "float64": 1e-12,  # ulp 2e-16
    "float32": 2e-5,  # ulp 6e-8
    "bfloat16": 3e-2,  # ulp 4e-3, and only a handful of terms
}

PRINTED_DIGITS = (
    6e-4  # half a unit in the third decimal of a printed table, and 1e-4 for its search
)

ENUMERATION = 1e-12  # float64 sums over every group or trajectory: tens of terms of order 1

FLOAT32_DRIFT = 1e-6  # a bounded float32 result may leave its bounds by a few ulp

SIGMAS = 4  # a Monte-Carlo mean leaves 4 standard errors once in 16,000 tries; the seed is fixed


def std_eps_drift(scale: float, std_eps: float, std: float) -> float:
    """What `std_eps` leaves of a common factor of the rewards.

    x / (s + e) against c x / (c s + e): relative difference e (c - 1) / (c s + e) <= e / s.
    """
    return scale * std_eps / std


def promised(size: int, small: int) -> int:
    """The size of a promise where `make promises` runs it, and a small one everywhere else."""
    return size if "IPSRL_PROMISED" in os.environ else small


SHARED = Path(os.environ.get("IPSRL_SHARED", Path(__file__).parents[2] / "shared"))
"""Folder of data that is not in the repository."""

HANGS = 600  # seconds after which a child process hangs; no measure of speed


def wait_until(fact: Callable[[], Any]) -> None:
    """Returns when it holds; that it never does is a fault."""
    deadline = time.monotonic() + HANGS
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# What shall run out of its time must first have begun, and nobody knows how long that takes.


def has_begun(file: Path) -> bool:
    """Whether a program has written something into its file."""
    return file.exists() and file.stat().st_size > 0


def clock_from(file: Path) -> Callable[[], float]:
    """A clock in place of `time.monotonic`, which stands still until a program has begun."""
    beginning: list[float] = []

    def clock() -> float:
        if not beginning and has_begun(file):
            beginning.append(time.monotonic())
        return time.monotonic() - beginning[0] if beginning else 0.0

    return clock


def limits_from(file: Path, patch: pytest.MonkeyPatch) -> None:
    """The limits of processes that are waited for count from when a program has begun."""
    wait = subprocess.Popen.wait

    def patient(process: Any, timeout: float | None = None) -> int:
        if timeout is not None:
            wait_until(lambda: has_begun(file))
        return wait(process, timeout)

    patch.setattr(subprocess.Popen, "wait", patient)


@dataclass(frozen=True)
class Namespace:
    """One array library: arrays in its default precision, and what a test needs of it."""

    name: str
    floats: Callable[[Any], Any]
    integers: Callable[[Any], Any]
    booleans: Callable[[Any], Any]

    def of(self, values: Any, dtype: str) -> Any:
        """An array of this library and this dtype, by its name; JAX has float64 under x64 only."""
        array = np.asarray(values)
        if self.name == "torch":
            import torch

            return torch.tensor(array, dtype=getattr(torch, dtype))
        if self.name == "jax":
            import jax.numpy as jnp

            return jnp.asarray(array, dtype=dtype)
        return array.astype(dtype)

    def like(self, array: np.ndarray | None) -> Any:
        """A NumPy array as one of this library, in the default precision of its kind."""
        if array is None:
            return None
        make = {"f": self.floats, "i": self.integers, "b": self.booleans}[array.dtype.kind]
        return make(array)


def namespace(name: str) -> Namespace:
    if name == "torch":
        import torch

        return Namespace(
            name,
            lambda v: torch.tensor(np.asarray(v), dtype=torch.float32),
            lambda v: torch.tensor(np.asarray(v), dtype=torch.int64),
            lambda v: torch.tensor(np.asarray(v), dtype=torch.bool),
        )
    if name == "jax":
        import jax.numpy as jnp

        return Namespace(
            name,
            lambda v: jnp.asarray(np.asarray(v), dtype=jnp.float32),
            lambda v: jnp.asarray(np.asarray(v), dtype=jnp.int32),
            lambda v: jnp.asarray(np.asarray(v), dtype=jnp.bool_),
        )
    return Namespace(
        "numpy",
        lambda v: np.array(v, dtype=np.float64),
        lambda v: np.array(v, dtype=np.int64),
        lambda v: np.array(v, dtype=np.bool_),
    )


def numpy_of(array: Any) -> np.ndarray:
    """The values in float64, from any library and precision."""
    if hasattr(array, "detach"):
        array = array.detach().double()
    return np.asarray(array, dtype=np.float64)


def assert_close(actual: Any, expected: Any, *, tolerance: float | None = None) -> None:
    """Same shape, and equal up to the tolerance of the dtype that was computed in."""
    if tolerance is None:
        tolerance = TOLERANCE[str(getattr(actual, "dtype", "float64")).removeprefix("torch.")]
    actual, expected = numpy_of(actual), numpy_of(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def assert_same(actual: Any, expected: Any) -> None:
    """Same shape, equal bit for bit."""
    np.testing.assert_array_equal(numpy_of(actual), numpy_of(expected), strict=True)


def gradient(xp: Namespace, function: Callable[[Any], Any], at: Any) -> np.ndarray:
    """Gradient of the sum of a function's values, by PyTorch or JAX."""
    if xp.name == "torch":
        variable = at.clone().requires_grad_(True)
        function(variable).sum().backward()
        return numpy_of(variable.grad)
    import jax

    return numpy_of(jax.grad(lambda x: function(x).sum())(at))


# Work is counted, never timed: a count is the same on a slow machine and a busy one.


def steps(run: Callable[[], Any]) -> int:
    """Lines that Python executes in a call, once more for every round of a loop, and calls of C."""
    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    gc.disable()  # JAX is called back by every collection
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        run()
    finally:
        gc.enable()
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


def peak_memory(run: Callable[[], Any]) -> int:
    """Bytes that Python and NumPy have allocated in a call, at their highest."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def seconds_where_promised(run: Callable[[], Any], limit: float) -> float:
    """The least time of a few calls, which is below a promised limit: under `make promises`."""
    if "IPSRL_PROMISED" not in os.environ:
        return 0.0
    spans: list[float] = []
    while len(spans) < 5 and min(spans, default=limit) >= limit:
        start = time.perf_counter()
        run()
        spans.append(time.perf_counter() - start)
    assert min(spans) < limit
    return min(spans)
