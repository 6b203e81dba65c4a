"""The array API as core uses it: one namespace per call, and checks that vanish under `jax.jit`.

Every function of core takes NumPy, PyTorch or JAX arrays and answers in kind.  Plain lists and
NumPy arrays given beside a PyTorch or JAX array move to its namespace and device.

Within core, functions import NumPy: the table of methods is read for every help, which needs none.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_jax_array,
    is_numpy_array,
    is_torch_array,
)

from ipsrl.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

Array = Any  # an array of any namespace; shapes are in the docstrings


def as_arrays(*values: Any) -> tuple[Any, ...]:
    """Return the namespace, then the values as its arrays on one device (None stays None)."""
    given = [v for v in values if v is not None]
    kinds = {type(v) for v in given}
    if len(kinds) == 1 and _is_plain(given):  # the usual case, in a tenth of the time
        (kind,) = kinds
        if kind not in _namespaces:
            _namespaces[kind] = array_namespace(given[0])
        return _namespaces[kind], *values
    import numpy as np

    arrays = [v if v is None or is_array_api_obj(v) else np.asarray(v) for v in values]
    arrays = [_plain(a) if is_numpy_array(a) else a for a in arrays]
    foreign = [a for a in arrays if a is not None and not is_numpy_array(a)]
    xp = array_namespace(*(foreign or [a for a in arrays if a is not None]))
    if foreign:
        where = placement(foreign[0])
        # Copied: PyTorch does not share read-only or reversed memory.
        arrays = [xp.asarray(np.array(a), **where) if is_numpy_array(a) else a for a in arrays]
    return xp, *arrays


_namespaces: dict[type, Any] = {}  # per type of array: finding a namespace takes 5 microseconds


def _is_plain(alike: list[Any]) -> bool:
    """True if values of one type are arrays that need no conversion."""
    if is_numpy_array(alike[0]):
        return all(array.dtype.kind != "V" for array in alike)
    return type(alike[0]) in _namespaces or is_array_api_obj(alike[0])


def _plain(array: np.ndarray) -> np.ndarray:
    """Convert bfloat16, which NumPy lacks; the array API does not know JAX's version of it."""
    import numpy as np

    lent = array.dtype.kind == "V" and np.can_cast(array.dtype, np.float32)
    return array.astype(np.float32) if lent else array


def placement(array: Array) -> dict[str, Any]:
    """Arguments that put new arrays on the device of this one (JAX needs none)."""
    return {} if is_jax_array(array) else {"device": device(array)}


def as_mask(mask: Array | None) -> Array | None:
    """The mask as booleans; hosts also write 0 and 1 (Hugging Face's attention masks)."""
    if mask is None:
        return None
    xp, values = as_arrays(mask)
    if xp.isdtype(values.dtype, "bool"):
        return values
    if not xp.isdtype(values.dtype, "numeric") or not holds((values == 0) | (values == 1)):
        raise InvalidInput(
            "mask has values other than True and False (or 1 and 0), so it does not say which "
            "samples exist. Pass booleans; for an additive mask (0 and -inf), pass mask == 0."
        )
    return values != 0


def stop_gradient(array: Array) -> Array:
    """The same numbers without a gradient: sg[.] in the paper's Eq. 3."""
    if is_torch_array(array):
        return array.detach()
    if is_jax_array(array):
        return import_module("jax").lax.stop_gradient(array)  # loaded already
    return array


def to_numpy(array: Any, dtype: Any = None) -> np.ndarray:
    """Copy the values to NumPy from any device; with a dtype, they must be real numbers."""
    import numpy as np

    if is_torch_array(array):
        array = array.detach().cpu()
        if array.dtype.itemsize < 4 and array.is_floating_point():
            array = array.float()  # NumPy has no bfloat16
        array = array.numpy()
    array = _plain(np.asarray(array))
    if dtype is not None and np.iscomplexobj(array):
        raise InvalidInput(f"The dtype of an array is {array.dtype}. Pass real numbers.")
    return np.asarray(array, dtype=dtype)


def overflowing() -> AbstractContextManager:
    """Within, NumPy does not warn of what overflows: it is refused by name afterwards."""
    import numpy as np

    return np.errstate(all="ignore")


def as_float(xp: Any, what: str, array: Array) -> Array:
    """The array itself if it is floating, else converted to its namespace's default float."""
    if xp.isdtype(array.dtype, "real floating"):
        return array
    if not xp.isdtype(array.dtype, ("bool", "integral")):
        raise InvalidInput(f"The dtype of {what} is {array.dtype}. Pass real numbers.")
    return array * xp.asarray(1.0)


