import math

import numpy as np
import pytest
import torch
from helpers import ENUMERATION, assert_close, gradient, numpy_of

from ipsrl.core.losses import (
    clipped_surrogate,
    exemplar_loss,
    flowrl_residual,
    kl_estimate,
    policy_entropy,
    reinvent_residual,
    trajectory_balance_residual,
)
from ipsrl.errors import InvalidInput

# Clipped surrogate.


def test_surrogate_by_hand(xp):
    # ratios 1.5, .5, 1.1 with A = 2:   -min(3, 1.2*2) = -2.4;  -min(1, .8*2) = -1;  -2.2
    # the same with A = -2:             -min(-3, -2.4) = 3;     -min(-1, -1.6) = 1.6;  2.2
    log_new = xp.floats(np.log([[1.5, 0.5, 1.1]] * 2))
    loss = clipped_surrogate(log_new, 0 * log_new, xp.floats([2, -2]))
    assert_close(loss, [[-2.4, -1, -2.2], [3, 1.6, 2.2]])


def test_clip_sides_are_separate(xp):
    # ratios 1.3 and .7, A = 1: min(1.3, 1.28) and .7;  A = -1: -1.3 and -max(.7, .9)
    log_new = xp.floats(np.log([[1.3, 0.7]] * 2))
    loss = clipped_surrogate(log_new, 0 * log_new, xp.floats([1, -1]), clip_low=0.1, clip_high=0.28)
    assert_close(loss, [[-1.28, -0.7], [1.3, 0.9]])


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_gradient_on_policy_is_minus_the_advantage(grad_xp, level):
    log_old = grad_xp.floats([[-1.0], [-2.0], [-0.5]])
    advantages = grad_xp.floats([1.5, -0.7, 0.0])
    slope = gradient(
        grad_xp, lambda x: clipped_surrogate(x, log_old, advantages, level=level), log_old
    )
    assert_close(slope[:, 0], [-1.5, 0.7, 0], tolerance=1e-6)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_gradient_is_zero_where_the_clip_holds(grad_xp, level):
    # Held: A > 0 above 1.2 and A < 0 below .8.  Free: the ways back, with slope -ratio A.
    ratio, advantages = np.array([1.5, 0.5, 1.5, 0.5]), np.array([1.0, -1.0, -1.0, 1.0])
    log_new = grad_xp.floats(np.log(ratio)[:, None])
    slope = gradient(
        grad_xp,
        lambda x: clipped_surrogate(x, 0 * log_new, grad_xp.floats(advantages), level=level),
        log_new,
    )
    assert_close(slope[:, 0], [0, 0, 1.5, -0.5], tolerance=1e-6)


def test_gradient_is_finite_however_far_the_policies_are_apart(grad_xp):
    # exp(100) is infinite in float32; the clip holds, so the slope is 0.
    log_new = grad_xp.floats([[100.0]])
    slope = gradient(
        grad_xp,
        lambda x: clipped_surrogate(x, 0 * log_new, grad_xp.floats([1.0])),
        log_new,
    )
    assert slope.tolist() == [[0.0]]


def test_levels_agree_on_one_token(xp):
    rng = np.random.default_rng(0)
    new, old = xp.floats(rng.normal(size=(6, 1))), xp.floats(rng.normal(size=(6, 1)))
    advantages = xp.floats(rng.normal(size=6))
    token = clipped_surrogate(new, old, advantages)
    sequence = clipped_surrogate(new, old, advantages, level="sequence")
    assert_close(sequence, numpy_of(token)[:, 0])


