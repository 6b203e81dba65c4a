"""Losses and residuals as pure functions of log-probabilities and rewards, one number per sample.

Nothing is averaged over samples here and nothing is detached: the caller decides both.  A residual
is squared by its caller.
"""

from __future__ import annotations

import math
from typing import Literal

from ipsrl.core.arrays import Array, as_arrays, as_mask, check_same_shape, holds
from ipsrl.errors import InvalidInput


def clipped_surrogate(
    log_new: Array,
    log_old: Array,
    advantages: Array,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    level: Literal["token", "sequence"] = "token",
    mask: Array | None = None,
) -> Array:
    """PPO's clipped policy-gradient loss.

        L = -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A)

    Token level: rho_t = pi_new(a_t) / pi_old(a_t), one loss per token (PPO, GRPO).
    Sequence level: rho = exp(mean_t log rho_t), one loss per sequence (GSPO).  Trajectories whose
    ratio is the plain product go in as sequences of one token.
    Source: PPO (1707.06347), Eq. 7; GSPO (2507.18071).

    Args:
      log_new: log-probabilities under the policy that learns [..., T].
      log_old: under the policy that sampled [..., T].
      advantages: one per sequence [...].
      clip_low: how far below 1 the ratio may take effect, in [0, 1].
      clip_high: how far above 1, >= 0.
      level: unit that is clipped, 'token' or 'sequence'.
      mask: True where a token exists [..., T]; None for all.
    Returns:
      token level: losses [..., T], 0 outside the mask; sequence level: losses [...].
    Raises:
      InvalidInput: if the log-probabilities and the mask are not aligned, level is unknown, or a
        clip is out of range.
    """
    if not (0 <= clip_low <= 1 and clip_high >= 0):
        raise InvalidInput(
            f"clip_low is {clip_low} and clip_high {clip_high}. The ratio is kept in "
            "[1 - clip_low, 1 + clip_high]: use clip_low in [0, 1] and clip_high >= 0, such as 0.2."
        )
    xp, log_new, log_old, advantages, mask = as_arrays(log_new, log_old, advantages, as_mask(mask))
    check_same_shape("log_new and log_old", log_new, log_old)
    if log_new.ndim == 0 or tuple(advantages.shape) != tuple(log_new.shape[:-1]):
        raise InvalidInput(
            f"advantages have shape {tuple(advantages.shape)} for log-probabilities "
            f"{tuple(log_new.shape)}. Pass one advantage per sequence: drop the last axis."
        )
    log_ratio = log_new - log_old
    if mask is not None:
        check_same_shape("log_new and mask", log_new, mask)
        # Before exp: padding may hold -inf, and inf * 0 would be NaN in the gradient.
        log_ratio = xp.where(mask, log_ratio, xp.zeros_like(log_ratio))
    if level == "token":
        advantages = advantages[..., None]
    elif level == "sequence":
        if mask is None:
            log_ratio = xp.mean(log_ratio, axis=-1)
        else:
            length = xp.sum(xp.astype(mask, log_ratio.dtype), axis=-1)
            log_ratio = xp.sum(log_ratio, axis=-1) / xp.clip(length, min=1.0)
    else:
        raise InvalidInput(f"level is {level!r}. Use 'token' (PPO, GRPO) or 'sequence' (GSPO).")
    # exp(20) is far outside any clip, and finite: infinity times 0 would be a NaN gradient.
    # Half of what the dtype holds leaves room for the advantage: exp(5.5) in float16.
    far = min(20.0, math.log(float(xp.finfo(log_ratio.dtype).max)) / 2)
    ratio = xp.exp(xp.clip(log_ratio, min=-far, max=far))
    clipped = xp.clip(ratio, min=1 - clip_low, max=1 + clip_high)
    loss = -xp.minimum(ratio * advantages, clipped * advantages)
    if mask is not None and level == "token":
        loss = xp.where(mask, loss, xp.zeros_like(loss))
    return loss


def kl_estimate(log_p: Array, log_q: Array, *, kind: Literal["k1", "k2", "k3"] = "k3") -> Array:
    """Estimate of KL(p || q) from one sample of p.

        d = log p(x) - log q(x);   k1 = d,   k2 = d^2 / 2,   k3 = exp(-d) - 1 + d

    k1 and k3 are unbiased; k3 is never negative and varies less; k2 is biased, but its gradient
    is that of the KL.  Source: Schulman, "Approximating KL divergence" (2020).

    Args:
      log_p: log-probability of the sample under the policy that drew it [...].
      log_q: under the reference [...].
      kind: the estimator.
    Returns:
      estimates in nats [...].
    Raises:
      InvalidInput: for another kind, or arrays that are not aligned.
    """
    xp, log_p, log_q = as_arrays(log_p, log_q)
    check_same_shape("log_p and log_q", log_p, log_q)
    difference = log_p - log_q
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference * (difference / 2)  # the square alone may overflow
    if kind == "k3":
        return xp.exp(-difference) - 1 + difference
    raise InvalidInput(f"kind is {kind!r}. Use 'k1', 'k2' or 'k3'.")


