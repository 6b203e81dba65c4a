"""The number of threads on which a small model runs."""

import os


def one_thread() -> None:
    """Let PyTorch, if it is imported later, run on one thread unless OMP_NUM_THREADS is set.

    For commands that run a small model: beside other processes two threads are 6 to 20 times
    slower, because each waits for the other after every small product.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
