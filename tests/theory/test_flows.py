"""The gradient flows obey the paper's theorems, from anywhere, for any rewards."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ENUMERATION, promised

from ipsrl.errors import InvalidInput
from ipsrl.theory.flows import Flow, solve

STARTS = promised(1000, 200)
SLOPES = 1e-8  # what we promise of the slopes
GRADIENT = 1e-10  # float64, a dozen terms that cancel, of size up to max p^(1 - alpha)
INTEGRATED = 1e-9  # relative tolerance 1e-10 of the integrator, times logits of order 10


def p_of(theta):
    p = np.exp(theta - theta.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def l1(p, q):
    return np.abs(p - q).sum(-1)


def draw(seed, count=STARTS, outcomes=5, spread=2.0):
    """Rewards in [.3, 1] and many starts."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 1.0, outcomes), spread * rng.normal(size=(count, outcomes))


def reference_of(seed, outcomes=5):
    return np.random.default_rng(seed).dirichlet(np.full(outcomes, 2.0))


def objective(theta, rewards, alpha, beta, reference):
    """J as it is written in the paper, with the gradient stopped in the scaled reward."""
    log_p = jax.nn.log_softmax(theta)
    p = jnp.exp(log_p)
    scaled = jax.lax.stop_gradient(rewards * p**-alpha)
    return (p * scaled).sum() - beta * (p * (log_p - jnp.log(reference))).sum()


# --- velocity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_the_velocity_is_the_gradient_of_the_objective(library):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        by_autodiff = jax.jit(jax.grad(objective))
        for _ in range(200):
            k = 6
            rewards = rng.exponential(size=k) * (rng.random(k) < 0.8)
            rewards[rng.integers(k)] = 1.0
            alpha = rng.choice([0.0, 1.0, rng.uniform(0, 2)])
            beta = rng.choice([0.0, rng.exponential()])
            reference = rng.dirichlet(np.ones(k) * 3)
            theta = rng.normal(size=k) * 2
            flow = Flow(rewards, alpha=alpha, beta=beta, reference=reference)
            ours = flow.velocity(theta if library == "numpy" else jnp.asarray(theta))
            expected = by_autodiff(theta, rewards, alpha, beta, reference)
            size = 1 + (rewards * p_of(theta) ** (1 - alpha)).sum()
            np.testing.assert_allclose(ours, expected, atol=GRADIENT * size, rtol=0)


def test_without_a_reference_the_divergence_is_an_entropy_bonus():
    """KL(p || uniform) = log K - H(p)."""
    rewards, theta = draw(1, count=20)
    beta = 0.7

    def bonus(theta):
        log_p = jax.nn.log_softmax(theta)
        return objective(theta, rewards, 1.0, 0.0, rewards) - beta * (jnp.exp(log_p) * log_p).sum()

    with jax.enable_x64(True):
        expected = jax.vmap(jax.grad(bonus))(jnp.asarray(theta))
    np.testing.assert_allclose(Flow(rewards, beta=beta).velocity(theta), expected, atol=GRADIENT)


FLOWS = {
    "expected return": {"alpha": 0.0},
    "half": {"alpha": 0.5},
    "IPS": {"alpha": 1.0},
    "twice": {"alpha": 1.5},
    "expected return + KL": {"alpha": 0.0, "beta": 0.4, "reference": reference_of(1)},
    "expected return + entropy": {"alpha": 0.0, "beta": 0.4},
    "IPS + KL": {"alpha": 1.0, "beta": 0.4, "reference": reference_of(2)},
    "half + KL": {"alpha": 0.5, "beta": 0.4, "reference": reference_of(3)},
}


@pytest.fixture(params=FLOWS)
def any_flow(request):
    return Flow(draw(2)[0], **FLOWS[request.param])


def test_a_shift_of_the_logits_changes_nothing(any_flow):
    theta = draw(3, count=50)[1]
    shifted = theta + np.linspace(-500, 500, 50)[:, None]
    # 500 + x keeps x to 1e-13; p^(1 - alpha) grows that by less than 100
    np.testing.assert_allclose(any_flow.velocity(shifted), any_flow.velocity(theta), atol=1e-10)
    np.testing.assert_allclose(any_flow.potential(shifted), any_flow.potential(theta), atol=1e-10)


