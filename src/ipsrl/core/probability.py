"""Estimators of p(outcome), the probability that the current policy ends in an outcome.

Inverse probability scaling is as good as its estimate of p.  The paper counts within one group
(Eq. 9); the others lower the floor that a finite group puts under that count (docs/theory.md).

    group          n_o / G                        the paper
    leave-one-out  (n_o - 1 + s) / (G - 1 + s)    shows the bias of counting oneself
    kernel         mean similarity to the group   continuous or fuzzy outcomes
    replay         importance-weighted counts     over the last batches of the same prompt
    likelihood     P_F(tau) / P_B(tau | o)        one sample is enough; strings have P_B = 1
    exact          given                          enumerable outcomes

Functions do the arithmetic.  The classes of the same names are the `Estimator`s: they take a batch
of `Samples` and an explicit state, so one training loop serves them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    check_has_group,
    check_ids,
    check_same_shape,
    default_float,
    holds,
    placement,
    widened,
)
from ipsrl.core.outcomes import has_outcome
from ipsrl.errors import InvalidInput

LOG_P_MIN = -40.0
"""Least log of a likelihood: what is rarer is never seen twice, and 1/p^2 must fit a float32."""


def group_frequency(ids: Array, *, mask: Array | None = None) -> Array:
    """Share of the group that has the same outcome.

        p^(o_g) = (1 / G) sum_j 1[o_j = o_g]

    Samples without an outcome count in G; they and samples outside the mask get p^ = 1, so that
    scaling leaves them alone.  Source: the paper, Eq. 9.

    Args:
      ids: outcome ids [..., G]; the last axis is the group.
      mask: True where a sample exists [..., G] (ragged groups); None for all.
    Returns:
      p^ in (0, 1] [..., G].
    Raises:
      InvalidInput: if the mask is not aligned with the ids, or ids have no group axis.
    """
    xp, ids, mask = _ids_and_mask(ids, mask)
    dtype = default_float(xp, ids)
    share = _share(xp, ids, ids, None if mask is None else xp.astype(mask, dtype), dtype)
    return _one_where_unscaled(xp, share, ids, mask)


def leave_one_out_frequency(
    ids: Array, *, mask: Array | None = None, smoothing: float = 0.5
) -> Array:
    """Share of the *other* members of the group that have the same outcome, smoothed.

        p^(o_g) = (n_o - 1 + s) / (G - 1 + s)

    s = 1 is the group frequency; s -> 0 removes the self-count, and with it the upper bound on the
    weight of an outcome seen once: a diagnostic rather than a cure.

    Args:
      ids: outcome ids [..., G].
      mask: True where a sample exists [..., G]; None for all.
      smoothing: s > 0, in samples.
    Returns:
      p^ in (0, 1] [..., G].
    Raises:
      InvalidInput: for smoothing <= 0 (an outcome seen once would have p^ = 0), or infinite.
    """
    _check_smoothing(smoothing)
    xp, ids, mask = _ids_and_mask(ids, mask)
    dtype = default_float(xp, ids)
    present = xp.ones_like(ids, dtype=dtype) if mask is None else xp.astype(mask, dtype)
    size = xp.sum(present, axis=-1, keepdims=True)
    others = _share(xp, ids, ids, present, dtype) * size - 1
    # An empty group divides by something, and is masked.
    share = (others + smoothing) / xp.clip(size - 1 + smoothing, min=smoothing)
    return _one_where_unscaled(xp, share, ids, mask)


def kernel_frequency(similarity: Array, *, mask: Array | None = None) -> Array:
    """Mean similarity of each sample to its group.

        p^(o_g) = (1 / G) sum_j k(o_g, o_j),   k in [0, 1],  k(o, o) = 1

    With k = 1[same outcome] this is the group frequency.  Compare DRA-GRPO (2505.09655).

    Args:
      similarity: k [..., G, G].
      mask: True where a sample exists [..., G]; None for all.
    Returns:
      p^ in (0, 1] [..., G]; 1 outside the mask; float32 for similarities of 16 bits.
    Raises:
      InvalidInput: if k is not square on its last axes, leaves [0, 1], or k(o, o) is not 1.
    """
    xp, similarity, mask = as_arrays(similarity, as_mask(mask))
    if similarity.ndim < 2 or similarity.shape[-1] != similarity.shape[-2]:
        raise InvalidInput(
            f"similarity has shape {tuple(similarity.shape)}, but every pair of the group needs a "
            "value: pass (..., G, G)."
        )
    similarity = widened(xp, as_float(xp, "similarity", similarity))
    if mask is not None:
        check_same_shape("similarity rows and mask", similarity[..., 0], mask)
        itself = xp.eye(mask.shape[-1], dtype=similarity.dtype, **placement(similarity))
        similarity = xp.where(mask[..., None] & mask[..., None, :], similarity, itself)
    own = xp.linalg.diagonal(similarity)
    in_range = holds((similarity >= 0) & (similarity <= 1 + 1e-6))  # 1e-6: a float32 cosine of 1
    if not in_range or not holds(abs(own - 1) <= 1e-5):
        raise InvalidInput(
            "similarity must lie in [0, 1] with 1 on the diagonal, or the mean is no probability. "
            "Rescale the kernel (a cosine c becomes (1 + c) / 2)."
        )
    if mask is None:
        return xp.mean(similarity, axis=-1)
    size = xp.sum(xp.astype(mask, similarity.dtype), axis=-1, keepdims=True)
    p = xp.sum(similarity, axis=-1) / xp.where(size > 0, size, xp.ones_like(size))
    return xp.where(mask, p, xp.ones_like(p))


def likelihood(log_pf: Array, log_pb: Array | None = None) -> Array:
    """Estimate of p(o) from the one trajectory that was drawn.

        p^ = P_F(tau) / P_B(tau | o),    E_tau[1 / p^ | o] = 1 / p(o)  for any backward policy

    Where every outcome has one trajectory (strings, SMILES, answers) P_B = 1 and p^ = p(o) exactly.
    Its *reciprocal* is unbiased; p^ itself may exceed 1 when P_B < 1.  The weight differs between
    the trajectories of one outcome, so IPS also draws these towards their shares under P_B: it
    ascends sum_o r(o) E_{P_B}[log P_F(tau)].  Below e^-40 it is e^-40: long texts then all
    weigh the same, and need an outcome that more than one text can have.

    Args:
      log_pf: log-probability of the trajectory under the policy [...], at most 0.
      log_pb: log-probability of the trajectory given its end, same shape; None for P_B = 1.
    Returns:
      p^ > 0 [...]; float32 for log-probabilities of 16 bits, in which e^-40 would be 0.
    Raises:
      InvalidInput: for log-probabilities above 0, non-finite, or of different shapes, and for a
        ratio that is not finite (a log_pb far below log_pf).
    """
    xp, log_pf, log_pb = as_arrays(log_pf, log_pb)
    log_p = log_pf = _log_probs(xp, "log_pf", log_pf)
    if log_pb is not None:
        log_pb = _log_probs(xp, "log_pb", log_pb)
        check_same_shape("log_pf and log_pb", log_pf, log_pb)
        log_p = log_pf - log_pb
    with np.errstate(over="ignore"):  # what overflows is refused by name
        p = xp.exp(xp.clip(log_p, min=LOG_P_MIN))
    if not holds(xp.isfinite(p)):
        raise InvalidInput(
            "exp(log_pf - log_pb) is infinite, so the sample would get weight 0. Check that log_pb "
            "is of the same trajectory as log_pf."
        )
    return p


def importance_weights(log_now: Array, log_then: Array, *, clip: float = 10.0) -> Array:
    """Truncated importance weights of stored samples, min(pi_now / pi_then, clip).

    Args:
      log_now: log-probability of the stored trajectories under the current policy [...].
      log_then: their log-probability when they were drawn [...].
      clip: upper bound, > 0; trades variance for bias (Ionides 2008).
    Returns:
      weights in [0, clip] [...].
    Raises:
      InvalidInput: for a clip or log-probabilities that cannot be, or of different shapes.
    """
    _check_weight_clip(clip)
    xp, log_now, log_then = as_arrays(log_now, log_then)
    check_same_shape("log_now and log_then", log_now, log_then)
    if not holds((log_now < math.inf) & xp.isfinite(log_then)):
        raise InvalidInput(
            "log_now is NaN or infinite, or log_then is not finite: what was drawn had a "
            "probability. Pass the sum over the steps of log pi(action)."
        )
    return xp.exp(xp.clip(log_now - log_then, max=math.log(clip)))


class Samples(NamedTuple):
    """What estimators may look at: one batch of samples.  Only `ids` is always needed.

    Attributes:
      ids: outcome ids [..., G], the last axis is the group.
      mask: True where a sample exists [..., G].
      log_pf: log-probability of each trajectory under the policy that drew it [..., G].
      log_pb: log-probability of each trajectory given its outcome [..., G]; None for strings.
      similarity: pairwise similarities [..., G, G].
      probability: p(outcome) of each sample, where it is known [..., G].
      history_log_pf: log-probability, under the current policy, of what `Replay` has stored
        [batches, ..., G].
    """

    ids: Array
    mask: Array | None = None
    log_pf: Array | None = None
    log_pb: Array | None = None
    similarity: Array | None = None
    probability: Array | None = None
    history_log_pf: Array | None = None


@runtime_checkable
class Estimator(Protocol):
    """p^(outcome) for every sample of a batch.  State goes in and comes out; nothing is hidden."""

    def init(self, samples: Samples) -> Any:
        """Empty state for batches shaped like this one; () where there is nothing to remember."""
        ...

    def __call__(self, samples: Samples, state: Any) -> tuple[Array, Any]:
        """p^ > 0 [..., G] with 1 for samples that have no outcome, and the next state."""
        ...


class _Stateless:
    def init(self, samples: Samples) -> tuple[()]:
        return ()


@dataclass(frozen=True)
class GroupFrequency(_Stateless):
    """The paper's estimator: `group_frequency`."""

    def __call__(self, samples: Samples, state: tuple[()]) -> tuple[Array, tuple[()]]:
        return group_frequency(samples.ids, mask=samples.mask), state