def widened(xp: Any, array: Array) -> Array:
    """Convert floats of 16 bits to float32, which holds their squares and sums; keep others."""
    return xp.astype(array, xp.float32) if array.dtype.itemsize < 4 else array


def narrowed(xp: Any, what: str, array: Array, dtype: Any) -> Array:
    """Convert a result to the dtype of its inputs; refuse values that this dtype cannot hold."""
    array = xp.astype(array, dtype, copy=False)
    if not holds(xp.isfinite(array)):
        raise InvalidInput(
            f"{what} are larger than {dtype} can hold, and would be infinite. "
            "Pass float32 or float64, or smaller values."
        )
    return array


def default_float(xp: Any, like: Array) -> Any:
    """Default floating dtype of the namespace: float64 in NumPy, float32 in PyTorch and JAX."""
    return like.dtype if xp.isdtype(like.dtype, "real floating") else xp.asarray(1.0).dtype


def holds(condition: Array) -> bool:
    """False only if the condition is known to fail somewhere.

    Inside `jax.jit` the values are not known yet, so nothing can be checked: True.
    """
    try:
        return bool(condition.all())
    except TypeError:
        if is_jax_array(condition):  # a TracerBoolConversionError
            return True
        raise


def is_count(value: float) -> bool:
    """True if the value is a whole number of at least 1."""
    return 1 <= value < math.inf and value == int(value)


def as_weights(xp: Any, weights: Array, of: str, aligned: Array, mask: Array | None) -> Array:
    """Importance weights in at least float32, 0 outside the mask.

    Raises:
      InvalidInput: if they are not aligned, or negative or not finite within the mask.
    """
    check_same_shape(f"{of} and weights", aligned, weights)
    given = widened(xp, as_float(xp, "weights", weights))
    given = given if mask is None else xp.where(mask, given, xp.zeros_like(given))
    if not holds((given >= 0) & xp.isfinite(given)):
        raise InvalidInput(
            "weights have negative or non-finite values. Pass the probability of each sample "
            "under the policy over its probability under the sampler that drew it."
        )
    return given


def check_clip(eps: float) -> None:
    if not 0 <= eps <= 1:
        raise InvalidInput(
            f"eps is {eps}, but it clips a probability from below. Use a value in [0, 1], "
            "such as 0.2; at or below 1/G it has no effect."
        )


def check_same_shape(what: str, a: Array, b: Array) -> None:
    if tuple(a.shape) != tuple(b.shape):
        raise InvalidInput(
            f"{what} have shapes {tuple(a.shape)} and {tuple(b.shape)}, but must be aligned: "
            "one entry per sample, the members of a group on the last axis. "
            "Reshape both to (..., group_size)."
        )


def check_has_group(what: str, array: Array) -> None:
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InvalidInput(
            f"{what} have shape {tuple(array.shape)}, which has no group. "
            "Pass (..., group_size) with at least one member."
        )


def check_ids(ids: Array) -> None:
    xp, ids = as_arrays(ids)
    if not xp.isdtype(ids.dtype, "integral"):
        raise InvalidInput(
            f"ids have dtype {ids.dtype}, so they are not outcome ids. "
            "Turn the keys into ids first: outcome_ids(keys)."
        )


def check_rewards(rewards: Array, scaled: Array) -> None:
    """Refuse rewards that are not finite, and negative rewards that are to be scaled."""
    xp, rewards, scaled = as_arrays(rewards, scaled)
    if holds((abs(rewards) < math.inf) & ((rewards >= 0) | ~scaled)):
        return
    if not holds(xp.isfinite(rewards)):
        raise InvalidInput(
            "rewards have NaN or infinite values, which would spread to the whole group through "
            "its mean. Mask those samples (mask=...), or give them reward 0."
        )
    raise InvalidInput(
        "rewards have negative values: division by p would punish rare outcomes hardest and "
        "drive the policy onto frequent ones. Shift the rewards so that the worst is 0, or say "
        "which samples are right: only these are scaled."
    )


def check_distribution(what: str, p: Array) -> None:
    """Refuse values that are not a distribution on the last axis (non-negative, sum 1 to 1e-3)."""
    xp, p = as_arrays(p)
    p = as_float(xp, what, p)
    # 1e-3: float32 sums of 10^6 terms; 16 bits round every term by half an eps of itself
    off = max(1e-3, float(xp.finfo(p.dtype).eps))
    if not holds(p >= 0) or not holds(abs(xp.sum(widened(xp, p), axis=-1) - 1) <= off):
        raise InvalidInput(
            f"{what} is not a distribution: its last axis must be non-negative and sum to 1. "
            "Divide it by its sum (and check it for NaN)."
        )