def test_a_velocity_never_shifts_the_logits(any_flow):
    theta = draw(3, count=50)[1]
    velocity = any_flow.velocity(theta)
    assert np.abs(velocity.sum(-1) / (1 + np.abs(velocity).sum(-1))).max() < ENUMERATION


def test_names_of_outcomes_do_not_matter(any_flow):
    theta = draw(4, count=20)[1]
    order = np.array([3, 0, 4, 1, 2])
    renamed = Flow(
        any_flow.rewards[order], alpha=any_flow.alpha, beta=any_flow.beta,
        reference=any_flow.reference[order],
    )  # fmt: skip
    np.testing.assert_allclose(
        renamed.velocity(theta[:, order]),
        any_flow.velocity(theta)[:, order],
        rtol=1e-12,
        atol=1e-12,
    )
    if any_flow.beta > 0 and any_flow.alpha in (0, 1):
        np.testing.assert_allclose(
            renamed.stationary(), any_flow.stationary()[order], rtol=1e-12, atol=0
        )


# --- Theorems 3.1 and 4.1 -------------------------------------------------------------------------


def slopes_of_expected_return(p, r):
    """d/dt log(p_i / p_j) = p_i A_i - p_j A_j (Theorem 3.1), for one p."""
    advantage = [r_i - sum(p_k * r_k for p_k, r_k in zip(p, r, strict=True)) for r_i in r]
    pairs = itertools.product(range(len(r)), repeat=2)
    slopes = [p[i] * advantage[i] - p[j] * advantage[j] for i, j in pairs]
    return np.reshape(slopes, (len(r), len(r)))


def slopes_of_ips(p, r):
    """d/dt log(p_i / p_j) = (r_i - r_j) - R (p_i - p_j) (Theorem 4.1), for one p."""
    pairs = itertools.product(range(len(r)), repeat=2)
    slopes = [(r[i] - r[j]) - sum(r) * (p[i] - p[j]) for i, j in pairs]
    return np.reshape(slopes, (len(r), len(r)))


THEOREMS = {"3.1": (0.0, slopes_of_expected_return), "4.1": (1.0, slopes_of_ips)}


@pytest.mark.promise(number=16)
@pytest.mark.parametrize("theorem", THEOREMS)
def test_slopes_at_random_points(theorem, record_property):
    alpha, by_theorem = THEOREMS[theorem]
    rewards, theta = draw(5)
    expected = np.array([by_theorem(p, rewards) for p in p_of(theta)])
    slopes = Flow(rewards, alpha=alpha).log_ratio_slopes(theta)
    np.testing.assert_allclose(slopes, expected, atol=SLOPES, rtol=0)
    apart = np.abs(slopes - expected).max()
    record_property("figure", f"slopes of Theorem {theorem} at {STARTS} points to {apart:.0e}")


@pytest.mark.promise(number=16)
@pytest.mark.parametrize("theorem", THEOREMS)
def test_slopes_along_integrated_paths(theorem):
    alpha, by_theorem = THEOREMS[theorem]
    rewards, theta = draw(6, count=20)
    flow = Flow(rewards, alpha=alpha)
    path = solve(flow, theta, np.linspace(0, 20, 30)).reshape(-1, 5)
    expected = np.array([by_theorem(p, rewards) for p in p_of(path)])
    np.testing.assert_allclose(flow.log_ratio_slopes(path), expected, atol=SLOPES, rtol=0)


