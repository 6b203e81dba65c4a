"""Estimators of p(outcome), the probability that the current policy ends in an outcome.

Inverse probability scaling is as good as its estimate of p.  The paper counts within one group
(Eq. 9); the others lower the floor that a finite group puts under that count (docs/theory.md).

    group          n_o / G                        the paper
    leave-one-out  (n_o - 1 + s) / (G - 1 + s)    shows the bias of counting oneself
    kernel         mean similarity to the group   continuous or fuzzy outcomes
    replay         importance-weighted counts     over the last batches of the same prompt
    likelihood     P_F(tau) / P_B(tau | o)        one sample is enough; strings have P_B = 1
                   sum of pi(y) in the group      texts that have their outcome in common
    exact          given                          enumerable outcomes

Functions do the arithmetic; `ipsrl.core.estimators` has them as objects with a state.
"""

from __future__ import annotations

import math
from typing import Any

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    as_weights,
    check_has_group,
    check_ids,
    check_same_shape,
    default_float,
    holds,
    overflowing,
    placement,
    widened,
)
from ipsrl.core.counting import sum_over_equal
from ipsrl.core.outcomes import has_outcome
from ipsrl.errors import InvalidInput

LOG_P_MIN = -40.0
"""Least log of a likelihood: what is rarer is never seen twice, and 1/p^2 must fit a float32."""

LOG_P_LONG = -30.0
"""Log of a likelihood below which a sample is too long for it to be that of its outcome."""