def test_sequence_ratio_is_the_geometric_mean(xp):
    # ratios 1.1 * 1.21 * (masked 9): sqrt(1.331) = 1.1537, below the clip; A = 2
    new = xp.floats(np.log([[1.1, 1.21, 9.0]]))
    mask = xp.booleans([[True, True, False]])
    loss = clipped_surrogate(new, 0 * new, xp.floats([2]), level="sequence", mask=mask)
    assert_close(loss, [-2 * math.sqrt(1.331)])


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("padding", [(-math.inf, -math.inf), (-math.inf, 0.0), (0.0, math.nan)])
def test_padding_is_harmless(grad_xp, level, padding):
    old = [[-1.0, -2.0], [-0.5, -1.5]]
    new = [[-0.9, -2.1], [-0.5, -1.4]]
    advantages = grad_xp.floats([1.0, -2.0])
    mask = grad_xp.booleans([[1, 1, 0], [1, 1, 0]])
    padded_new = grad_xp.floats([[*row, padding[0]] for row in new])
    padded_old = grad_xp.floats([[*row, padding[1]] for row in old])

    def padded(x):
        return clipped_surrogate(x, padded_old, advantages, level=level, mask=mask)

    def plain(x):
        return clipped_surrogate(x, grad_xp.floats(old), advantages, level=level)

    loss = numpy_of(padded(padded_new))
    assert_close(
        loss[:, :2] if level == "token" else loss, plain(grad_xp.floats(new)), tolerance=1e-6
    )
    assert level == "sequence" or (loss[:, 2] == 0).all()
    slope = gradient(grad_xp, padded, padded_new)
    assert (slope[:, 2] == 0).all()
    assert_close(slope[:, :2], gradient(grad_xp, plain, grad_xp.floats(new)), tolerance=1e-6)


def test_an_empty_sequence_has_a_finite_loss(xp):
    new = xp.floats([[-1.0, -2.0]])
    nothing = xp.booleans([[False, False]])
    for level in ("token", "sequence"):
        loss = clipped_surrogate(new, new, xp.floats([1.0]), level=level, mask=nothing)
        assert np.isfinite(numpy_of(loss)).all()


def test_misaligned_surrogates_are_refused(xp):
    logs, advantages = xp.floats(np.zeros((3, 3))), xp.floats(np.ones(3))
    with pytest.raises(InvalidInput, match="log_new and log_old have shapes"):
        clipped_surrogate(logs, logs[:2], advantages)
    with pytest.raises(InvalidInput, match="log_new and mask have shapes"):
        clipped_surrogate(logs, logs, advantages, mask=xp.booleans([True, True, True]))
    with pytest.raises(InvalidInput, match="Use 'token'.*or 'sequence'"):
        clipped_surrogate(logs, logs, advantages, level="word")


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_advantages_of_tokens_are_refused(xp, level):
    """One advantage per sequence: one per token would broadcast to a wrong loss in silence."""
    logs = xp.floats(np.zeros((3, 3)))
    with pytest.raises(InvalidInput, match="advantages"):
        clipped_surrogate(logs, logs, xp.floats(np.ones((3, 3))), level=level)


@pytest.mark.parametrize(
    "clips", [{"clip_low": v} for v in (-0.1, 1.1, math.nan)] + [{"clip_high": -0.1}]
    + [{"clip_high": math.nan}],
)  # fmt: skip
def test_impossible_clips_are_refused(xp, clips):
    logs = xp.floats([[-1.0]])
    with pytest.raises(InvalidInput, match=r"clip_low in \[0, 1\] and clip_high >= 0"):
        clipped_surrogate(logs, logs, xp.floats([1.0]), **clips)


def test_a_ratio_beyond_float16_is_finite(xp):
    """exp(20) is infinite in float16, and times an advantage of 0 it would be NaN."""
    new, old = xp.of([[0.0]] * 3, "float16"), xp.of([[-30.0]] * 3, "float16")
    loss = clipped_surrogate(new, old, xp.of([0.0, 1.0, -2.0], "float16"))
    # clipped at 1.2; not clipped where A < 0, but bounded
    assert_close(numpy_of(loss)[:2], [[0.0], [-1.2]], tolerance=1e-3)
    assert 100 < numpy_of(loss)[2, 0] < math.inf


# KL estimators.

P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
KL = float(P @ np.log(P / Q))


def test_estimates_by_hand(xp):
    # d = log(.5/.2) = log 2.5:  k1 = .9163, k2 = d^2/2, k3 = .4 - 1 + d
    p, q = xp.floats(np.log([0.5])), xp.floats(np.log([0.2]))
    d = math.log(2.5)
    assert_close(kl_estimate(p, q, kind="k1"), [d])
    assert_close(kl_estimate(p, q, kind="k2"), [d * d / 2])
    assert_close(kl_estimate(p, q), [0.4 - 1 + d])


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(kind):
    assert abs(P @ kl_estimate(np.log(P), np.log(Q), kind=kind) - KL) < ENUMERATION