@dataclass(frozen=True)
class LeaveOneOut(_Stateless):
    """`leave_one_out_frequency`."""

    smoothing: float = 0.5

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)

    def __call__(self, samples: Samples, state: tuple[()]) -> tuple[Array, tuple[()]]:
        p = leave_one_out_frequency(samples.ids, mask=samples.mask, smoothing=self.smoothing)
        return p, state


@dataclass(frozen=True)
class Kernel(_Stateless):
    """`kernel_frequency` of `Samples.similarity`."""

    def __call__(self, samples: Samples, state: tuple[()]) -> tuple[Array, tuple[()]]:
        p = kernel_frequency(_needed(samples, "similarity", self), mask=samples.mask)
        return _unscaled(p, samples), state


@dataclass(frozen=True)
class Likelihood(_Stateless):
    """`likelihood` of `Samples.log_pf` and `Samples.log_pb`."""

    def __call__(self, samples: Samples, state: tuple[()]) -> tuple[Array, tuple[()]]:
        log_pf, log_pb = _needed(samples, "log_pf", self), samples.log_pb
        if samples.mask is not None:
            log_pf = _zero_outside(samples.mask, log_pf)
            log_pb = None if log_pb is None else _zero_outside(samples.mask, log_pb)
        return _unscaled(likelihood(log_pf, log_pb), samples), state