@pytest.mark.parametrize("theorem", THEOREMS)
def test_integrated_log_ratios_have_those_slopes(theorem):
    """The motion itself, by a difference of order six.

    Looser than the slopes themselves: the integrator keeps logits of order 1 to 1e-10, and a
    difference over steps of .02 multiplies that by 1.8/.02 = 90.  What the difference leaves out,
    .02^6/140 times a derivative of order seven, is below 1e-9: at h = .1 it is 7e-6, and h^6 falls
    by 16,000.
    """
    alpha, by_theorem = THEOREMS[theorem]
    rewards, theta = draw(7, count=100, spread=1.0)
    h = 0.02
    weights = np.array([-1, 9, -45, 0, 45, -9, 1]) / (60 * h)
    path = solve(Flow(rewards, alpha=alpha), theta, h * np.arange(7))
    moved = np.einsum("t,stk->sk", weights, path)
    measured = moved[:, :, None] - moved[:, None, :]
    expected = np.array([by_theorem(p, rewards) for p in p_of(path[:, 3])])
    np.testing.assert_allclose(measured, expected, atol=1e-7, rtol=0)


def test_two_outcomes_by_hand():
    # p = (3/4, 1/4), r = (1, 2): mean reward 5/4, A = (-1/4, 3/4),
    # 3.1: (3/4)(-1/4) - (1/4)(3/4) = -3/8;   4.1: (1 - 2) - 3 (3/4 - 1/4) = -5/2
    theta, rewards = np.log([3.0, 1.0]), np.array([1.0, 2.0])
    assert Flow(rewards, alpha=0.0).log_ratio_slopes(theta)[0, 1] == pytest.approx(-3 / 8)
    assert Flow(rewards).log_ratio_slopes(theta)[0, 1] == pytest.approx(-5 / 2)


# --- where IPS ends -------------------------------------------------------------------------------

LONG = np.linspace(0, 150, 151)  # e^(-.3 t) at the slowest is 3e-20


@pytest.fixture(scope="module")
def ips_paths():
    rewards, starts = draw(8)
    flow = Flow(rewards)
    return flow, solve(flow, starts, LONG)


@pytest.mark.promise(number=16)
def test_a_thousand_starts_end_on_the_rewards(ips_paths, record_property):
    flow, paths = ips_paths
    assert paths.shape == (STARTS, len(LONG), 5)
    assert paths.dtype == np.float64
    wanted = flow.rewards / flow.rewards.sum()
    assert l1(p_of(paths[:, 0]), wanted).max() > 0.5
    ends = l1(p_of(paths[:, -1]), wanted).max()
    assert ends < 1e-6
    record_property("figure", f"{STARTS} starts end within L1 {ends:.0e} of r/R")


@pytest.mark.promise(number=16)
def test_both_potentials_never_rise(ips_paths, record_property):
    flow, paths = ips_paths
    p, wanted = p_of(paths), flow.rewards / flow.rewards.sum()
    potential = flow.potential(paths)
    distance = ((p - wanted) ** 2).sum(-1)
    rises = []
    for values in (potential, distance):
        rises.append(np.diff(values, axis=1).max())
        assert rises[-1] < INTEGRATED
        assert (values[:, 0] - values[:, -1]).min() > 1e-3
    record_property("figure", f"two potentials rise by {max(rises):.0e}, the integrator's rounding")


def test_the_potential_is_the_forward_divergence(ips_paths):
    """V = R KL(p* || p) - sum_o r_o log p*_o."""
    flow, paths = ips_paths
    total = flow.rewards.sum()
    wanted = flow.rewards / total
    divergence = (wanted * (np.log(wanted) - np.log(p_of(paths)))).sum(-1)
    constant = -(flow.rewards * np.log(wanted)).sum()
    np.testing.assert_allclose(
        flow.potential(paths), total * divergence + constant, atol=ENUMERATION, rtol=1e-12
    )


def test_the_potential_falls_by_the_squared_distance():
    """dV/dt = -|dtheta/dt|^2 = -R^2 |p - p*|^2 for IPS."""
    rewards, theta = draw(9)
    flow, total = Flow(rewards), rewards.sum()
    speed = (flow.velocity(theta) ** 2).sum(-1)
    distance = ((p_of(theta) - rewards / total) ** 2).sum(-1)
    np.testing.assert_allclose(speed, total**2 * distance, rtol=1e-9, atol=ENUMERATION)