def test_k3_is_never_negative_and_varies_less(xp):
    k1, k3 = (
        numpy_of(kl_estimate(xp.floats(np.log(P)), xp.floats(np.log(Q)), kind=k))
        for k in ("k1", "k3")
    )
    assert (k3 >= 0).all()
    assert (k1 < 0).any()
    assert P @ (k3 - KL) ** 2 < P @ (k1 - KL) ** 2
    equal = xp.floats(np.log(P))
    assert (numpy_of(kl_estimate(equal, equal)) == 0).all()


def test_gradient_of_k2_is_that_of_the_kl(grad_xp):
    """E_p[grad k2] = E_p[log(p/q) grad log p] = grad KL, by enumeration over a softmax."""
    logits = np.log(P)
    score = np.eye(3) - P  # row i: grad of log p_i with respect to the logits
    slope = gradient(
        grad_xp,
        lambda x: kl_estimate(x, grad_xp.floats(np.log(Q)), kind="k2"),
        grad_xp.floats(logits),
    )
    exact = P * (np.log(P / Q) - KL)
    assert_close((P * slope) @ score, exact, tolerance=1e-6)


def test_a_square_beyond_float16_is_not_formed(xp):
    # 300^2 / 2 = 45,000 fits; 300^2 does not
    k2 = kl_estimate(xp.of([0.0], "float16"), xp.of([-300.0], "float16"), kind="k2")
    assert_close(k2, [45_000.0], tolerance=1e-3)


def test_wrong_kl_arguments_are_refused(xp):
    logs = xp.floats([-1.0, -2.0])
    with pytest.raises(InvalidInput, match="log_p and log_q have shapes"):
        kl_estimate(logs, logs[:1])
    with pytest.raises(InvalidInput, match="Use 'k1', 'k2' or 'k3'"):
        kl_estimate(logs, logs, kind="k4")


# Entropy.


@pytest.mark.parametrize("impossible", [-math.inf, -1e9])
def test_entropy_of_possible_actions(xp, impossible):
    # (1/2, 1/4, 1/4): 1/2 log 2 + 2 (1/4) log 4 = 3/2 log 2
    log_probs = xp.floats([[*np.log([0.5, 0.25, 0.25]), impossible], [0.0, *[impossible] * 3]])
    assert_close(policy_entropy(log_probs), [1.5 * math.log(2), 0.0])


@pytest.mark.parametrize("impossible", [-math.inf, -1e9])
def test_gradient_of_the_entropy_is_finite(grad_xp, impossible):
    # d/dx of -e^x x = -e^x (x + 1)
    x = np.log([0.5, 0.5])
    slope = gradient(grad_xp, policy_entropy, grad_xp.floats([*x, impossible]))
    assert_close(slope, [*(-0.5 * (x + 1)), 0.0], tolerance=1e-6)


@pytest.mark.parametrize("bad", [0.5, math.nan, math.inf])
def test_logits_are_not_taken_for_log_probabilities(xp, bad):
    with pytest.raises(InvalidInput, match="log_probs has values above 0 or NaN.*log-softmax"):
        policy_entropy(xp.floats([-1.0, bad]))


# Residuals.


def test_trajectory_balance_is_zero_at_the_solution(xp):
    # Outcomes x (R = 1, two trajectories) and y (R = 3, one): Z = 4, P_F = 1/8, 1/8, 3/4.
    reward, pb = np.array([1, 1, 3]), np.array([0.5, 0.5, 1])
    pf = reward * pb / 4
    logs = [xp.floats(np.log(v)) for v in (np.full(3, 4.0), pf, pb, reward)]
    assert_close(trajectory_balance_residual(*logs), [0, 0, 0])


def test_trajectory_balance_by_hand(xp):
    # log 2 + log 1/4 - log 1/2 - log 8 = log(1/8)
    args = [xp.floats([math.log(v)]) for v in (2, 1 / 4, 1 / 2, 8)]
    assert_close(trajectory_balance_residual(*args), [math.log(1 / 8)])


