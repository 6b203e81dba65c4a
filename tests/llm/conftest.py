"""Small models are slower on several threads; and what third parties warn about is not ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

_NOT_OURS = [
    # TRL sets what transformers 5 has renamed.
    ("`gradient_checkpointing` is deprecated", FutureWarning),
    ("`is_gradient_checkpointing` is deprecated", FutureWarning),
    # While bitsandbytes is imported.
    ("`torch.jit.script_method` is deprecated", DeprecationWarning),
]


def pytest_configure(config: pytest.Config) -> None:
    for message, category in _NOT_OURS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}")
        warnings.filterwarnings("ignore", message, category)  # collection has begun already


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
