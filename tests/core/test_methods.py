import itertools
import math
from dataclasses import FrozenInstanceError, fields, is_dataclass

import jax
import numpy as np
import pytest
from helpers import assert_close, assert_same, namespace, numpy_of

from ipsrl import Group, group_advantage, ips_rewards
from ipsrl.core.methods import (
    DARLING,
    DPG,
    DQO,
    DRA,
    FGRPO,
    GAPO,
    GRPO,
    IPS,
    MARA,
    METHODS,
    PKPO,
    UCB,
    UCPO,
    BatchPenalty,
    ExemplarReplay,
    MaxRL,
    Method,
    PassAtK,
    RewardMethod,
    RiskSensitive,
    SetPO,
    Split,
    Uniqueness,
    Unlikeliness,
)
from ipsrl.errors import InvalidInput

# Groups with shared, single and missing outcomes, right and wrong samples, and rewards of any size.
IDS = np.array([[4, 4, 9, 9, 9, 2], [5, 5, 5, 5, 5, 5], [1, 2, 3, -1, 1, -1]])
REWARDS = np.array([[1, 2, 0, 1, 0.5, 3], [1, 0, 1, 1, 0, 2], [0, 1, 1, 0.5, 2, 0]], float)
SIZE = IDS.shape[-1]


def on(xp, group):
    """The group in this library."""
    known = {name: value for name, value in group._asdict().items() if value is not None}
    return Group(**{name: xp.like(value) for name, value in known.items()})


def members(group, which):
    """The groups reduced to, or reordered by, these positions."""
    known = {name: value for name, value in group._asdict().items() if value is not None}
    chosen = {name: value[..., which] for name, value in known.items()}
    if "similarity" in known:
        chosen["similarity"] = known["similarity"][..., which, :][..., which]
    return Group(**chosen)


def all_as_the_first(group):
    """The groups with evidence that is the same of every member."""
    known = {name: value for name, value in group._asdict().items() if value is not None}
    firsts = {name: value[..., :1] + np.zeros_like(value) for name, value in known.items()}
    if "similarity" in known:
        firsts["similarity"] = np.ones_like(known["similarity"])
    return Group(**firsts)