def test_every_flow_descends_its_potential(any_flow):
    """The gradient of V is minus the velocity, so dV/dt = -|dtheta/dt|^2."""
    theta = draw(10)[1]
    with jax.enable_x64(True):
        slope = np.asarray(jax.vmap(jax.grad(any_flow.potential))(jnp.asarray(theta)))
    velocity = any_flow.velocity(theta)
    size = 1 + np.abs(velocity).sum(-1, keepdims=True)
    assert np.abs((slope + velocity) / size).max() < GRADIENT
    rate = (slope * velocity).sum(-1)
    speed = (velocity**2).sum(-1)
    np.testing.assert_allclose(rate, -speed, rtol=1e-8, atol=GRADIENT)


@pytest.mark.promise(number=16)
def test_no_potential_rises_along_its_paths(any_flow):
    starts = draw(11, count=promised(1000, 100), spread=1.0)[1]
    paths = solve(any_flow, starts, np.linspace(0, 30, 61))
    assert np.diff(any_flow.potential(paths), axis=1).max() < INTEGRATED


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 1.5, 2.0])
def test_alpha_sharpens_or_flattens_the_rewards(alpha):
    rewards, starts = draw(12, count=50, spread=1.0)
    flow = Flow(rewards, alpha=alpha)
    powers = np.array([r ** (1 / alpha) for r in rewards])
    expected = powers / powers.sum()
    np.testing.assert_allclose(flow.stationary(), expected, rtol=1e-12)
    assert np.abs(flow.velocity(np.log(expected))).max() < ENUMERATION * 100  # p^-1 at alpha = 2
    ends = p_of(solve(flow, starts, np.array([0.0, 300.0]))[:, -1])
    assert l1(ends, expected).max() < 1e-6


def test_alpha_by_hand():
    # alpha = 2: sqrt of (1, 4, 9) is (1, 2, 3); alpha = 1/2: squares of (1, 2) are (1, 4)
    np.testing.assert_allclose(Flow([1, 4, 9], alpha=2).stationary(), np.array([1, 2, 3]) / 6)
    np.testing.assert_allclose(Flow([1, 2], alpha=0.5).stationary(), [0.2, 0.8])


BETAS = [1e-6, 1e-4, 1e-2, 0.1, 1.0, 10.0, 1e2, 1e4, 1e6]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("seed", range(5))
def test_the_stationary_point_of_the_regularised_flow(beta, seed):
    """r/p - beta log(p / ref) is the same for all outcomes, to 1e-10 of its own terms."""
    rewards, reference = draw(seed)[0] * 10.0 ** (seed - 2), reference_of(seed)
    p = Flow(rewards, beta=beta, reference=reference).stationary()
    assert p.sum() == pytest.approx(1, abs=ENUMERATION)
    assert (p > 0).all()
    level = rewards / p - beta * np.log(p / reference)
    assert np.ptp(level) < 1e-10 * (np.abs(rewards / p).max() + beta)


def test_weak_and_strong_regularisation():
    """First order: p is within O(beta / R) of r/R, and within O(R / beta) of the reference."""
    rewards, reference = draw(13)[0], reference_of(13)
    wanted = rewards / rewards.sum()

    def distances(beta):
        p = Flow(rewards, beta=beta, reference=reference).stationary()
        return l1(p, wanted), l1(p, reference)

    assert l1(wanted, reference) > 0.3
    near, far = zip(*(distances(beta) for beta in BETAS), strict=True)
    assert all(a < b for a, b in itertools.pairwise(near))
    assert all(a > b for a, b in itertools.pairwise(far))
    assert near[0] < 1e-5
    assert far[-1] < 1e-5