def group_frequency(
    ids: Array, *, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Share of the group that has the same outcome.

        p^(o_g) = sum_j w_j 1[o_j = o_g] / sum_j w_j,   w = 1: (1 / G) sum_j 1[o_j = o_g]

    Samples without an outcome count in G; they and samples outside the mask get p^ = 1, so that
    scaling leaves them alone.  Source: the paper, Eq. 9.

    Args:
      ids: outcome ids [..., G]; the last axis is the group.
      mask: True where a sample exists [..., G] (ragged groups); None for all.
      weights: w >= 0 [..., G], probability of a sample under the policy over that under its
        sampler; None if the policy drew all samples.
    Returns:
      p^ in (0, 1] [..., G].
    Raises:
      InvalidInput: if mask or weights are not aligned with the ids, ids have no group axis, or
        weights are negative or not finite.
    """
    xp, ids, mask = _ids_and_mask(ids, mask)
    if weights is not None:
        xp, ids, weights = as_arrays(ids, weights)
        wide = as_weights(xp, weights, "ids", ids, mask)
        total = xp.sum(wide, axis=-1, keepdims=True)
        # 1e-12: an explorer may draw what the policy hardly ever draws
        share = sum_over_equal(xp, ids, ids, wide) / xp.clip(total, min=1e-12)
        return _one_where_unscaled(xp, xp.clip(share, min=1e-12), ids, mask)
    n, size = _counts(xp, ids, mask)
    return _one_where_unscaled(xp, n / size, ids, mask)


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
    check_smoothing(smoothing)
    xp, ids, mask = _ids_and_mask(ids, mask)
    n, size = _counts(xp, ids, mask)
    return _one_where_unscaled(xp, (n - 1 + smoothing) / (size - 1 + smoothing), ids, mask)


def weighted_frequency(
    ids: Array, among: Array, weights: Array | None = None, *, least: float = 0.0
) -> Array:
    """Weighted share of samples, drawn now or earlier, that have the same outcome.

        p^(o_i) = max(sum_j w_j 1[o_j = o_i], least) / sum_j w_j

    Args:
      ids: outcome ids to be estimated [I].
      among: outcome ids of all samples that count [J].
      weights: w >= 0 [J]; None for 1 each.
      least: in samples; 1 for ids that may not be among those counted, and were seen once.
    Returns:
      p^ [I], in the dtype of the weights; 1 for samples without an outcome.
    Raises:
      InvalidInput: for values that are not ids, or ids of two dtypes.
    """
    xp, ids, among, weights = as_arrays(ids, among, weights)
    check_aligned(ids)
    if ids.dtype != among.dtype:
        raise InvalidInput(
            f"ids of dtype {ids.dtype} are looked for among ids of dtype {among.dtype}, where the "
            "same outcome may have another number. Convert both to the same dtype, such as int64."
        )
    ones = xp.ones_like(among, dtype=default_float(xp, ids))
    given = ones if weights is None else as_float(xp, "weights", weights)
    wide = widened(xp, given)
    total = xp.sum(wide)
    share = xp.clip(sum_over_equal(xp, ids, among, wide), min=least)
    share = xp.astype(share / xp.where(total > 0, total, 1.0), given.dtype, copy=False)
    return _one_where_unscaled(xp, share, ids, None)


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
    check_similarity(similarity)
    size = similarity.shape[-1]
    if mask is not None:
        size = xp.clip(xp.sum(xp.astype(mask, similarity.dtype), axis=-1, keepdims=True), min=1.0)
    p = mean_similarity(similarity, size)
    return p if mask is None else xp.where(mask, p, xp.ones_like(p))


def check_similarity(similarity: Array) -> None:
    """Refuse similarities outside [0, 1], or other than 1 between a sample and itself."""
    xp, similarity = as_arrays(similarity)
    own = xp.linalg.diagonal(similarity)
    in_range = holds((similarity >= 0) & (similarity <= 1 + 1e-6))  # 1e-6: a float32 cosine of 1
    if not in_range or not holds(abs(own - 1) <= 1e-5):
        raise InvalidInput(
            "similarity must lie in [0, 1] with 1 on the diagonal, or the mean is not a "
            "probability. Rescale the kernel (a cosine c becomes (1 + c) / 2)."
        )


def mean_similarity(similarity: Array, size: Any, *, least: float = 0.0) -> Array:
    """Mean similarity to samples, which may differ from those whose means are returned.

        p^(o_i) = max(sum_j k(o_i, o_j), least) / size

    Args:
      similarity: k >= 0 [..., I, J].
      size: number of samples, with those that are similar to none.
      least: as in `weighted_frequency`.
    Returns:
      p^ [..., I].
    """
    xp, similarity = as_arrays(similarity)
    return xp.clip(xp.sum(similarity, axis=-1), min=least) / size


def likelihood(log_pf: Array, log_pb: Array | None = None) -> Array:
    """Estimate p(o) from the one trajectory that was drawn.

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
    log_p = log_pf = as_log_probs(xp, "log_pf", log_pf)
    if log_pb is not None:
        log_pb = as_log_probs(xp, "log_pb", log_pb)
        check_same_shape("log_pf and log_pb", log_pf, log_pb)
        log_p = log_pf - log_pb
    with overflowing():
        p = xp.exp(xp.clip(log_p, min=LOG_P_MIN))
    if not holds(xp.isfinite(p)):
        raise InvalidInput(
            "exp(log_pf - log_pb) is infinite, so the sample would get weight 0. Check that log_pb "
            "is of the same trajectory as log_pf."
        )
    return p


def summed_likelihood(
    ids: Array, log_p: Array, samples: Array, *, mask: Array | None = None
) -> Array:
    """Summed probability of the different samples of the group that have the same outcome.

        p^(o) = sum pi(y) over the different y of the group with outcome o

    It is below p(o) by the probability that the group has not sampled, which is little for short
    answers.  If a scaled sample of the group is less likely than e^-30, texts are so long that pi
    says nothing about their outcome.  Then the whole group uses `group_frequency`, because only
    weights of one kind can be compared.

    Args:
      ids: outcome ids [..., G].
      log_p: log-probabilities of the samples under the policy [..., G], at most 0.
      samples: ids of the samples themselves [..., G], as of `outcome_ids`.
      mask: True where a sample exists [..., G]; None for all.
    Returns:
      p^ in (0, 1] [..., G]; 1 for samples without an outcome.
    Raises:
      InvalidInput: for values that are not ids or log-probabilities, or differ in shape.
    """
    xp, ids, log_p, samples, mask = as_arrays(ids, log_p, samples, as_mask(mask))
    check_aligned(ids, mask)
    check_aligned(samples)
    check_same_shape("ids and samples", ids, samples)
    log_p = as_log_probs(xp, "log_p", log_p)
    check_same_shape("ids and log_p", ids, log_p)
    scaled = has_outcome(ids) if mask is None else has_outcome(ids) & mask
    present = xp.astype(scaled, log_p.dtype)
    copies = sum_over_equal(xp, samples, samples, present)
    weights = present * xp.exp(log_p) / xp.where(scaled, copies, xp.ones_like(copies))
    p = xp.clip(sum_over_equal(xp, ids, ids, weights), max=1.0)
    long = xp.any(scaled & (log_p < LOG_P_LONG), axis=-1, keepdims=True)
    counted = xp.astype(group_frequency(ids, mask=mask), p.dtype, copy=False)
    return _one_where_unscaled(xp, xp.where(long, counted, p), ids, mask)


def importance_weights(log_now: Array, log_then: Array, *, clip: float = 10.0) -> Array:
    """Truncated importance weights of stored samples, min(pi_now / pi_then, clip).

    Args:
      log_now: log-probability of the stored trajectories under the current policy [...].
      log_then: their log-probability when they were drawn [...].
      clip: upper bound, > 0; trades variance for bias (Ionides 2008).
    Returns:
      weights from 0 to clip [...].
    Raises:
      InvalidInput: for a clip or log-probabilities that cannot be, or of different shapes.
    """
    check_weight_clip(clip)
    xp, log_now, log_then = as_arrays(log_now, log_then)
    check_same_shape("log_now and log_then", log_now, log_then)
    if not holds((log_now < math.inf) & xp.isfinite(log_then)):
        raise InvalidInput(
            "log_now is NaN or infinite, or log_then is not finite: what was drawn had a "
            "probability. Pass the sum over the steps of log pi(action)."
        )
    return xp.exp(xp.clip(log_now - log_then, max=math.log(clip)))


def _counts(xp: Any, ids: Array, mask: Array | None) -> tuple[Array, Any]:
    """Members with the same outcome [..., G], and members with any [..., 1] or G, at least 1."""
    dtype = default_float(xp, ids)
    present = xp.ones_like(ids, dtype=dtype) if mask is None else xp.astype(mask, dtype)
    present = widened(xp, present)  # PyTorch's default may have 16 bits, which cannot count to 257
    n = sum_over_equal(xp, ids, ids, present)
    if mask is None:
        return n, ids.shape[-1]
    size = xp.sum(present, axis=-1, keepdims=True)
    return n, xp.where(size > 0, size, xp.ones_like(size))


def one_where_unscaled(p: Array, ids: Array, mask: Array | None = None) -> Array:
    """p^, set to 1 for samples that have no outcome or lie outside the mask [..., G]."""
    xp, p, ids, mask = as_arrays(p, ids, as_mask(mask))
    check_aligned(ids, mask)
    check_same_shape("p and ids", p, ids)
    return _one_where_unscaled(xp, p, ids, mask)


def _one_where_unscaled(xp: Any, p: Array, ids: Array, mask: Array | None) -> Array:
    scaled = has_outcome(ids) if mask is None else has_outcome(ids) & mask
    return xp.where(scaled, p, xp.ones_like(p))


def check_aligned(ids: Array, mask: Array | None = None) -> None:
    """Refuse values that are not ids, and ids that are not aligned with the mask."""
    check_has_group("ids", ids)
    check_ids(ids)
    if mask is not None:
        check_same_shape("ids and mask", ids, mask)


def _ids_and_mask(ids: Array, mask: Array | None) -> tuple[Any, Array, Array | None]:
    xp, ids, mask = as_arrays(ids, as_mask(mask))
    check_aligned(ids, mask)
    return xp, ids, mask


def as_log_probs(xp: Any, name: str, value: Array) -> Array:
    """The values in at least float32; refuse values that are not log-probabilities."""
    value = widened(xp, as_float(xp, name, value))
    # 1e-4: a float32 log-softmax of a certain action may exceed 0 by rounding
    if not holds(xp.isfinite(value) & (value <= 1e-4)):
        raise InvalidInput(
            f"{name} has values above 0 or not finite, so it is not a log-probability. Pass the "
            "sum over the steps of log pi(action), not probabilities or negated losses."
        )
    return value


def check_smoothing(smoothing: float) -> None:
    if not 0 < smoothing < math.inf:
        raise InvalidInput(
            f"smoothing is {smoothing}, which gives an outcome seen once the probability 0 and an "
            "infinite weight. Use a positive number of pseudo-samples, such as 0.5."
        )


def check_weight_clip(clip: float) -> None:
    if not 0 < clip < math.inf:
        raise InvalidInput(
            f"clip is {clip}, but it bounds importance weights. Use a positive number, such as 10."
        )