@dataclass(frozen=True)
class Exact(_Stateless):
    """`Samples.probability` as given: the reference that the others approach."""

    def __call__(self, samples: Samples, state: tuple[()]) -> tuple[Array, tuple[()]]:
        p = _unscaled(_needed(samples, "probability", self), samples)
        if not holds((p > 0) & (p <= 1 + 1e-4)):  # 1e-4: float32 sums of a policy's probabilities
            raise InvalidInput(
                "probability has values outside (0, 1]. Pass p(outcome) of each sample, which was "
                "drawn and so has p > 0; for the ratio P_F / P_B, which may exceed 1, use "
                "Likelihood()."
            )
        return p, state


class ReplayState(NamedTuple):
    """The last batches of one prompt: a ring, `turn` batches were written so far."""

    ids: Array  # [batches, ..., G]
    log_pf: Array  # [batches, ..., G], under the policy that drew them
    present: Array  # [batches, ..., G], 0 or 1
    turn: Array  # []


@dataclass(frozen=True)
class Replay:
    """Importance-weighted counts over the last batches of the same prompt, this one included.

        p^(o) = sum_j w_j 1[o_j = o] / sum_j w_j,   w_j = min(pi_now(tau_j) / pi_then(tau_j), clip)

    All samples of a batch are pooled: keep one state per prompt.  Without `history_log_pf` the
    weights are 1, which lags behind a fast policy.  With `batches=1` it is the group frequency.

    Attributes:
      batches: how many batches are remembered.
      clip: upper bound of a weight.
    """

    batches: int = 64
    clip: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.batches, Integral) or self.batches < 1:
            raise InvalidInput(
                f"Replay got batches={self.batches}. It remembers a whole number of them, at least "
                "one batch."
            )
        _check_weight_clip(self.clip)

    def init(self, samples: Samples) -> ReplayState:
        xp, ids = as_arrays(samples.ids)
        _check_groups(ids)
        shape, where = (self.batches, *ids.shape), placement(ids)
        zeros = xp.zeros(shape, dtype=default_float(xp, ids), **where)
        no_ids = xp.zeros(shape, dtype=ids.dtype, **where)
        return ReplayState(no_ids, zeros, zeros, xp.asarray(0, **where))

    def __call__(self, samples: Samples, state: ReplayState) -> tuple[Array, ReplayState]:
        xp, ids, mask, log_pf, history = as_arrays(
            samples.ids, as_mask(samples.mask), samples.log_pf, samples.history_log_pf
        )
        _check_groups(ids, mask)
        check_same_shape("ids and each stored batch", ids, state.ids[0, ...])
        dtype = state.log_pf.dtype
        if log_pf is not None:
            check_same_shape("ids and log_pf", ids, log_pf)
        log_pf = xp.zeros_like(ids, dtype=dtype) if log_pf is None else log_pf
        present = xp.ones_like(ids, dtype=dtype) if mask is None else xp.astype(mask, dtype)
        slot = xp.arange(self.batches, **placement(ids)) == state.turn % self.batches
        slot = xp.reshape(slot, (self.batches, *[1] * ids.ndim))
        state = ReplayState(
            xp.where(slot, ids, state.ids),
            xp.where(slot, xp.where(present > 0, log_pf, present), state.log_pf),
            xp.where(slot, present, state.present),
            state.turn + 1,
        )
        weights = state.present
        if history is not None:
            check_same_shape("history_log_pf and the stored batches", history, state.log_pf)
            now = xp.where(slot, state.log_pf, history)
            now = xp.where(weights > 0, now, weights)  # what is not there may hold anything
            ratio = importance_weights(now, state.log_pf, clip=self.clip)
            weights = xp.where(weights > 0, ratio, weights)
        flat = xp.reshape(ids, (-1,))
        p = _share(xp, flat, xp.reshape(state.ids, (-1,)), xp.reshape(weights, (-1,)), dtype)
        return _one_where_unscaled(xp, xp.reshape(p, ids.shape), ids, mask), state