@pytest.mark.parametrize("beta", [0.3, 1.0, 10.0, 1e6])
def test_outcomes_without_reward_keep_a_share_of_the_reference(beta):
    """0 - beta log(p / ref) = c as well; compared after division by beta."""
    rewards, reference = np.array([1.0, 0.0, 0.5, 0.0]), np.array([0.1, 0.3, 0.4, 0.2])
    p = Flow(rewards, beta=beta, reference=reference).stationary()
    level = rewards / (beta * p) - np.log(p / reference)
    assert np.ptp(level) < 1e-10 * (1 + np.abs(level).max())
    assert p[1] / p[3] == pytest.approx(1.5, rel=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_unrewarded_outcomes_never_spoil_the_solution(beta):
    """e^(-c/beta) vanishes for a weak beta; nothing may overflow on the way there."""
    p = Flow([1.0, 0.0, 3.0], beta=beta, reference=[0.2, 0.5, 0.3]).stationary()
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1, abs=ENUMERATION)
    if beta < 1e-2:
        np.testing.assert_allclose(p, [0.25, 0, 0.75], atol=2 * beta)


def test_a_reference_that_nearly_excludes_an_outcome():
    """The reward keeps it alive: p = r/R up to beta log(1e12) = 28 beta."""
    reference = np.array([1e-12, 0.5, 0.5 - 1e-12])
    p = Flow([1.0, 1.0, 2.0], beta=1e-3, reference=reference).stationary()
    np.testing.assert_allclose(p, [0.25, 0.25, 0.5], atol=28e-3)
    level = np.array([1.0, 1.0, 2.0]) / p - 1e-3 * np.log(p / reference)
    assert np.ptp(level) < 1e-10 * level.max()


def test_a_single_outcome_stays():
    for flow in (Flow([2.0]), Flow([2.0], beta=0.5), Flow([2.0], alpha=0.0, beta=0.5)):
        np.testing.assert_allclose(flow.stationary(), [1.0])
        assert flow.velocity(np.array([0.7])) == 0


@pytest.mark.parametrize("rewards", [[1.0, 0.7, 0.3], [1.0, 0.0, 0.3]])
@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_regularised_ips_ends_on_its_closed_form(beta, rewards):
    flow = Flow(rewards, beta=beta, reference=[0.1, 0.2, 0.7])
    starts = draw(14, count=50, outcomes=3)[1]
    # The slowest mode is that of the rarest outcome, about beta p = .5 * .029: e^(-.014 * 1500)
    ends = p_of(solve(flow, starts, np.array([0.0, 1500.0]))[:, -1])
    assert l1(ends, flow.stationary()).max() < 1e-6


def test_regularised_expected_return_ends_on_gibbs():
    rewards, reference = np.array([1.0, 0.7, 0.3]), np.array([0.1, 0.2, 0.7])
    flow = Flow(rewards, alpha=0.0, beta=0.5, reference=reference)
    weights = np.array([q * np.exp(r / 0.5) for q, r in zip(reference, rewards, strict=True)])
    np.testing.assert_allclose(flow.stationary(), weights / weights.sum(), rtol=1e-12)
    assert np.abs(flow.velocity(np.log(weights))).max() < ENUMERATION
    starts = draw(15, count=50, outcomes=3, spread=1.0)[1]
    ends = p_of(solve(flow, starts, np.array([0.0, 600.0]))[:, -1])
    assert l1(ends, flow.stationary()).max() < 1e-6


def test_gibbs_is_not_proportional_to_the_rewards():
    """Entropy alone gives e^(r / beta), never r, however it is tuned."""
    rewards = np.array([1.0, 0.7, 0.1])
    wanted = rewards / rewards.sum()
    betas = np.geomspace(0.05, 20, 100)
    ends = [Flow(rewards, alpha=0.0, beta=beta).stationary() for beta in betas]
    assert min(l1(end, wanted) for end in ends) > 0.05


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"alpha": 0.0}, "use solve"), ({"alpha": 0.5, "beta": 0.1}, "alpha 0 or 1, or solve")],
)
def test_an_end_without_closed_form_is_refused(settings, told):
    with pytest.raises(InvalidInput, match=f"no closed-form end.*{told}"):
        Flow([1.0, 2.0], **settings).stationary()


# --- claim 1: is collapse inevitable? -------------------------------------------------------------