def policy_entropy(log_probs: Array) -> Array:
    """Entropy of a categorical policy, H = -sum_a pi_a log pi_a, with 0 log 0 = 0.

    Args:
      log_probs: normalised log-probabilities [..., A]; -inf for impossible actions.
    Returns:
      entropies in nats [...].
    Raises:
      InvalidInput: for values above 0 or NaN.
    """
    xp, log_probs = as_arrays(log_probs)
    if not holds(log_probs <= 1e-4):  # 1e-4: a float32 log-softmax may exceed 0 by rounding
        raise InvalidInput(
            "log_probs has values above 0 or NaN, so it is not a log-probability. Pass log-softmax "
            "of the logits."
        )
    possible = log_probs > -1e4  # exp(-1e4) is 0 in every format; also masks written as -1e9
    finite = xp.where(possible, log_probs, xp.zeros_like(log_probs))
    return -xp.sum(xp.where(possible, xp.exp(finite) * finite, xp.zeros_like(finite)), axis=-1)


def exemplar_loss(log_pi: Array, *, mask: Array | None = None) -> Array:
    """Loss of an exemplar: minus the mean log-probability of its tokens.

        L = -(1/T) sum_t log pi(e_t)

    Over the bank of a prompt, the gradient of its mean is that of the forward KL from the even
    distribution over the exemplars, but for the factors 1/T.
    Source: ReplayDr.GRPO ("More than One Way to Skin a Cat", NeurIPS 2026 submission).

    Args:
      log_pi: log-probabilities of the tokens under the policy that learns [..., T].
      mask: True where a token exists [..., T]; None for all.
    Returns:
      losses in nats per token [...]; 0 for an exemplar without tokens.
    Raises:
      InvalidInput: if the log-probabilities and the mask are not aligned.
    """
    xp, log_pi, mask = as_arrays(log_pi, as_mask(mask))
    if mask is None:
        mask = xp.ones_like(log_pi, dtype=xp.bool)
    check_same_shape("log_pi and mask", log_pi, mask)
    # Chosen, not multiplied: padding may hold -inf, and inf * 0 would be NaN.
    total = xp.sum(xp.where(mask, log_pi, xp.zeros_like(log_pi)), axis=-1)
    return -total / xp.clip(xp.sum(xp.astype(mask, log_pi.dtype), axis=-1), min=1.0)


def flowrl_residual(
    log_z: Array, mean_log_pi: Array, mean_log_ref: Array, reward: Array, *, beta: float = 15.0
) -> Array:
    """FlowRL's residual; the loss is its square times a detached importance ratio.

        delta = log Z(x) + (1/T) log pi(y|x) - beta r^ - (1/T) log pi_ref(y|x)

    r^ is the group-normalised reward.  Without a backward policy the fixed point weighs
    trajectories, not outcomes.  Source: FlowRL (2509.15207).

    Args:
      log_z: log of the partition function of the prompt [...] or [].
      mean_log_pi: mean log-probability of the tokens under the policy [...].
      mean_log_ref: under the reference [...].
      reward: group-normalised rewards r^ [...].
      beta: inverse temperature, >= 0.
    Returns:
      residuals [...].
    Raises:
      InvalidInput: for arrays that are not aligned, or a beta that cannot be.
    """
    _check_weight("beta", beta)
    _check_aligned(log_z=log_z, mean_log_pi=mean_log_pi, mean_log_ref=mean_log_ref, reward=reward)
    return log_z + mean_log_pi - beta * reward - mean_log_ref


def trajectory_balance_residual(
    log_z: Array, log_pf: Array, log_pb: Array, log_reward: Array
) -> Array:
    """Residual of trajectory balance; the loss is its square.

        delta = log Z + log P_F(tau) - log P_B(tau | o) - log R(o)

    0 on every trajectory iff outcomes are drawn in proportion to R.
    Source: Malkin et al. 2022 (2201.13259).

    Args:
      log_z: learned log of the total reward [...] or [].
      log_pf: log-probability of the trajectory under the policy [...].
      log_pb: log-probability of the trajectory given its end [...].
      log_reward: log of the terminal reward [...].
    Returns:
      residuals [...].
    Raises:
      InvalidInput: for arrays that are not aligned.
    """
    _check_aligned(log_z=log_z, log_pf=log_pf, log_pb=log_pb, log_reward=log_reward)
    return log_z + log_pf - log_pb - log_reward


def reinvent_residual(
    log_prior: Array, log_agent: Array, score: Array, *, sigma: float = 128.0
) -> Array:
    """REINVENT's residual: augmented minus agent's log-likelihood; the loss is its square.

        delta = log P_prior(y) + sigma s(y) - log P_agent(y)

    Source: Olivecrona et al. 2017 (1704.07555).

    Args:
      log_prior: log-likelihood of the molecule under the frozen prior [...].
      log_agent: under the agent [...].
      score: score from 0 to 1 [...].
      sigma: how many nats a score of 1 is worth, >= 0.
    Returns:
      residuals [...].
    Raises:
      InvalidInput: for arrays that are not aligned, or a sigma that cannot be.
    """
    _check_weight("sigma", sigma)
    _check_aligned(log_prior=log_prior, log_agent=log_agent, score=score)
    return log_prior + sigma * score - log_agent


def _check_weight(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InvalidInput(f"{name} is {value}, but it weighs a reward. Use a finite number >= 0.")


def _check_aligned(**arrays: Array) -> None:
    """Refuse arrays whose lengths differ, which would broadcast; log_z may be one number."""
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    if len({shape for name, shape in shapes.items() if name != "log_z" or shape != ()}) > 1:
        raise InvalidInput(
            f"the arrays have shapes {shapes}, but must be aligned: one entry per sample. "
            "Reshape them."
        )
