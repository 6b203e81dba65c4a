"""What workers gain and cost: `python bench/oracle.py`; best of three, on two processors.

Gain: a component that burns 20 ms of processor time a molecule, on two workers against one (at
least 1.8 times as fast where nothing else runs).  Cost: the time of a call to a component that
returns at once (below 5 ms).
"""

import os
import tempfile
import time
from pathlib import Path

from ipsrl.molecules import ComponentConfig
from ipsrl.molecules.executor import Processes

COMPONENTS = """
import time

def burns(smiles):
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    return [1.0]

def returns(smiles):
    return [1.0]
"""


def seconds(function: str, workers: int, count: int) -> float:
    """For so many molecules, the workers running."""
    smiles = ["C" * i for i in range(1, count + 1)]
    spans = []
    with Processes(ComponentConfig(kind="function", function=function, workers=workers)) as ask:
        for _ in range(3):
            start = time.perf_counter()
            ask(smiles)
            spans.append(time.perf_counter() - start)
    return min(spans)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "components.py"
        file.write_text(COMPONENTS)
        one, two = (seconds(f"{file}:burns", workers, 50) for workers in (1, 2))
        call = seconds(f"{file}:returns", 1, 500) / 500
    print(f"50 molecules of 20 ms: one worker {one:.2f} s, two {two:.2f} s: {one / two:.2f} times")
    print(f"our overhead: {1000 * call:.2f} ms a call")
    print(f"machine load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
