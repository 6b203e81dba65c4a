"""Updates move the likelihoods where each loss says, whatever the micro-batch."""

import copy

import numpy as np
import pytest
import torch

from ipsrl import METHODS as ALL
from ipsrl import Group, group_advantage
from ipsrl.errors import ConfigError
from ipsrl.molecules import Config, Prior
from ipsrl.molecules.generator.prior import live
from ipsrl.molecules.search.learning import Lesson, signal, update
from ipsrl.molecules.search.outcomes import OutcomeProbability

SMILES = ["Cc1ccc(O)cc1", "C1CCN(C)C1", "CCO", "c1csc(N)c1"]
METHODS = ["reinvent", "grpo", "ips-grpo", "flowrl"]


@pytest.fixture(scope="module")
def prior(small_prior):
    return Prior.load(small_prior)


@pytest.fixture
def agent(prior):
    return Prior(copy.deepcopy(prior.model), prior.vocabulary)


def sgd(agent: Prior, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(agent.model.parameters(), lr=lr)


def log_p(agent: Prior, smiles=SMILES) -> np.ndarray:
    return agent.log_likelihood(smiles).numpy()


@pytest.mark.parametrize("method", METHODS)
def test_the_better_becomes_likelier(agent, prior, method):
    """One of four molecules is taught to be best."""
    config = Config(method=method)
    before = log_p(agent)
    taught = np.array([1.0, 0, 0, 0]) if method == "reinvent" else np.array([1.5, -0.5, -0.5, -0.5])
    for _ in range(10):
        update(config, agent, prior, sgd(agent, 1e-5), agent.encode(SMILES), taught)
    change = log_p(agent) - before
    assert change[0] == change.max() > 0


def test_reinvents_loss_by_hand(agent, prior):
    """At the start log P = log P_prior, so the residual is sigma R."""
    config = Config(method="reinvent", sigma=10.0)
    loss = update(
        config, agent, prior, sgd(agent, 0), agent.encode(SMILES), np.array([1, 0.5, 0, 0])
    )
    assert loss == pytest.approx((10**2 + 5**2) / 4, rel=1e-5)


def test_grpos_loss_by_hand(agent, prior):
    """Ratio 1 and KL 0 at the start: minus the advantage for every token, END included."""
    taught = np.array([1.0, -2.0, 0.5, 0.0])
    tokens = live(agent.encode(SMILES)).sum(1).numpy()
    loss = update(Config(method="grpo"), agent, prior, sgd(agent, 0), agent.encode(SMILES), taught)
    assert loss == pytest.approx(-(tokens * taught).sum() / 4, rel=1e-5)


def test_only_what_was_written_around_a_fragment_is_taught(agent, prior):
    """The model chose N, C and the bracket of CC(NC)O, and F and the bracket of CC(F)O."""
    around, of = agent.decorating("CC(*)O"), prior.decorating("CC(*)O")
    ids, config = agent.encode(["CC(NC)O", "CC(F)O"]), Config(method="grpo")
    loss = update(config, around, of, sgd(agent, 1e-3), ids, np.array([1.0, -2.0]))
    assert loss == pytest.approx(-(3 * 1.0 - 2 * 2.0) / 2, rel=1e-5)
    # Now agent and prior differ: REINVENT's residual is of the decorations given the fragment.
    log_new, log_prior = (each.total_log_probs(ids, batch=2).numpy() for each in (around, of))
    assert (np.abs(log_new - log_prior) > 1e-3).all()
    config = Config(method="reinvent", sigma=10.0)
    loss = update(config, around, of, sgd(agent, 0), ids, np.array([1.0, 0.5]))
    expected = ((log_prior + np.array([10.0, 5.0]) - log_new) ** 2).mean()
    assert loss == pytest.approx(expected, rel=1e-5)  # float32


def test_the_loss_of_exemplars_by_hand(agent, prior):
    """Alone, where all advantages are 0: mean -log P / T, whatever the micro-batch."""
    config = Config(method="exemplar-replay", exemplar_replay_weight=0.5, kl=0.0, micro_batch=2)
    exemplars, before = agent.encode(SMILES[:3]), log_p(agent)
    expected = 0.5 * (-before[:3] / live(exemplars).sum(1).numpy()).mean()
    ids, still = agent.encode(SMILES), np.zeros(4)
    loss = update(config, agent, prior, sgd(agent, 1e-3), ids, still, exemplars)
    assert loss == pytest.approx(expected, rel=1e-5)  # float32
    assert (log_p(agent)[:3] > before[:3]).all()


def test_exemplar_replay_is_taught_dr_grpo(agent, prior):
    """Mean 1/2, and nothing divides."""
    config = Config(method="exemplar-replay", success_above=0.5)
    probability = OutcomeProbability(config, lambda ids: np.zeros(len(ids)))
    lesson = Lesson(agent.encode(SMILES), list(SMILES), np.array([1.0, 0.6, 0.4, 0.0]))
    taught, _ = signal(config, probability, lesson, prior)
    np.testing.assert_allclose(taught, [0.5, 0.1, -0.1, -0.5])


def test_flowrls_loss_by_hand(agent, prior):
    """At the start the residual is log Z - beta A, and log Z = beta mean A."""
    config = Config(method="flowrl", beta=2.0)
    taught = np.array([1.0, -2.0, 0.5, 0.0])
    loss = update(config, agent, prior, sgd(agent, 0), agent.encode(SMILES), taught)
    assert loss == pytest.approx((2 * (taught - taught.mean())) ** 2 @ np.ones(4) / 4, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_do_not_change_an_update(agent, prior, method):
    taught = np.array([0.9, 0.1, 0.5, 0.0])
    after = []
    for size in (1, 3, 32):
        moved = Prior(copy.deepcopy(prior.model), prior.vocabulary)
        config = Config(method=method, micro_batch=size)
        update(config, moved, prior, sgd(moved, 1e-5), moved.encode(SMILES), taught)
        after.append(log_p(moved))
    np.testing.assert_allclose(after[1], after[0], rtol=1e-4)  # float32 sums in another order
    np.testing.assert_allclose(after[2], after[0], rtol=1e-4)


def test_the_clip_stops_the_second_epoch(agent, prior):
    """With a large step the ratio leaves its bounds at once, and no later epoch has a gradient."""
    after = []
    for epochs in (1, 2, 6):
        moved = Prior(copy.deepcopy(prior.model), prior.vocabulary)
        config = Config(method="grpo", epochs=epochs, kl=0.0, clip=1e-6)
        taught = np.ones(4)  # all are to rise, and have risen after one step
        update(config, moved, prior, sgd(moved, 1e-4), moved.encode(SMILES), taught)
        after.append(log_p(moved))
    assert (after[0] > log_p(agent)).all()
    # A few tokens become less likely although their molecule rises, and go on learning.
    assert np.abs(after[2] - after[1]).max() < 0.1 * np.abs(after[0] - log_p(agent)).max()


def test_kl_pulls_back(agent, prior):
    """Without a reward, an agent that has left the prior comes nearer again."""
    with torch.no_grad():
        for value in agent.model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    ids = agent.sample(64, torch.Generator().manual_seed(0), max_tokens=30).ids_NT
    config = Config(method="grpo", kl=1.0)

    def distance() -> float:
        with torch.no_grad():
            return (agent.log_probs(ids) - prior.log_probs(ids)).abs().sum(1).mean().item()

    before = distance()
    for _ in range(20):
        update(config, agent, prior, sgd(agent, 1e-3), ids, np.zeros(64))
    assert distance() < 0.9 * before


# --- what is taught -------------------------------------------------------------------------------


def group(rewards: list[float]) -> tuple[Lesson, OutcomeProbability]:
    smiles = ["Cc1ccccc1", "Oc1ccccc1", "C1CCNC1", None]
    ids = torch.zeros(4, 1, dtype=torch.int64)
    probability = OutcomeProbability(Config(), lambda ids: np.zeros(len(ids)))
    probability.show(smiles, ids, np.zeros(4))
    return Lesson(ids, smiles, np.array(rewards)), probability


def test_ips_divides_by_the_share_of_the_scaffold(prior):
    """Two benzenes, p^ = 2/4; one pyrrolidine, p^ = 1/4; what is not a molecule is left alone."""
    drawn, probability = group([0.8, 0.6, 0.4, 0.0])
    expected = group_advantage(np.array([1.6, 1.2, 1.6, 0.0])).advantages
    taught, scaled = signal(Config(), probability, drawn, prior)
    np.testing.assert_allclose(taught, expected)
    np.testing.assert_allclose(scaled, [1.6, 1.2, 1.6, 0.0])
    clipped = group_advantage(np.array([1.6, 1.2, 0.8, 0.0])).advantages  # eps = 1/2
    taught, _ = signal(Config(eps=0.5), probability, drawn, prior)
    np.testing.assert_allclose(taught, clipped)


def test_ips_without_exponent_is_grpo(prior):
    drawn, probability = group([0.8, 0.6, 0.4, 0.0])
    configs = Config(alpha=0.0), Config(method="grpo"), Config(method="flowrl")
    ips, grpo, flowrl = (signal(config, probability, drawn, prior) for config in configs)
    np.testing.assert_array_equal(ips.taught_N, grpo.taught_N)
    np.testing.assert_array_equal(flowrl.taught_N, grpo.taught_N)
    assert grpo.scaled_N is flowrl.scaled_N is None


def test_reinvent_is_taught_the_reward(prior):
    drawn, probability = group([0.8, 0.6, 0.4, 0.0])
    taught, scaled = signal(Config(method="reinvent"), probability, drawn, prior)
    assert taught.tolist() == [0.8, 0.6, 0.4, 0]
    assert scaled is None


def test_advantages_are_clipped(prior):
    drawn, probability = group([1.0, 0.0, 0.0, 0.0])
    taught, _ = signal(Config(advantage_clip=0.4), probability, drawn, prior)
    np.testing.assert_allclose(taught, [0.4, -0.4, -0.4, -0.4])


SCALED = np.array([0.9, 0.6, 0.4, 0.0])


def evidence(agent, prior, config):
    """A lesson of four and what is known of it, and the method itself of what must be known."""
    probability = OutcomeProbability(
        config, lambda ids: agent.total_log_probs(ids, batch=2).numpy()
    )
    ids = agent.encode(SMILES)
    for _ in range(3):  # so that two batches lie before the last
        probability.show(SMILES, ids, log_p(agent))
    lesson = Lesson(ids, [*SMILES[:3], None], SCALED)
    group = Group(
        SCALED,
        probability.ids(lesson.smiles),
        success=None if config.success_above is None else config.success_above < SCALED,
        log_pf=log_p(agent),
        log_ref=log_p(prior),
        lengths=live(ids).sum(1).numpy(),
        visits=np.array([2, 2, 2, 0]),  # what is not a molecule was a molecule there
        p=np.array([0.25, 0.25, 0.25, 1.0]),
    )
    return lesson, probability, group


@pytest.mark.parametrize("method", ALL)
def test_every_method_has_its_evidence(agent, prior, method):
    with torch.no_grad():  # so that agent and prior differ
        for value in agent.model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    options = {"success_above": 0.5} if "success" in ALL[method].reads else {}
    options |= {"outcome": "smiles"} if "ids" in ALL[method].needs else {}
    options |= {"gapo": {"gapo_known": 3}, "pass-at-k": {"pass_at_k_size": 2}}.get(method, {})
    config = Config(method=method, **options)
    lesson, probability, group = evidence(agent, prior, config)
    taught, _ = signal(config, probability, lesson, prior)
    expected = config.shaping()(group).advantages
    # float32 log-probabilities, summed over batches of other shapes
    np.testing.assert_allclose(taught, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(taught) > 0


@pytest.mark.parametrize("method", ["dra", "setpo", "dqo"])
def test_methods_of_similarity_see_tanimotos(agent, prior, method):
    config = Config(method=method, outcome="similarity")
    lesson, probability, group = evidence(agent, prior, config)
    whole = probability.similarities(lesson.smiles)
    np.testing.assert_array_equal(np.diag(whole), 1)
    assert (whole[3, :3] == 0).all()
    assert ((whole[:3, :3] > 0) & (whole[:3, :3] < 1)).any()
    expected = config.shaping()(group._replace(similarity=whole)).advantages
    taught, _ = signal(config, probability, lesson, prior)
    np.testing.assert_allclose(taught, expected)
    by_outcome = config.shaping()(group).advantages
    assert abs(taught - by_outcome).max() > 1e-6


def test_similarity_is_for_what_counts_by_degrees():
    with pytest.raises(ConfigError, match="outcome similarity"):
        Config(method="uniqueness", outcome="similarity")


# --- the prior inside the advantage ---------------------------------------------------------------


@pytest.fixture
def taught(prior, agent):
    """Signals of four molecules, under an agent that has left its prior."""
    with torch.no_grad():
        for value in agent.model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))

    def teach(rewards: list[float], **options) -> np.ndarray:
        config = Config(prior_in_advantage=True, **options)
        probability = OutcomeProbability(
            config, lambda ids: agent.total_log_probs(ids, batch=4).numpy()
        )
        ids = agent.encode(SMILES)
        probability.show(SMILES, ids, log_p(agent))
        lesson = Lesson(ids, list(SMILES), np.array(rewards))
        return signal(config, probability, lesson, prior).taught_N

    return teach


@pytest.mark.parametrize("method", ["grpo", "ips-grpo"])
def test_the_prior_inside_the_advantage_by_hand(taught, prior, agent, method):
    """x = sigma r~ + log P_prior - log P; two of the four have one scaffold, p^ = 1/4 each else."""
    rewards = np.array([0.9, 0.1, 0.5, 0.0])
    scaffold_shares = np.array([1, 1, 1, 1]) / 4
    scaled = rewards if method == "grpo" else rewards / scaffold_shares
    x = 7.0 * scaled + log_p(prior) - log_p(agent)
    expected = (x - x.mean()) / (x.std(ddof=1) + 1e-4)
    found = taught(rewards.tolist(), method=method, sigma=7.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32 likelihoods


def test_without_rewards_the_prior_inside_pulls_back(taught, prior, agent):
    found = taught([0.0] * 4, method="grpo")
    change = log_p(prior) - log_p(agent)
    assert (np.argsort(found) == np.argsort(change)).all()


def test_a_large_sigma_leaves_the_advantage_of_the_rewards(taught):
    rewards = [0.9, 0.1, 0.5, 0.0]
    expected = group_advantage(np.array(rewards)).advantages
    # Likelihoods differ by some nats, and rewards by 1e7 times that.
    found = taught(rewards, method="grpo", sigma=1e8)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    clipped = taught(rewards, method="grpo", sigma=1e8, advantage_clip=0.5)
    np.testing.assert_allclose(clipped, np.clip(expected, -0.5, 0.5), atol=1e-3)


@pytest.mark.parametrize("method", ["reinvent", "flowrl", "maxrl"])
def test_the_prior_inside_belongs_to_methods_of_rewards(method):
    with pytest.raises(ConfigError, match="prior_in_advantage has no effect"):
        Config(method=method, prior_in_advantage=True)


def test_sigma_has_an_effect_inside_only():
    with pytest.raises(ConfigError, match="sigma has no effect with method grpo.*Leave it out"):
        Config(method="grpo", sigma=64.0)
    assert Config(method="grpo", sigma=64.0, prior_in_advantage=True).sigma == 64