def _share(xp: Any, ids: Array, others: Array, weights: Array | None, dtype: Any) -> Array:
    """Weighted share of `others` [..., J] that equals each of `ids` [..., I]."""
    same = xp.astype(ids[..., :, None] == others[..., None, :], dtype)
    if weights is None:
        return xp.mean(same, axis=-1)
    total = xp.sum(weights, axis=-1, keepdims=True)
    matched = xp.matmul(same, weights[..., None])[..., 0]
    return matched / xp.where(total > 0, total, xp.ones_like(total))


def _ids_and_mask(ids: Array, mask: Array | None) -> tuple[Any, Array, Array | None]:
    xp, ids, mask = as_arrays(ids, as_mask(mask))
    _check_groups(ids, mask)
    return xp, ids, mask


def _check_groups(ids: Array, mask: Array | None = None) -> None:
    check_has_group("ids", ids)
    check_ids(ids)
    if mask is not None:
        check_same_shape("ids and mask", ids, mask)


def _one_where_unscaled(xp: Any, p: Array, ids: Array, mask: Array | None) -> Array:
    scaled = has_outcome(ids)
    return xp.where(scaled if mask is None else scaled & mask, p, xp.ones_like(p))


def _log_probs(xp: Any, name: str, value: Array) -> Array:
    value = widened(xp, as_float(xp, name, value))
    # 1e-4: a float32 log-softmax of a certain action may exceed 0 by rounding
    if not holds(xp.isfinite(value) & (value <= 1e-4)):
        raise InvalidInput(
            f"{name} has values above 0 or not finite, so it is not a log-probability. Pass the "
            "sum over the steps of log pi(action), not probabilities or negated losses."
        )
    return value


def _check_smoothing(smoothing: float) -> None:
    if not 0 < smoothing < math.inf:
        raise InvalidInput(
            f"smoothing is {smoothing}, which gives an outcome seen once the probability 0 and an "
            "infinite weight. Use a positive number of pseudo-samples, such as 0.5."
        )


def _check_weight_clip(clip: float) -> None:
    if not 0 < clip < math.inf:
        raise InvalidInput(
            f"clip is {clip}, but it bounds importance weights. Use a positive number, such as 10."
        )


def _unscaled(p: Array, samples: Samples) -> Array:
    xp, p, ids, mask = as_arrays(p, samples.ids, as_mask(samples.mask))
    _check_groups(ids, mask)
    check_same_shape("p and ids", p, ids)
    return _one_where_unscaled(xp, p, ids, mask)


def _zero_outside(mask: Array, value: Array) -> Array:
    """Padding may hold anything, also NaN."""
    xp, mask, value = as_arrays(as_mask(mask), value)
    check_same_shape("mask and log-probabilities", mask, value)
    return xp.where(mask, value, xp.zeros_like(value))


def _needed(samples: Samples, field: str, estimator: object) -> Array:
    value = getattr(samples, field)
    if value is None:
        raise InvalidInput(
            f"{type(estimator).__name__} estimates p(outcome) from `{field}`, which these samples "
            f"lack. Write Samples(ids, {field}=...), or use GroupFrequency(), which needs ids only."
        )
    return value
