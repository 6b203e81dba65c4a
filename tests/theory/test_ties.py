"""Noise concentrates a policy whose outcomes tie, as derived; IPS holds it, as derived."""

import itertools

import numpy as np
import pytest
from helpers import ENUMERATION, SIGMAS
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import Exact, Group
from ipsrl.core.methods import GRPO, IPS
from ipsrl.errors import InvalidInput
from ipsrl.theory.groups import trace
from ipsrl.theory.ties import concentration_rate, drift, rarity_rate, resting_variance, tie_noise

P = np.array([0.5, 0.3, 0.2])
softmax = st.lists(st.floats(-3, 3), min_size=2, max_size=6).map(
    lambda logits: np.exp(logits) / np.exp(logits).sum()
)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_noise_of_a_step_is_what_all_groups_give(size):
    """Covariance of lr mean_g A_g (e_{o_g} - p) over every group and every judgement of it."""
    lr, paid, K = 0.3, 0.4, 3
    total, second, method = np.zeros(K), np.zeros((K, K)), GRPO(std_eps=0.0)
    for group in itertools.product(range(K), repeat=size):
        for verdict in itertools.product([0.0, 1.0], repeat=size):
            if len(set(verdict)) == 1:
                continue  # all paid alike: no advantage (and 0 / 0 without std_eps)
            ids, rewards = np.array(group), np.array(verdict)
            chance = P[ids].prod() * np.where(rewards > 0, paid, 1 - paid).prod()
            advantages = method(Group(rewards=rewards, ids=ids)).advantages
            step = lr * advantages @ (np.eye(K)[ids] - P) / size
            total += chance * step
            second += chance * np.outer(step, step)
    np.testing.assert_allclose(total, 0, atol=ENUMERATION)  # no drift
    c = tie_noise(size, lr, paid=paid)
    np.testing.assert_allclose(second, c * (np.diag(P) - np.outer(P, P)), atol=ENUMERATION)


def test_by_hand():
    # G = 2, paid 1/2: half of the groups are mixed, and lr^2 (1/4) (1/2)
    assert tie_noise(2, 1.0, paid=0.5) == pytest.approx(1 / 8)
    assert tie_noise(8, 1.0, paid=1.0) == 0  # all paid: GRPO stands still
    assert tie_noise(8, 1.0, paid=0.0) == 0
    # (K - 1) / K^3 from equal parts; sum 1/p grows by K - 1
    for K in (2, 3, 8):
        uniform = np.full(K, 1 / K)
        assert concentration_rate(uniform) == pytest.approx((K - 1) / K**3)
        assert rarity_rate(uniform) == pytest.approx(K - 1)
    # two outcomes: 2 - 4 p q, with 1/p + 1/q = 1 / (p q)
    assert rarity_rate(np.array([0.9, 0.1])) == pytest.approx(2 - 4 * 0.09)
    assert concentration_rate(np.array([1.0, 0.0])) == pytest.approx(0)


@given(softmax)
def test_the_rates_are_the_second_derivatives(p):
    """d E[F(softmax(theta))] / dt = 1/2 sum_kl C_kl d2F / dtheta_k dtheta_l, by differences."""
    K, h, theta = len(p), 1e-3, np.log(p)
    C = np.diag(p) - np.outer(p, p)

    def along(function):
        """1/2 trace(C H) from the directions in which C is a sum of squares."""
        values, vectors = np.linalg.eigh(C)
        total = 0.0
        for value, vector in zip(values, vectors.T, strict=True):
            ends = [function(theta + sign * h * vector) for sign in (1, 0, -1)]
            total += value * (ends[0] - 2 * ends[1] + ends[2]) / h**2 / 2
        return total

    def policy(logits):
        return np.exp(logits) / np.exp(logits).sum()

    # h^2 times a fourth derivative, and rounding 1e-16 / h^2 of values up to 1/p
    scale = (1 / p).sum()
    assert concentration_rate(p) == pytest.approx(
        along(lambda t: (policy(t) ** 2).sum()), abs=1e-5 * K
    )
    assert rarity_rate(p) == pytest.approx(along(lambda t: (1 / policy(t)).sum()), abs=1e-5 * scale)


# Groups, steps and numbers of outcomes that share nothing but c.
WALKS = [(8, 8, 0.2), (8, 32, 0.4), (4, 8, 0.2)]


