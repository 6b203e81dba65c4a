"""Files of arrays that a trainer keeps in its checkpoints, and reads again to continue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ipsrl.errors import RunError


@contextmanager
def reading(path: Path, what: str, otherwise: str) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of a file, for a block that checks them.

    Args:
      path: of a file in the format safetensors.
      what: the file should be, such as "the history of prompts".
      otherwise: what training does without the file.
    Raises:
      RunError: if it cannot be read, or the block raises a KeyError or ValueError.
    """
    try:
        yield load(path.read_bytes())
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} is not {what} that a trainer wrote ({type(error).__name__}: {error}), so "
            "training cannot go on as it was. Restore it from a copy, resume from another "
            f"checkpoint, or delete it to {otherwise}."
        ) from None


def check_rows(rows_R3: np.ndarray) -> None:
    """Refuse arrays that are not rows of three integers: a prompt, an outcome, and a number.

    Raises:
      ValueError: if it is not.
    """
    if rows_R3.dtype != np.int64 or rows_R3.ndim != 2 or rows_R3.shape[1] != 3:
        raise ValueError(f"it has dtype {rows_R3.dtype} and shape {rows_R3.shape}")
