"""What third parties warn about is not ours."""

from __future__ import annotations

import warnings

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