@pytest.mark.parametrize(("outcomes", "size", "lr"), WALKS)
def test_grpo_concentrates_ties_at_the_derived_rate(outcomes, size, lr):
    """A third of the time of the collapse, K / c, against the rate along the simulated paths."""
    c, seeds, points = tie_noise(size, lr, paid=0.5), 400, 11
    every = int(0.03 * outcomes / c)
    options = {"every": every, "points": points, "paid": 0.5, "lr": lr, "seeds": seeds}
    p = trace(np.ones(outcomes), size, GRPO(), **options).astype(float)
    p /= p.sum(-1, keepdims=True)
    for measure, rate in (
        ((p**2).sum(-1), concentration_rate(p)),
        ((1 / p).sum(-1), rarity_rate(p)),
    ):
        # What a path gained beyond its rates is a martingale: its mean over the seeds is 0.
        area = every * c * (rate[:, 1:] + rate[:, :-1]).sum(-1) / 2
        beyond = measure[:, -1] - measure[:, 0] - area
        error = beyond.std(ddof=1) / np.sqrt(seeds)
        gained = (measure[:, -1] - measure[:, 0]).mean()
        assert abs(beyond.mean()) < SIGMAS * error
        assert error < gained / 10  # enough to see a rate that is wrong by half
    # And the noise is all: no outcome is preferred.
    assert (np.abs(p[:, -1].mean(0) - 1 / outcomes) < SIGMAS * p[:, -1].std(0) / seeds**0.5).all()


def test_where_all_are_paid_grpo_stands_still():
    p = trace(np.ones(4), 8, GRPO(), every=50, points=3, lr=1.0, seeds=5)
    np.testing.assert_array_equal(p, np.full((5, 3, 4), 0.25))


def test_unequal_rewards_drift_whatever_the_group():
    """Twice the step over half the time ends at the same place, and so does a larger group."""
    rewards, theta = np.array([2.0] + [1.0] * 7), np.zeros(8)
    for _ in range(1000):  # Euler steps of lr t = .02
        p = np.exp(theta) / np.exp(theta).sum()
        theta = theta + 0.02 * drift(p, rewards, paid=0.5)
    p = np.exp(theta) / np.exp(theta).sum()
    assert 0.3 < p[0] < 0.9
    for size, lr in ((64, 0.02), (64, 0.04), (256, 0.04)):
        every = int(20 / lr)
        found = trace(rewards, size, GRPO(), every=every, points=2, paid=0.5, lr=lr, seeds=20)
        # .03: the deviation of 64 members differs from that of all of them by 1 %, for 20 units
        assert abs(found[:, 1, 0].mean() - p[0]) < 0.03
    assert (drift(np.full(4, 0.25), np.ones(4), paid=0.5) == 0).all()
    assert (drift(np.full(4, 0.25), np.ones(4), paid=1.0) == 0).all()


@pytest.mark.parametrize("estimator", ["group", "exact"])
@pytest.mark.parametrize(("outcomes", "size", "lr"), [(8, 8, 0.1), (16, 8, 0.2)])
def test_ips_rests_in_the_derived_spread(outcomes, size, lr, estimator):
    variance = resting_variance(outcomes, size, lr, estimator=estimator)
    method = IPS(scale="none", baseline="none")
    # 2 K / lr steps are two times of relaxation of exact p; the first eight points are left out.
    every, seeds = int(2 * outcomes / lr), 60
    p = trace(
        np.ones(outcomes), size, method, estimator=Exact() if estimator == "exact" else None,
        every=every, points=28, lr=lr, seeds=seeds,
    )  # fmt: skip
    found = np.log(p[:, 8:].astype(float) * outcomes).var(axis=(1, 2))
    error = found.std(ddof=1) / np.sqrt(seeds)
    # .05: the force is linear for small log p only, and a step is not infinitely small
    assert abs(found.mean() - variance) < SIGMAS * error + 0.05 * variance
    assert error < 0.05 * variance


def test_a_larger_group_and_a_smaller_step_rest_closer():
    for estimator in ("group", "exact"):
        rest = [resting_variance(8, G, lr, estimator=estimator) for G, lr in
                ((8, 0.1), (16, 0.1), (8, 0.05))]  # fmt: skip
        assert rest[1] < rest[0]
        assert rest[2] == pytest.approx(rest[0] / 2)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: tie_noise(1, 0.1, paid=0.5), "group_size is 1"),
        (lambda: tie_noise(8, 0.0, paid=0.5), "lr 0"),
        (lambda: tie_noise(8, 0.1, paid=1.5), "paid is 1.5"),
        (lambda: concentration_rate(np.array([0.5, 0.6])), "p"),
        (lambda: resting_variance(8, 1, 0.1, estimator="group"), "group_size is 1"),
    ],
)
def test_what_cannot_be_is_refused(call, told):
    with pytest.raises(InvalidInput, match=told):
        call()
