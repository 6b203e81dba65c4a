"""Gradient flows on the softmax bandit, under expected return and under IPS.

A policy p = softmax(theta) over K outcomes with rewards r follows the gradient of

    J(theta) = sum_o p_o sg[r_o p_o^(-alpha)] - beta KL(p || ref)     (sg: no gradient)

    dtheta_i/dt = p_i (w_i - sum_k p_k w_k),    w = r p^(-alpha) - beta log(p / ref)

alpha = 0 is expected return (Theorem 3.1), alpha = 1 inverse probability scaling (Theorem 4.1), and
beta > 0 regularises towards a reference (Eq. 8); a uniform reference is an entropy bonus.  Methods
take NumPy or JAX arrays; `solve` works in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax, wrightomega

from ipsrl.core.arrays import as_arrays
from ipsrl.errors import InvalidInput


@dataclass(frozen=True)
class Flow:
    """One gradient flow.

    Attributes:
      rewards: r >= 0 [K], at least one positive.
      alpha: 0 for expected return, 1 for inverse probability scaling.
      beta: weight >= 0 of the KL divergence to the reference.
      reference: positive distribution [K]; None for uniform.
    Raises:
      InvalidInput: for negative or all-zero rewards, or a reference that excludes an outcome.
    """

    rewards: np.ndarray
    alpha: float = 1.0
    beta: float = 0.0
    reference: Any = None  # an array once initialised

    def __post_init__(self) -> None:
        r = np.asarray(self.rewards, float)
        if r.ndim != 1 or not (np.isfinite(r).all() and (r >= 0).all() and r.max(initial=0) > 0):
            raise InvalidInput(
                "rewards must be a list of finite numbers >= 0, one of them positive: they define "
                "the distribution that IPS tends to. Shift them so that the worst is 0."
            )
        ref = np.full(len(r), 1 / len(r)) if self.reference is None else self.reference
        ref = np.asarray(ref, float)
        if ref.shape != r.shape or not (ref > 0).all() or abs(ref.sum() - 1) > 1e-6:
            raise InvalidInput(
                f"reference must be a positive distribution over the {len(r)} outcomes. "
                "Divide it by its sum, and leave out outcomes that it excludes."
            )
        if not (0 <= self.alpha < np.inf and 0 <= self.beta < np.inf):
            raise InvalidInput(
                f"alpha = {self.alpha} and beta = {self.beta}, but both must be finite and >= 0."
            )
        object.__setattr__(self, "rewards", r)
        object.__setattr__(self, "reference", ref)

    def velocity(self, theta):
        """dtheta/dt [..., K] at logits theta [..., K]."""
        xp, log_p, rewards, log_ref = self._at(theta)
        p = xp.exp(log_p)
        # p w rather than w: p^(1 - alpha) stays finite where p vanishes and alpha <= 1.
        pw = rewards * xp.exp((1 - self.alpha) * log_p) - self.beta * p * (log_p - log_ref)
        return pw - p * xp.sum(pw, axis=-1, keepdims=True)

    def log_ratio_slopes(self, theta):
        """d/dt log(p_i / p_j) [..., K, K]: p_i A_i - p_j A_j, or (r_i - r_j) - R (p_i - p_j)."""
        velocity = self.velocity(theta)
        return velocity[..., :, None] - velocity[..., None, :]

    def potential(self, theta):
        """The potential that the flow descends: dV/dt = -|dtheta/dt|^2 [...].

        V = -sum_o r_o p_o^(1 - alpha) / (1 - alpha) + beta KL(p || ref); for alpha = 1 the first
        term is R logsumexp(theta) - sum_i r_i theta_i = -sum_o r_o log p_o.
        """
        xp, log_p, rewards, log_ref = self._at(theta)
        if self.alpha == 1:
            gain = xp.sum(rewards * log_p, axis=-1)
        else:
            powers = xp.exp((1 - self.alpha) * log_p)
            gain = xp.sum(rewards * powers, axis=-1) / (1 - self.alpha)
        kl = xp.sum(xp.exp(log_p) * (log_p - log_ref), axis=-1)
        return self.beta * kl - gain

    def stationary(self) -> np.ndarray:
        """The end point of the flow, in closed form [K].

            alpha > 0, beta = 0:  p proportional to r^(1/alpha)
            alpha = 0, beta > 0:  p proportional to ref exp(r / beta)                    (Gibbs)
            alpha = 1, beta > 0:  p_i = r_i / (beta W(r_i e^(c/beta) / (beta ref_i))),  sum p = 1

        W is Lambert's function (closed form of the stationary points of Eq. 8; ours).  An outcome
        with r_i = 0 tends to ref_i e^(-c/beta) there.

        Raises:
          InvalidInput: for expected return alone, whose end depends on the start, and for other
            combinations, which have no closed form.
        """
        if self.beta == 0 and self.alpha > 0:
            with np.errstate(divide="ignore"):  # log 0: a reward of 0 ends at probability 0
                return softmax(np.log(self.rewards) / self.alpha)
        if self.beta > 0 and self.alpha == 0:
            return softmax(np.log(self.reference) + self.rewards / self.beta)
        if self.beta > 0 and self.alpha == 1:
            return self._lambert_point()
        raise InvalidInput(
            f"alpha = {self.alpha:g}, beta = {self.beta:g} has no closed-form end. "
            + (
                "Expected return alone ends on its best outcomes, as the start has it: use solve."
                if self.alpha == 0
                else "With beta > 0 use alpha 0 or 1, or solve."
            )
        )

    def _at(self, theta) -> tuple[Any, Any, Any, Any]:
        """Return the namespace of the logits, log p, and the rewards and log reference in it."""
        xp, theta, rewards, reference = as_arrays(theta, self.rewards, self.reference)
        theta = theta - xp.max(theta, axis=-1, keepdims=True)
        log_p = theta - xp.log(xp.sum(xp.exp(theta), axis=-1, keepdims=True))
        return xp, log_p, rewards, xp.log(reference)

    def _lambert_point(self) -> np.ndarray:
        r, log_ref = self.rewards, np.log(self.reference)
        positive = r > 0

        def log_p(c: float) -> np.ndarray:
            """log p at constant c; W(e^x) = omega(x) keeps large exponents finite."""
            x = np.log(np.where(positive, r, 1.0) / self.beta) - log_ref + c / self.beta
            # omega(x) = e^x within rounding where e^x is tiny; its logarithm is then x.
            log_omega = np.where(x < -30, x, np.log(np.maximum(wrightomega(x).real, 1e-300)))
            rewarded = np.log(np.where(positive, r, 1.0) / self.beta) - log_omega
            return np.where(positive, rewarded, log_ref - c / self.beta)

        # sum p falls with c: from large at -bound to small at +bound.
        bound = 1.0 + r.sum()
        while np.logaddexp.reduce(log_p(-bound)) < 0:
            bound *= 2
        high = bound
        while np.logaddexp.reduce(log_p(high)) > 0:
            high *= 2
        c: Any = brentq(lambda c: np.logaddexp.reduce(log_p(c)), -bound, high, xtol=1e-15)
        return softmax(log_p(c))


def solve(flow: Flow, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Integrate the flow with an adaptive method of order eight.

    Args:
      flow: what to follow.
      start: logits at times[0] [..., K]; all starts are integrated together.
      times: increasing times [T].
    Returns:
      logits theta [..., T, K], float64.
    Raises:
      InvalidInput: if the starts do not have K logits, or times do not increase.
    """
    start, times = np.asarray(start, float), np.asarray(times, float)
    if start.shape[-1:] != flow.rewards.shape:
        raise InvalidInput(
            f"start has shape {start.shape}, but the flow has {len(flow.rewards)} outcomes. "
            "Pass logits (..., outcomes)."
        )
    if not np.isfinite(start).all():
        raise InvalidInput("start has NaN or infinite logits, which no policy has.")
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
        raise InvalidInput("times must be at least two increasing numbers.")
    with jax.enable_x64(True):

        def one(theta):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda _t, theta, _args: flow.velocity(theta)),
                diffrax.Dopri8(),
                t0=times[0],
                t1=times[-1],
                dt0=None,
                y0=theta,
                saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
                stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
                max_steps=1_000_000,
            )
            return solution.ys

        flat = jnp.asarray(start.reshape(-1, start.shape[-1]))
        theta = np.asarray(jax.jit(jax.vmap(one))(flat))
    return theta.reshape(*start.shape[:-1], len(times), -1)