class MethodSuite:
    """The laws of `Method`.  A new one subclasses this, and names the fields that it reads."""

    method: Method
    across_groups = False  # whether a group's advantages depend on the other groups
    explores = False  # whether it teaches something where all rewards are 0
    tolerance: float | None = None  # of one library against another; None for that of the dtype

    def fields(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Fields besides rewards and ids, with values that depend on the position alone."""
        return {}

    def group(self, rewards=REWARDS, ids=IDS) -> Group:
        return Group(rewards=rewards, ids=ids, **self.fields(ids))

    def run(self, xp, group):
        return self.method(on(xp, group)).advantages

    def test_finite_and_shaped_like_the_rewards(self, xp):
        advantages, no_signal = self.method(on(xp, self.group()))
        assert type(advantages) is type(xp.floats([]))
        assert tuple(advantages.shape) == REWARDS.shape
        assert tuple(no_signal.shape) == REWARDS.shape[:-1]
        assert np.isfinite(numpy_of(advantages)).all()

    def test_every_library_gives_the_same(self, xp):
        expected = self.run(namespace("numpy"), self.group())
        assert_close(self.run(xp, self.group()), expected, tolerance=self.tolerance)

    def test_order_within_the_group_does_not_matter(self, xp):
        order = np.array([3, 0, 5, 1, 4, 2])
        reordered = self.run(xp, members(self.group(), order))
        expected = numpy_of(self.run(xp, self.group()))[:, order]
        assert_close(reordered, expected, tolerance=self.tolerance)

    def test_names_of_outcomes_do_not_matter(self, xp):
        renamed = self.group()._replace(ids=np.where(IDS >= 0, 1000 - 7 * IDS, IDS))
        assert_same(self.run(xp, renamed), self.run(xp, self.group()))

    def test_masked_samples_get_nothing_and_do_not_influence_the_others(self, xp):
        mask = np.broadcast_to(np.arange(SIZE) < 4, IDS.shape)
        advantages = numpy_of(self.run(xp, self.group()._replace(mask=mask)))
        assert (advantages[:, 4:] == 0).all()
        expected = self.run(xp, members(self.group(), np.arange(4)))
        assert_close(advantages[:, :4], expected, tolerance=self.tolerance)

    def test_equal_rewards_of_one_outcome_are_no_signal(self, xp):
        group = all_as_the_first(self.group(np.ones((2, SIZE)), np.full((2, SIZE), 5)))
        if self.explores:  # it tells them apart in nothing
            advantages = numpy_of(self.run(xp, group))
            assert_close(advantages, advantages[:, :1] + np.zeros(SIZE), tolerance=1e-5)  # float32
            return
        advantages, no_signal = self.method(on(xp, group))
        assert (numpy_of(advantages) == 0).all()
        assert numpy_of(no_signal).all()

    def test_rewards_of_zero_are_no_signal(self, xp):
        group = self.group(np.zeros(IDS.shape))._replace(success=None)
        advantages, no_signal = self.method(on(xp, group))
        if self.explores:
            assert not numpy_of(no_signal).all()
            return
        assert (numpy_of(advantages) == 0).all()
        assert numpy_of(no_signal).all()

    def test_without_any_outcome_it_is_finite(self, xp):
        nothing = self.group(ids=np.full(IDS.shape, -1))
        assert np.isfinite(numpy_of(self.run(xp, nothing))).all()

    def test_two_processes_with_whole_groups_get_what_one_gets(self, xp):
        if self.across_groups:
            pytest.skip("the scale is that of all groups")
        rows = [self.group(REWARDS[i : i + 1], IDS[i : i + 1]) for i in range(len(IDS))]
        apart = [numpy_of(self.run(xp, row)) for row in rows]
        whole = self.run(xp, self.group())
        assert_close(np.concatenate(apart), whole, tolerance=self.tolerance)

    def test_the_same_under_jit(self):
        group = on(namespace("jax"), self.group())
        compiled = jax.jit(lambda g: self.method(g).advantages)(group)
        assert_close(compiled, self.method(group)[0], tolerance=self.tolerance)

    def test_advantages_are_clipped_last(self, xp):
        options = {f.name: getattr(self.method, f.name) for f in fields(self.method)}
        clipped = type(self.method)(**{**options, "advantage_clip": 0.3})
        expected = np.clip(numpy_of(self.run(xp, self.group())), -0.3, 0.3)
        assert_close(clipped(on(xp, self.group())).advantages, expected)

    def test_it_is_frozen(self):
        assert is_dataclass(self.method)
        for field in fields(self.method):
            with pytest.raises(FrozenInstanceError):
                setattr(self.method, field.name, 1)

    def test_what_it_needs_is_named(self, xp):
        needed = [field for field in ("rewards", *self.method.needs) if field != "p"]
        for field in needed:  # without p^ it counts
            lacking = self.group()._replace(**{field: None})
            with pytest.raises(InvalidInput, match=f"{type(self.method).__name__} needs `{field}`"):
                self.method(on(xp, lacking))


class RewardMethodSuite(MethodSuite):
    """The laws of a method that changes rewards only."""

    method: RewardMethod

    def test_advantages_are_those_of_the_shaped_rewards(self, xp):
        group = on(xp, self.group())
        shaped = self.method.rewards(group)
        assert tuple(shaped.shape) == REWARDS.shape
        expected = group_advantage(shaped, scale=self.method.scale, baseline=self.method.baseline)
        assert_same(self.method(group).advantages, expected.advantages)

    def test_rewards_times_weights_are_the_shaped_rewards(self, xp):
        group = on(xp, self.group())
        assert_close(self.method.weights(group) * group.rewards, self.method.rewards(group))
        assert (numpy_of(self.method.weights(group))[REWARDS == 0] == 1).all()

    def test_a_reward_of_zero_stays_zero(self, xp):
        shaped = numpy_of(self.method.rewards(on(xp, self.group())))
        assert (shaped[REWARDS == 0] == 0).all()


class TestGRPO(RewardMethodSuite):
    method = GRPO()


class TestGRPOOverTheBatch(RewardMethodSuite):
    method = GRPO(scale="batch")
    across_groups = True


class TestIPS(RewardMethodSuite):
    method = IPS(eps=0.2)


class TestIPSWithAnEstimate(RewardMethodSuite):
    method = IPS(alpha=0.5, baseline="leave-one-out", scale="none")

    def fields(self, ids):
        return {"p": np.broadcast_to(np.linspace(0.2, 0.7, SIZE), ids.shape).copy()}


class TestMaxRL(MethodSuite):
    method = MaxRL()

    def test_by_hand(self, xp):
        # mean 1/4: (1 - 1/4) / (1/4) = 3 and (0 - 1/4) / (1/4) = -1, but for the 1e-6.
        advantages = self.method(Group(xp.floats([1, 0, 0, 0]))).advantages
        assert_close(advantages, [3, -1, -1, -1], tolerance=2e-5)

    def test_negative_rewards_are_refused(self, xp):
        with pytest.raises(InvalidInput, match="negative.*MaxRL"):
            self.method(Group(xp.floats([1, -1])))


class TestSplit(MethodSuite):
    method = Split()

    def fields(self, ids):
        return {"success": np.broadcast_to(np.arange(ids.shape[-1]) != 3, ids.shape).copy()}

    def test_by_hand(self, xp):
        # Success 1 1 0 0, mean 1/2, deviation sqrt(1/3): sqrt(3)/2 and -sqrt(3)/2.  Of the right
        # ones r / p = 1 / (1/2) = 2 and 1 / (1/4) = 4: mean 3, deviation sqrt(2), so that they
        # are -sqrt(1/2) and sqrt(1/2) beside it.
        p, s, t = [0.5, 0.25, 0.5, 0.5], 3**0.5 / 2, 0.5**0.5
        group = Group(xp.floats([1, 1, 0, 0]), xp.integers([1, 2, 1, 3]), p=xp.floats(p))
        expected = [s - t, s + t, -s, -s]
        assert_close(Split()(group).advantages, expected, tolerance=3e-4)  # std_eps

    def test_what_is_wrong_but_earns_is_not_scaled(self, xp):
        # By success alone: 1 0, whatever is earned.
        group = Group(xp.floats([5, 3]), xp.integers([1, 2]), success=xp.booleans([True, False]))
        plain = group_advantage(xp.floats([1, 0])).advantages
        assert_close(Split()(group).advantages, plain)

    def test_what_earns_without_an_outcome_is_wrong(self, xp):
        group = Group(xp.floats([1, 1, 1, 0]), xp.integers([1, 2, -1, 5]))
        wrong = group._replace(rewards=xp.floats([1, 1, 0, 0]))
        assert_close(Split()(group).advantages, Split()(wrong).advantages)


class TestDPG(MethodSuite):
    method = DPG()

    def fields(self, ids):
        return {"p": np.broadcast_to(np.linspace(0.2, 0.7, SIZE), ids.shape).copy()}

    def test_by_hand(self, xp):
        # r / p: 1 / (1/2) = 2, 1 / (1/4) = 4, 0: mean 2, so 0, 1, -1.  Of Z = 4: -1/2, 0, -1.
        p = xp.floats([0.5, 0.25, 0.25])
        group = Group(xp.floats([1, 1, 0]), xp.integers([1, 2, 3]), p=p)
        assert_close(DPG()(group).advantages, [0, 1, -1])
        assert_close(DPG(z=4)(group).advantages, [-1 / 2, 0, -1])

    def test_it_is_no_force_at_the_target(self, xp):
        # Exact p, in proportion to the rewards 1 and 3 of Z = 4.
        p = xp.floats([0.25, 0.75, 0.75, 0.75])
        group = Group(xp.floats([1, 3, 3, 3]), xp.integers([1, 2, 2, 2]), p=p)
        assert_close(DPG(z=4)(group).advantages, [0, 0, 0, 0])


class TestDRA(RewardMethodSuite):
    method = DRA()

    def test_by_hand(self, xp):
        # Sums of the rows 1.5, 1.5 and 1: 3 / 1.5, 0, 1.
        similarity = xp.floats([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
        group = Group(xp.floats([3, 0, 1]), xp.integers([1, 2, 3]), similarity=similarity)
        assert_close(DRA().rewards(group), [2, 0, 1])

    def test_of_equal_outcomes_it_is_ips_of_counts_but_for_the_factor_g(self, xp):
        group = on(xp, self.group(REWARDS[:2], IDS[:2]))  # all have an outcome
        assert_close(DRA().rewards(group) * SIZE, IPS().rewards(group))

    def test_parts_of_a_group_do_not_see_each_other(self, xp):
        # Outcome 1 thrice: as one group 1/3 each; as halves 1/2, 1/2 and 1.
        group = Group(xp.floats([1, 1, 1, 1]), xp.integers([1, 1, 1, 2]))
        assert_close(DRA().rewards(group), [1 / 3, 1 / 3, 1 / 3, 1])
        assert_close(DRA(parts=2).rewards(group), [1 / 2, 1 / 2, 1, 1])
        with pytest.raises(InvalidInput, match="parts is 3.*group of 4"):
            DRA(parts=3).rewards(group)

    def test_negative_rewards_are_refused(self, xp):
        with pytest.raises(InvalidInput, match="negative.*DRA"):
            self.method(Group(xp.floats([1, -1]), xp.integers([1, 1])))


class TestDRAOfSimilarities(RewardMethodSuite):
    method = DRA()

    def fields(self, ids):
        return {"similarity": similarities(ids)}


class TestUniqueness(MethodSuite):
    method = Uniqueness(alpha=0.5)

    def test_by_hand(self, xp):
        # GRPO's 1/2 1/2 1/2 -3/2 (deviation 1/2), over the counts 2 2 1 1.
        group = Group(xp.floats([1, 1, 1, 0]), xp.integers([7, 7, 8, 9]))
        expected = [1 / 4, 1 / 4, 1 / 2, -3 / 2]
        found = Uniqueness(alpha=1)(group).advantages
        assert_close(found, expected, tolerance=4e-4)  # std_eps


class TestBatchPenalty(MethodSuite):
    method = BatchPenalty(k=0.2)
    explores = True

    def test_by_hand(self, xp):
        # GRPO's 1/2 1/2 1/2 -3/2; of 4, one other has outcome 7: -.2 / 4.
        group = Group(xp.floats([1, 1, 1, 0]), xp.integers([7, 7, 8, -1]))
        expected = [0.45, 0.45, 0.5, -1.5]
        assert_close(self.method(group).advantages, expected, tolerance=4e-4)  # std_eps


class TestUCB(MethodSuite):
    method = UCB()
    explores = True

    def fields(self, ids):
        return {"visits": np.broadcast_to(np.arange(SIZE) ** 2, ids.shape).copy()}

    def test_by_hand(self, xp):
        # Equal rewards.  b = 1 (never seen), 1/2 (four times), 1 (once); none without an outcome.
        # The others' means: 3/4, 1, 3/4, so that b - b0 = 1/4, -1/2, 1/4.
        group = Group(
            xp.floats([1, 1, 1, 1]), xp.integers([1, 2, 3, -1]), visits=xp.integers([0, 4, 1, 9])
        )
        assert_close(UCB(k=0.2)(group).advantages, [0.05, -0.1, 0.05, 0])
        assert_close(UCB(k=0.2, constant=0.5)(group).advantages, [0.1, 0, 0.1, 0])


class TestDARLING(MethodSuite):
    method = DARLING()

    def test_by_hand(self, xp):
        # Others of another outcome: 2/3 2/3 1 of 3; r~ = 2/3 2/3 1 0, mean 7/12.
        group = Group(xp.floats([1, 1, 1, 0]), xp.integers([7, 7, 8, 9]))
        assert_close(DARLING()(group).advantages, [1 / 12, 1 / 12, 5 / 12, -7 / 12])

    def test_what_all_write_keeps_a_tenth(self, xp):
        # r~ = .1 and 0, mean .05
        group = Group(xp.floats([1, 0]), xp.integers([7, 7]))
        assert_close(DARLING()(group).advantages, [0.05, -0.05])


class TestGAPO(MethodSuite):
    method = GAPO(known=3)

    def test_by_hand(self, xp):
        # K = 2.  Shares 2/4 2/4 1/4 of right ones: r~ = 1 1 3/4, -1 of what is wrong.
        group = Group(xp.floats([1, 1, 1, 0]), xp.integers([7, 7, 8, 7]))
        expected = group_advantage(xp.floats([1, 1, 0.75, -1])).advantages
        assert_close(GAPO(known=2)(group).advantages, expected)

    def test_the_number_of_outcomes_must_be_given(self):
        with pytest.raises(InvalidInput, match="known is 0.*Give known"):
            GAPO()


class TestSetPO(MethodSuite):
    method = SetPO(weight=0.5)
    explores = True

    def test_by_hand(self, xp):
        # Outcomes a a b, equal rewards.  Mean similarities to the others 1/2 1/2 0:
        # D = -2/3 log 3/2.  Without an a: a b, D = 0.  Without b: a a, D = -log 2.
        group = Group(xp.floats([1, 1, 1]), xp.integers([1, 1, 2]))
        d = -2 / 3 * math.log(1.5)
        expected = [d / 2, d / 2, (d + math.log(2)) / 2]
        assert_close(self.method(group).advantages, expected)


class TestSetPOOfSimilarities(MethodSuite):
    method = SetPO()
    explores = True

    def fields(self, ids):
        return {"similarity": similarities(ids)}


class TestDQO(MethodSuite):
    method = DQO(weight=0.1)
    explores = True
    tolerance = 1e-4  # six equal rows have the condition 6000, times an ulp of 6e-8, times .1

    def test_by_hand(self, xp):
        # Outcomes a a b: det S = e (2 + e) (1 + e) with e = .001.  Without an a: (1 + e)^2;
        # without b: e (2 + e).  r - mean r = 1/3 1/3 -2/3.
        group = Group(xp.floats([1, 1, 0]), xp.integers([1, 1, 2]))
        e = 1e-3
        a, b = math.log(e * (2 + e) / (1 + e)), math.log(1 + e)
        expected = [1 / 3 + 0.1 * a, 1 / 3 + 0.1 * a, -2 / 3 + 0.1 * b]
        assert_close(self.method(group).advantages, expected, tolerance=self.tolerance)


class TestUCPO(MethodSuite):
    method = UCPO()

    def fields(self, ids):
        return likelihoods(ids)

    def test_by_hand(self, xp):
        # GRPO's 1/2 1/2 1/2 -3/2.  Of the right, 1 / pi = 1 2 5 of 8; w = .8 / 3 + .2 (1 2 5) / 8,
        # and c w = .8 + .6 (1 2 5) / 8 = .875 .95 1.175.
        group = Group(
            xp.floats([1, 1, 1, 0]), log_pf=xp.floats(np.log([1, 1 / 2, 1 / 5, 1 / 9])),
            lengths=xp.integers([1, 1, 2, 1]),
        )  # fmt: skip
        expected = [0.4375, 0.475, 0.5875, -1.5]
        assert_close(UCPO()(group).advantages, expected, tolerance=4e-4)  # std_eps
        # Per token 1 2 sqrt(5): as the authors' code has it.
        v = np.array([1, 2, 5**0.5])
        expected = [*(0.8 + 0.6 * v / v.sum()) / 2, -1.5]
        found = UCPO(per_token=True)(group).advantages
        assert_close(found, expected, tolerance=4e-4)  # std_eps

    def test_the_right_samples_share_what_they_had(self, xp):
        found, plain = self.run(xp, self.group()), self.run_of(GRPO(), xp)
        assert_close(numpy_of(found).sum(-1), numpy_of(plain).sum(-1), tolerance=2e-5)  # float32

    def run_of(self, method, xp):
        return method(on(xp, self.group())).advantages

    def test_groups_that_are_all_right_are_no_signal(self, xp):
        group = self.group(rewards=np.ones(IDS.shape))
        assert not numpy_of(self.run(xp, group)).any()


class TestUCPOPerToken(MethodSuite):
    method = UCPO(per_token=True)

    def fields(self, ids):
        return likelihoods(ids)


class TestUnlikeliness(RewardMethodSuite):
    method = Unlikeliness()

    def fields(self, ids):
        return likelihoods(ids)

    def test_equal_rewards_of_one_outcome_are_no_signal(self, xp):
        super().test_equal_rewards_of_one_outcome_are_no_signal(xp)
        # Likelihoods that differ do teach.
        assert numpy_of(self.run(xp, self.group(np.ones(IDS.shape)))).any()

    def test_by_hand(self, xp):
        # Per token -1, -2, -2, -3: ranks 4, 2 1/2, 2 1/2, 1 of 4; times 1 - .25 rank / 4.
        group = Group(
            xp.floats([1, 1, 2, 0]), log_pf=xp.floats([-1, -4, -2, -6]),
            lengths=xp.integers([1, 2, 1, 2]),
        )  # fmt: skip
        expected = [0.75, 1 - 2.5 / 16, 2 * (1 - 2.5 / 16), 0]
        assert_close(Unlikeliness().rewards(group), expected)


class TestMARA(MethodSuite):
    method = MARA(beta=0.5)

    def fields(self, ids):
        return {"log_ref": likelihoods(ids)["log_pf"]}

    def test_by_hand(self, xp):
        # Right: rewards 1, 2, 3 with log ref -1, -2, -1.5.  The likeliest earns 1, so that they
        # become 1, 1 + .5 * 1, 1 + .5 * .5; what is wrong keeps 0.
        group = Group(xp.floats([1, 2, 3, 0]), log_ref=xp.floats([-1, -2, -1.5, -0.5]))
        expected = group_advantage(xp.floats([1, 1.5, 1.25, 0])).advantages
        assert_close(self.method(group).advantages, expected)


class TestRiskSensitive(MethodSuite):
    method = RiskSensitive()

    def test_by_hand(self, xp):
        # beta = log 3: e^(beta r) = 3 1 1 1, mean 3/2: (2 - 1) / log 3 and (2/3 - 1) / log 3.
        method, beta = RiskSensitive(beta=math.log(3)), math.log(3)
        expected = np.array([1, -1 / 3, -1 / 3, -1 / 3]) / beta
        assert_close(method(Group(xp.floats([1, 0, 0, 0]))).advantages, expected)

    def test_rewards_of_any_size_stay_finite(self, xp):
        advantages = self.method(Group(xp.floats([1e4, -1e4]))).advantages
        assert_close(advantages, [1 / 2, -1 / 2])  # 2 and 0 of a mean of 1, over beta 2


class TestFGRPO(MethodSuite):
    method = FGRPO(gamma=2)

    def test_by_hand(self, xp):
        # GRPO's 1/2 1/2 1/2 -3/2, times (1 - 3/4)^2.
        expected = np.array([1, 1, 1, -3]) / 32
        found = self.method(Group(xp.floats([1, 1, 1, 0]))).advantages
        assert_close(found, expected, tolerance=4e-4)  # std_eps


class TestPassAtK(MethodSuite):
    method = PassAtK(size=2)

    def fields(self, ids):
        return {"success": np.broadcast_to(np.arange(ids.shape[-1]) < 2, ids.shape).copy()}

    def test_by_hand(self, xp):
        # One of four, k = 2: C(3, 2) / C(4, 2) = 1/2 of the pairs fail, and 2/3 of those with a
        # given wrong one.  sigma = 1/2: (1/2) / (1/2) = 1, (1/2 - 2/3) / (1/2) = -1/3.
        found = self.method(Group(xp.floats([1, 0, 0, 0]))).advantages
        assert_close(found, [1, -1 / 3, -1 / 3, -1 / 3])

    def test_one_of_one_is_grpo_without_bessel(self, xp):
        # k = 1: sigma^2 = share (1 - share)
        rewards = xp.floats([1, 0, 0, 1, 0])
        expected = group_advantage(rewards, ddof=0, std_eps=0).advantages
        assert_close(PassAtK(size=1)(Group(rewards)).advantages, expected)

    def test_sets_larger_than_the_group_are_refused(self, xp):
        with pytest.raises(InvalidInput, match="size is 4.*group has 3"):
            PassAtK()(Group(xp.floats([1, 0, 0])))

    def test_of_fewer_than_k_that_exist_the_set_is_all(self, xp):
        # No pair of one: it succeeds or fails for sure.
        group = Group(xp.floats([1, 0, 0]), mask=xp.booleans([True, False, False]))
        assert_close(PassAtK(size=2)(group).advantages, [0, 0, 0])


class TestPKPO(MethodSuite):
    method = PKPO(size=3)

    @pytest.mark.parametrize("size", [2, 3, 5, 6])
    def test_it_is_the_mean_over_all_sets(self, xp, size):
        rewards = np.array([1, 0, 0.5, 0.5, -1, 3])
        expected = np.zeros(SIZE)
        for i in range(SIZE):
            others = [j for j in range(SIZE) if j != i]
            gains = [
                max(0, rewards[i] - max(rewards[j] for j in chosen))
                for chosen in itertools.combinations(others, size - 1)
            ]
            expected[i] = np.mean(gains)
        assert_close(PKPO(size=size)(Group(xp.floats(rewards))).advantages, expected)

    def test_by_hand(self, xp):
        # Pairs of 3, 1, 0: 3 beats 1 by 2 and 0 by 3, mean 5/2; 1 beats 0 by 1 in one of two.
        found = PKPO(size=2)(Group(xp.floats([3, 1, 0]))).advantages
        assert_close(found, [5 / 2, 1 / 2, 0])


def similarities(ids):
    """Similarities by a kernel of positions, in [0, 1], and 1 for each and itself."""
    place = np.arange(ids.shape[-1])
    kernel = np.exp(-np.abs(place[:, None] - place) / 2)
    return np.broadcast_to(kernel, (*ids.shape, ids.shape[-1])).copy()


def likelihoods(ids):
    """Log-probabilities, two of them equal, and lengths."""
    log_pf = -np.array([1.5, 0.5, 2.5, 0.5, 4.0, 3.0])
    log_pf, lengths = log_pf[: ids.shape[-1]], 1 + np.arange(ids.shape[-1]) // 2
    return {
        "log_pf": np.broadcast_to(log_pf, ids.shape).copy(),
        "lengths": np.broadcast_to(lengths, ids.shape).copy(),
    }


class TestIPSOfRightSamples(RewardMethodSuite):
    method = IPS()

    def fields(self, ids):
        return {"success": np.broadcast_to(np.arange(ids.shape[-1]) != 3, ids.shape).copy()}


class TestExemplarReplay(MethodSuite):
    method = ExemplarReplay()

    def test_by_hand(self, xp):
        # Mean 1/2, and nothing divides: Dr.GRPO.
        group = Group(xp.floats([2, 0, 0, 0]), xp.integers([1, 2, 3, 4]))
        assert_close(self.method(group).advantages, [1.5, -0.5, -0.5, -0.5])

    def test_a_bank_has_the_newest_sample_of_each_outcome(self):
        bank = {}
        self.method.remember(bank, [(7, "a"), (8, "b"), (-1, "nothing"), (7, "c")])
        assert list(bank.items()) == [(8, "b"), (7, "c")]
        self.method.remember(bank, [(8, "d")])
        assert list(bank.items()) == [(7, "c"), (8, "d")]

    def test_of_more_outcomes_than_it_has_room_for_the_oldest_goes(self):
        bank = {}
        for outcomes in ([1, 2, 3], [1, 4], [5]):
            ExemplarReplay(size=3).remember(bank, [(o, str(o)) for o in outcomes])
        assert list(bank) == [1, 4, 5]

    @pytest.mark.parametrize("options", [{"weight": -1}, {"weight": math.inf}, {"size": 0}])
    def test_options_that_cannot_be_are_refused(self, options):
        with pytest.raises(InvalidInput, match=next(iter(options))):
            ExemplarReplay(**options)


def test_every_method_has_a_row_and_a_suite():
    def suites(suite):
        for one in suite.__subclasses__():
            yield one
            yield from suites(one)

    tested = {type(one.method) for one in suites(MethodSuite) if hasattr(one, "method")}
    assert {*METHODS.values(), ExemplarReplay} == tested  # which is a loss of some families


def test_every_option_is_explained():
    for method in (*METHODS.values(), ExemplarReplay):
        for field in fields(method):
            assert field.metadata.get("help", "x.").endswith("."), (method, field.name)


def test_grpo_is_the_advantage_of_the_rewards(xp):
    rewards = xp.floats(REWARDS)
    assert_same(GRPO()(Group(rewards)).advantages, group_advantage(rewards).advantages)


def test_ips_scales_what_is_right_by_hand(xp):
    # Outcome 7 thrice, of which one is wrong: 2 of 4 are right with 7, 1 of 4 with 8.
    # Right: 3 / (2/4) = 6, 1 / (2/4) = 2, 1 / (1/4) = 4; wrong: .2 as it was.
    group = Group(
        rewards=xp.floats([3, 0.2, 1, 1]),
        ids=xp.integers([7, 7, 8, 7]),
        success=xp.booleans([True, False, True, True]),
    )
    assert_close(IPS().rewards(group), [6, 0.2, 4, 2])


def test_wrong_samples_may_have_negative_rewards(xp):
    # 1 / (1/2) = 2; a penalty stays.
    right = xp.booleans([True, False])
    group = Group(xp.floats([1, -3]), xp.integers([7, 7]), success=right)
    assert_close(IPS().rewards(group), [2, -3])
    with pytest.raises(InvalidInput, match="negative.*which samples are right"):
        IPS().rewards(group._replace(success=None))


@pytest.mark.parametrize(("transform", "expected"), [("sqrt", [2, 4]), ("log", [4, 16])])
def test_transforms_by_hand(xp, transform, expected):
    # 2 / (1/2) = 4 and 8 / (1/2) = 16; sqrt: 2 and 4; log: log 4 and log 16.
    group = Group(xp.floats([2, 8]), xp.integers([7, 8]))
    expected = np.log(expected) if transform == "log" else expected
    assert_close(IPS(transform=transform).rewards(group), expected)


@pytest.mark.parametrize("transform", ["sqrt", "log"])
def test_transforms_do_not_look_outside_the_mask(xp, transform):
    mask = xp.booleans([True, True, False])
    group = Group(xp.floats([2, 8, 0]), xp.integers([7, 8, 7]), mask)
    alone = IPS(transform=transform)(Group(xp.floats([2, 8]), xp.integers([7, 8])))
    assert_close(IPS(transform=transform)(group).advantages[:2], alone.advantages)


def test_what_has_no_logarithm_or_root_is_refused(xp):
    with pytest.raises(InvalidInput, match="reward is 0.*no logarithm.*transform 'id'"):
        IPS(transform="log")(Group(xp.floats([0, 1]), xp.integers([7, 8])))
    with pytest.raises(InvalidInput, match="reward is negative.*no square root"):
        IPS(transform="sqrt")(Group(xp.floats([-1, 1]), xp.integers([-1, 8])))


@pytest.mark.parametrize(
    "options",
    [{"eps": -0.1}, {"eps": 2.0}, {"alpha": -1.0}, {"alpha": 1e3}, {"transform": "cube"},
     {"advantage_clip": -1.0}, {"advantage_clip": float("inf")}],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        IPS(**options)


def test_ids_without_a_sign_cannot_say_what_is_wrong(xp):
    group = Group(xp.floats([1, 1]), xp.of([1, 2], "uint8"), success=xp.booleans([True, False]))
    with pytest.raises(InvalidInput, match="uint8.*signed"):
        IPS()(group)


def test_p_of_an_estimator_takes_the_place_of_the_count(xp):
    group = Group(xp.floats([1, 1, 1]), xp.integers([7, 7, 8]), p=xp.floats([0.5, 0.25, 2.0]))
    assert_close(IPS().rewards(group), [2, 4, 0.5])
    assert_same(IPS().rewards(group), ips_rewards(group.rewards, group.ids, p=group.p))