def test_with_equal_rewards_expected_return_moves_nothing():
    theta = draw(16)[1]
    flow = Flow(np.full(5, 0.5), alpha=0.0)
    assert np.abs(flow.velocity(theta)).max() < 1e-15  # sum p = 1 up to rounding
    assert (Flow(np.full(4, 0.5), alpha=0.0).velocity(np.zeros(4)) == 0).all()  # p = 1/4 exactly
    moved = solve(flow, theta, np.array([0.0, 100.0]))
    assert np.abs(moved[:, -1] - moved[:, 0]).max() < 1e-12


def test_a_worse_outcome_makes_the_equal_ones_drift_apart():
    """d/dt log(p_1 / p_2) = (p_1 - p_2) A with A = p_3 (1 - r_3) > 0: the richer gets richer."""
    flow = Flow([1.0, 1.0, 0.5], alpha=0.0)
    theta = np.log([[0.4, 0.2, 0.4], [0.3, 0.3, 0.4]])
    p = p_of(solve(flow, theta, np.geomspace(1, 1001, 40) - 1))
    apart = p[0, :, 0] / p[0, :, 1]
    assert (np.diff(apart) > 0).all()
    assert apart[-1] > 1.3 * apart[0]
    np.testing.assert_allclose(p[1, :, 0], p[1, :, 1], rtol=1e-9)  # balance is kept if exact
    assert (p[:, -1, 2] < 0.01).all()


def test_a_better_outcome_takes_everything_under_expected_return_only():
    rewards, start = np.array([1.0, 0.9, 0.8]), np.zeros(3)
    times = np.array([0.0, 10_000.0])
    assert p_of(solve(Flow(rewards, alpha=0.0), start, times)[-1])[0] > 0.98
    np.testing.assert_allclose(p_of(solve(Flow(rewards), start, times)[-1]), rewards / 2.7)


# --- solve, and refusals --------------------------------------------------------------------------


def test_solve_keeps_the_shape_of_the_starts_and_starts_there():
    flow, times = Flow([1.0, 2.0]), np.array([0.0, 0.5, 1.0])
    starts = np.random.default_rng(0).normal(size=(3, 4, 2))
    together = solve(flow, starts, times)
    assert together.shape == (3, 4, 3, 2)
    np.testing.assert_array_equal(together[..., 0, :], starts)
    alone = solve(flow, starts[1, 2], times)
    assert alone.shape == (3, 2)
    np.testing.assert_allclose(alone, together[1, 2], atol=INTEGRATED)


def test_solve_leaves_the_precision_of_jax_alone():
    solve(Flow([1.0, 2.0]), np.zeros(2), np.array([0.0, 1.0]))
    assert jnp.zeros(1).dtype == jnp.float32


@pytest.mark.parametrize(
    "rewards",
    [[], [0.0, 0.0], [1.0, -0.1], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]],
    ids=str,
)
def test_impossible_rewards_are_refused(rewards):
    with pytest.raises(InvalidInput, match="finite numbers >= 0, one of them positive.*Shift"):
        Flow(rewards)


@pytest.mark.parametrize(
    "reference",
    [[0.5, 0.4], [1.0, 0.0], [1.5, -0.5], [0.5, 0.25, 0.25], [np.nan, 1.0]],
    ids=str,
)
def test_an_impossible_reference_is_refused(reference):
    with pytest.raises(InvalidInput, match="positive distribution over the 2 outcomes"):
        Flow([1.0, 2.0], beta=1.0, reference=reference)


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_impossible_weights_are_refused(name, value):
    with pytest.raises(InvalidInput, match=f"{name} = {value}.*finite and >= 0"):
        Flow([1.0, 2.0], **{name: value})


@pytest.mark.parametrize("start", [np.zeros(3), np.zeros((2, 1)), 0.0])
def test_starts_of_another_size_are_refused(start):
    with pytest.raises(InvalidInput, match="the flow has 2 outcomes"):
        solve(Flow([1.0, 2.0]), start, np.array([0.0, 1.0]))


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.0], [1.0, 0.0], [0.0, np.nan], [[0.0, 1.0]], 1.0])
def test_times_that_do_not_increase_are_refused(times):
    with pytest.raises(InvalidInput, match="two increasing numbers"):
        solve(Flow([1.0, 2.0]), np.zeros(2), np.array(times))