def test_exemplars_by_hand(xp):
    """Mean of the tokens that exist: (1 + 2 + 3) / 3 and 4 / 1; nothing of no token."""
    log_pi = xp.floats([[-1.0, -2.0, -3.0], [-4.0, -math.inf, -5.0], [-1.0, -1.0, -1.0]])
    mask = xp.booleans([[True, True, True], [True, False, False], [False, False, False]])
    assert_close(exemplar_loss(log_pi, mask=mask), [2.0, 4.0, 0.0])
    assert_close(exemplar_loss(log_pi[:1]), [2.0])
    with pytest.raises(InvalidInput, match="log_pi and mask"):
        exemplar_loss(log_pi, mask=mask[:1])


def test_the_gradient_of_an_exemplar_by_hand():
    """At the logits of one token: (pi - 1[token]) / T, with pi = (1/2, 1/4, 1/4) and T = 2."""
    logits = torch.log(torch.tensor([[2.0, 1.0, 1.0]] * 2, dtype=torch.float64))
    logits.requires_grad_()
    log_pi = logits.log_softmax(-1)[torch.arange(2), torch.tensor([0, 2])]
    exemplar_loss(log_pi[None])[0].backward()
    expected = torch.tensor([[-0.5, 0.25, 0.25], [0.5, 0.25, -0.75]], dtype=torch.float64) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_flowrl_by_hand(xp):
    # 2 + (-1.5) - 15 * .2 - (-.5) = -2;   with beta 5: 2 - 1.5 - 1 + .5 = 0
    args = [xp.floats([v]) for v in (2.0, -1.5, -0.5, 0.2)]
    assert_close(flowrl_residual(*args), [-2.0])
    assert_close(flowrl_residual(*args, beta=5.0), [0.0])


def test_flowrl_is_zero_for_the_tilted_reference(xp):
    # pi = ref exp(beta r)/Z over two answers of one token: Z = .5 e^1 + .5 e^0
    ref, r = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    z = (ref * np.exp(r)).sum()
    pi = ref * np.exp(r) / z
    delta = flowrl_residual(
        xp.floats([math.log(z)] * 2),
        xp.floats(np.log(pi)),
        xp.floats(np.log(ref)),
        xp.floats(r),
        beta=1.0,
    )
    assert_close(delta, [0, 0])


def test_reinvent_by_hand(xp):
    # -30 + 128 * .5 - (-20) = 54;   with sigma 20: -30 + 10 + 20 = 0
    args = [xp.floats([v]) for v in (-30.0, -20.0, 0.5)]
    assert_close(reinvent_residual(*args), [54.0])
    assert_close(reinvent_residual(*args, sigma=20.0), [0.0])


RESIDUALS = {
    flowrl_residual: ["log_z", "mean_log_pi", "mean_log_ref", "reward"],
    trajectory_balance_residual: ["log_z", "log_pf", "log_pb", "log_reward"],
    reinvent_residual: ["log_prior", "log_agent", "score"],
}


@pytest.mark.parametrize("residual", RESIDUALS, ids=lambda f: f.__name__)
def test_a_column_does_not_meet_a_row(xp, residual):
    """Broadcasting would make N^2 residuals of N samples."""
    names = RESIDUALS[residual]
    row, column = xp.floats([-1.0, -2.0]), xp.floats([[-1.0], [-2.0]])
    for wrong in names:
        arrays = {name: column if name == wrong else row for name in names}
        with pytest.raises(InvalidInput, match="must be aligned"):
            residual(**arrays)
    assert tuple(residual(**dict.fromkeys(names, row)).shape) == (2,)


def test_log_z_may_be_one_number(xp):
    row = xp.floats([-1.0, -2.0])
    for residual in (flowrl_residual, trajectory_balance_residual):
        one = residual(xp.floats(0.5), row, row, row)
        assert_close(one, numpy_of(residual(xp.floats([0.5, 0.5]), row, row, row)))
    with pytest.raises(InvalidInput, match="must be aligned"):
        trajectory_balance_residual(row, row, xp.floats(0.5), row)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_impossible_weights_of_the_reward_are_refused(xp, value):
    row = xp.floats([-1.0, -2.0])
    with pytest.raises(InvalidInput, match=f"beta is {value}"):
        flowrl_residual(row, row, row, row, beta=value)
    with pytest.raises(InvalidInput, match=f"sigma is {value}"):
        reinvent_residual(row, row, row, sigma=value)
