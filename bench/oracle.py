"""What workers gain and cost: `python bench/oracle.py`; the best of several, on two processors.

Gain: a component that burns 20 ms of processor time a molecule, on two workers against one (at
least 1.8 times as fast where nothing else runs).  Cost: the time of a call to a component that
returns at once (below 5 ms).
"""

import os
import tempfile
import time
from pathlib import Path

from ipsrl.molecules import ComponentConfig
from ipsrl.molecules.execution.processes import Processes

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


def seconds(ask: Processes, count: int) -> float:
    """For so many molecules."""
    smiles = ["C" * i for i in range(1, count + 1)]
    start = time.perf_counter()
    ask(smiles)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "components.py"
        file.write_text(COMPONENTS)
        burns = {"kind": "function", "function": f"{file}:burns"}
        returns = ComponentConfig(kind="function", function=f"{file}:returns", workers=1)
        with (
            Processes(ComponentConfig(workers=1, **burns)) as one,
            Processes(ComponentConfig(workers=2, **burns)) as two,
        ):
            # In turns, so that other work on the machine meets both.
            spans = [(seconds(one, 50), seconds(two, 50)) for _ in range(5)]
        with Processes(returns) as ask:
            call = min(seconds(ask, 500) for _ in range(3)) / 500
    alone, together = map(min, zip(*spans, strict=True))
    print(f"50 molecules of 20 ms: one worker {alone:.2f} s, two {together:.2f} s: ", end="")
    print(f"{alone / together:.2f} times as fast")
    print(f"our overhead: {1000 * call:.2f} ms a call")
    print(f"machine load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
