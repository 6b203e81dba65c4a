from dataclasses import FrozenInstanceError, fields, is_dataclass

import jax
import numpy as np
import pytest
from helpers import assert_close, assert_same, namespace, numpy_of

from ipsrl import (
    GRPO,
    IPS,
    METHODS,
    Group,
    MaxRL,
    Method,
    RewardMethod,
    group_advantage,
    ips_rewards,
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
    return Group(**{name: value[..., which] for name, value in known.items()})


class MethodSuite:
    """The laws of `Method`.  A new one subclasses this, and names the fields that it reads."""

    method: Method
    across_groups = False  # whether a group's advantages depend on the other groups

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
        assert_close(self.run(xp, self.group()), self.run(namespace("numpy"), self.group()))

    def test_order_within_the_group_does_not_matter(self, xp):
        order = np.array([3, 0, 5, 1, 4, 2])
        reordered = self.run(xp, members(self.group(), order))
        assert_close(reordered, numpy_of(self.run(xp, self.group()))[:, order])

    def test_names_of_outcomes_do_not_matter(self, xp):
        renamed = self.group()._replace(ids=np.where(IDS >= 0, 1000 - 7 * IDS, IDS))
        assert_same(self.run(xp, renamed), self.run(xp, self.group()))

    def test_masked_samples_get_nothing_and_do_not_influence_the_others(self, xp):
        mask = np.broadcast_to(np.arange(SIZE) < 4, IDS.shape)
        advantages = numpy_of(self.run(xp, self.group()._replace(mask=mask)))
        assert (advantages[:, 4:] == 0).all()
        assert_close(advantages[:, :4], self.run(xp, members(self.group(), np.arange(4))))

    def test_equal_rewards_of_one_outcome_are_no_signal(self, xp):
        group = self.group(np.ones((2, SIZE)), np.full((2, SIZE), 5))
        group = group._replace(p=None, success=None)  # all alike
        advantages, no_signal = self.method(on(xp, group))
        assert (numpy_of(advantages) == 0).all()
        assert numpy_of(no_signal).all()

    def test_rewards_of_zero_are_no_signal(self, xp):
        advantages, no_signal = self.method(on(xp, self.group(np.zeros(IDS.shape))))
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
        assert_close(np.concatenate(apart), self.run(xp, self.group()))

    def test_the_same_under_jit(self):
        group = on(namespace("jax"), self.group())
        assert_close(jax.jit(lambda g: self.method(g).advantages)(group), self.method(group)[0])

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


class TestIPSOfRightSamples(RewardMethodSuite):
    method = IPS()

    def fields(self, ids):
        return {"success": np.broadcast_to(np.arange(ids.shape[-1]) != 3, ids.shape).copy()}


def test_every_method_has_a_row_and_a_suite():
    def suites(suite):
        for one in suite.__subclasses__():
            yield one
            yield from suites(one)

    tested = {type(one.method) for one in suites(MethodSuite) if hasattr(one, "method")}
    assert set(METHODS.values()) == tested


def test_every_option_is_explained():
    for method in METHODS.values():
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


def test_zero_has_no_logarithm(xp):
    with pytest.raises(InvalidInput, match="reward is 0.*transform 'id'"):
        IPS(transform="log")(Group(xp.floats([0, 1]), xp.integers([7, 8])))


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
