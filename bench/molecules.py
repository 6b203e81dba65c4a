"""Speed and memory of the chemical language model on one thread: `python bench/molecules.py`.

Processor seconds, the least of three: sampling 64 SMILES of 60 tokens, and one update on them.
Memory is the peak of the process over one update at length 100, in parts of 32.
"""

import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from ipsrl.molecules import Prior, Vocabulary

# The reference implementation's CPU path for 5.27M parameters (it runs the prefix again at every
# step): figures that were measured for this project, per batch of 64.
REFERENCE = {"sample": 130.0, "update": 43.0}
BATCH, LENGTH, PART = 64, 60, 32


def least(run: Callable[[], object]) -> float:
    spans = []
    for _ in range(3):
        start = time.process_time()
        run()
        spans.append(time.process_time() - start)
    return min(spans)


def update(prior: Prior, ids: torch.Tensor) -> None:
    prior.model.zero_grad()
    for part in ids.split(PART):
        (-prior.log_probs(part).sum() / len(ids)).backward()


def measure(hidden: int, layers: int) -> None:
    vocabulary = Vocabulary([chr(200 + i) for i in range(62)])
    prior = Prior.mamba(vocabulary, hidden=hidden, layers=layers)
    generator = torch.Generator().manual_seed(0)
    # No sequence ends before its 60 tokens, for what has ended costs nothing.
    endless = torch.zeros(len(vocabulary))
    endless[0] = -torch.inf
    head: Any = prior.model.lm_head
    head.register_forward_hook(lambda *call: call[-1] + endless)
    ids = torch.randint(2, len(vocabulary), (BATCH, LENGTH), generator=generator)
    spans = {
        "sample": least(lambda: prior.sample(BATCH, generator, max_tokens=LENGTH - 1)),
        "update": least(lambda: update(prior, ids)),
    }
    parameters = sum(value.numel() for value in prior.model.parameters())
    print(f"{parameters:,} parameters, {BATCH} x {LENGTH}")
    for name, seconds in spans.items():
        factor = f", {REFERENCE[name] / seconds:.0f} times faster" if hidden == 256 else ""
        print(f"  {name}: {seconds:.2f} s{factor}")
    update(prior, torch.randint(2, len(vocabulary), (BATCH, 100), generator=generator))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  peak memory of an update at length 100: {peak:.1f} GiB", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    measure(128, 8)
    measure(256, 12)


if __name__ == "__main__":
    main()
