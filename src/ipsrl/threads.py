"""How many threads a small model runs on."""

import os


def one_thread() -> None:
    """PyTorch, if it is imported after this, runs on one thread unless OMP_NUM_THREADS is set.

    For commands that run a model of about a million parameters: beside other processes two threads
    are 6 to 20 times slower, because each waits for the other after every small product.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
