import math
import re

import numpy as np
import pytest
from helpers import namespace
from hypothesis import given
from hypothesis import strategies as st

from ipsrl import check_groups, minority_survives, stationary_distribution
from ipsrl.errors import InvalidInput

VARIED = np.array([[1, 1, 2, 3, 3], [4, 4, 4, 5, 6]])


def test_nothing_stands_against_a_varied_batch():
    d = check_groups(np.ones(VARIED.shape), VARIED, eps=0.4)
    assert (d.all_distinct, d.single_outcome, d.clip_is_noop) == (0, 0, False)
    assert (d.reward_ratio, d.minority_at_risk, d.warnings) == (1.0, False, ())


def test_fractions_are_over_groups_with_an_outcome(xp):
    # distinct; single; distinct but for a missing one; varied; empty (not counted)
    ids = [[1, 2, 3], [4, 4, 4], [7, 8, -1], [1, 1, 2], [-1, -1, -1]]
    d = check_groups(xp.floats(np.ones((5, 3))), xp.integers(ids))
    assert (d.all_distinct, d.single_outcome) == (2 / 4, 1 / 4)
    assert d.warnings == ()  # no fraction is above one half


def test_ragged_groups_are_the_smaller_groups(xp):
    # Within the mask: 1 2 -> distinct;  4 4 -> single;  5 -> single;  nothing
    ids = xp.integers([[1, 2, 2], [4, 4, 9], [5, 6, 6], [1, 1, 1]])
    mask = xp.booleans([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    rewards = xp.floats([[1, 2, 99], [1, 1, 99], [1, 99, 99], [99, 99, 99]])
    d = check_groups(rewards, ids, mask=mask)
    assert (d.all_distinct, d.single_outcome) == (1 / 3, 2 / 3)
    assert d.reward_ratio == 2


@pytest.mark.parametrize(
    ("rewards", "ids", "eps", "warns"),
    [
        ([[1, 1, 1]], [[1, 2, 3]], 0.0, r"All outcomes differ in 100%.*coarser outcome"),
        ([[1, 1, 1]], [[1, 1, 1]], 0.0, r"100% of the groups have a single outcome.*more randomly"),
        ([[1, 1, 1]], [[1, 1, 2]], 0.3, r"eps = 0\.3 has no effect.*eps > 0\.333"),
        ([[1, 1, 2]], [[1, 1, 2]], 0.0, r"factor of 2, but G - 1 = 2.*larger groups"),
        (
            [[1, 1]],
            [[-1, -1]],
            0.0,
            r"100% of the rewarded samples have no outcome.*outcome function",
        ),
    ],
    ids=["distinct", "single", "clip", "minority", "none"],
)
def test_each_warning(rewards, ids, eps, warns):
    d = check_groups(rewards, ids, eps=eps)
    assert len(d.warnings) == 1
    assert re.search(warns, d.warnings[0])


def test_reward_ratio_is_over_positive_rewards_of_outcomes():
    d = check_groups([[0, 2, 8, 100]], [[1, 1, 2, -1]])
    assert (d.reward_ratio, d.minority_at_risk) == (4, True)
    assert check_groups([[0, 0]], [[1, 1]]).reward_ratio is None
    assert not check_groups([[0, 0]], [[1, 1]]).minority_at_risk


def test_a_batch_without_any_outcome_is_diagnosed():
    d = check_groups([[1, 1]], [[-1, -1]])
    assert (d.all_distinct, d.single_outcome, d.reward_ratio) == (0, 0, None)


def test_any_leading_axes_and_one_group():
    cube = check_groups(np.ones((2, 1, 5)), VARIED[:, None, :])
    assert cube == check_groups(np.ones((2, 5)), VARIED)
    assert check_groups([1, 1, 1], [1, 2, 3]).all_distinct == 1


def test_half_precision_is_diagnosed():
    import torch

    d = check_groups(torch.ones((1, 3), dtype=torch.bfloat16), torch.tensor([[1, 1, 2]]))
    assert d.reward_ratio == 1


def test_another_estimate_of_p_says_what_is_inert():
    """All outcomes differ in three groups; p^ does too in the first, not in the second, and in the
    third only for a sample without an outcome.  Size, clip and rewards say nothing then."""
    rewards, ids = [[9, 1, 1]] * 3, [[1, 2, 3], [1, 2, 3], [1, 2, -1]]
    p = [[0.2, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 1.0]]
    d = check_groups(rewards, ids, eps=0.2, p=p)
    assert (d.all_distinct, d.clip_is_noop, d.minority_at_risk) == (2 / 3, False, False)
    assert len(d.warnings) == 1
    by_group = check_groups(rewards, ids, eps=0.2)
    assert (by_group.all_distinct, by_group.clip_is_noop) == (1, True)
    assert by_group.minority_at_risk
    assert len(by_group.warnings) == 3


@st.composite
def batches(draw):
    """Rewards, ids and mask [P, G] of groups that collapsed, differ, are mixed or mostly empty."""
    size = draw(st.integers(1, 6))
    kinds = {
        "mixed": st.integers(-1, 2),
        "one": st.just(3),
        "one or none": st.sampled_from([3, -1, -1]),
        "none": st.just(-1),
    }
    members = st.sampled_from(list(kinds)).flatmap(
        lambda kind: st.lists(kinds[kind], min_size=size, max_size=size)
    )
    ids = np.array(draw(st.lists(members | st.just([*range(size)]), min_size=1, max_size=5)))
    rewards = draw(st.lists(st.sampled_from([0, 1, 1, 8]), min_size=ids.size, max_size=ids.size))
    length = st.just(size) | st.integers(0, size)
    lengths = draw(st.lists(length, min_size=len(ids), max_size=len(ids)))
    mask = np.arange(size) < np.array(lengths)[:, None]
    return np.reshape(rewards, ids.shape).astype(float), ids, mask


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@given(batches(), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.randoms())
def test_warnings_are_true_and_do_not_contradict_each_other(library, batch, eps, random):
    xp, (rewards, ids, mask) = namespace(library), batch
    d = check_groups(xp.floats(rewards), xp.integers(ids), mask=xp.booleans(mask), eps=eps)
    words = ("no outcome", "group of one", "differ in", "collapsed", "no effect", "factor of")
    none, alone, differ, collapsed, no_clip, risk = (
        any(word in warning for warning in d.warnings) for word in words
    )
    assert none + alone + differ + collapsed + no_clip + risk == len(d.warnings)
    # Outcomes are unknown, or have nothing beside them, or are too many, or too few.
    assert none + alone + differ + collapsed <= 1
    groups = [group[there].tolist() for group, there in zip(ids, mask, strict=True)]
    pairs = [(group, [i for i in group if i >= 0]) for group in groups]
    size = max(map(len, groups))
    with_outcome = sum(1 for _, known in pairs if known)
    if none:
        earn = [group[there & (r > 0)] for group, there, r in zip(ids, mask, rewards, strict=True)]
        few = sum(
            1
            for (group, known), earning in zip(pairs, earn, strict=True)
            if len(group) > 1 and len(set(known)) <= 1 and (earning < 0).any()
        )
        missing = sum((earning < 0).sum() for earning in earn)
        assert 2 * few > len(pairs) - groups.count([]) or missing > 0.9 * sum(map(len, earn))
    if alone:
        assert 2 * sum(len(group) == 1 for group in groups) > len(groups) - groups.count([])
    if differ:
        assert 2 * sum(len(set(known)) == len(known) > 1 for _, known in pairs) > with_outcome
    if collapsed:
        one = [
            len(known) > 1 and len(set(known)) == 1 and 2 * len(known) >= len(group)
            for group, known in pairs
        ]
        assert 2 * sum(one) > with_outcome
    if no_clip:
        assert size > 1
        assert eps * size <= 1
    if risk:
        assert any(len(set(known)) > 1 for _, known in pairs)  # or there is no lesser one
        assert not any("choose eps" in warning for warning in d.warnings)  # it would take more
    # On every library, and in every order.
    order = random.sample(range(len(ids)), len(ids))
    members = random.sample(range(ids.shape[1]), ids.shape[1])
    rewards, ids, mask = (array[order][:, members] for array in (rewards, ids, mask))
    assert d == check_groups(rewards, ids, mask=mask, eps=eps)


@pytest.mark.parametrize(
    ("ids", "warns"),
    [
        ([[3, -1, -1, -1]], ["75% of the rewarded samples have no outcome"]),
        ([[3, 3] + [-1] * 6], ["75% of the rewarded samples have no outcome"]),
        ([[3, -1]], ["50% of the rewarded samples have no outcome"]),
        ([[3] * 4] + [[-1] * 4] * 19, ["95% of the rewarded samples have no outcome"]),
        ([[1, 2] + [-1] * 38], ["95% of the rewarded samples have no outcome"]),
        ([[3, 3, -1, -1]], ["100% of the groups have a single outcome"]),
        ([[3, 3, 3, -1], [4, 4, 4, 4], [-1] * 4], ["100% of the groups have a single outcome"]),
        ([[3], [4]], ["A group of one"]),
    ],
)
def test_few_outcomes_are_no_collapse_where_most_have_none(xp, ids, warns):
    d = check_groups(xp.floats(np.ones_like(ids, float)), xp.integers(ids))
    assert len(d.warnings) == len(warns)
    for warning, start in zip(d.warnings, warns, strict=True):
        assert warning.startswith(start)


def test_a_model_that_cannot_do_the_task_yet_is_not_warned_of():
    """Nothing has an outcome and nothing earns; but what earns should have one."""
    ids = np.array([[-1] * 15 + [3]])
    assert check_groups((ids >= 0).astype(float), ids).warnings == ()
    assert check_groups(np.zeros((1, 4)), [[-1] * 4]).warnings == ()
    (warning,) = check_groups(np.ones((1, 16)), ids).warnings
    assert warning.startswith("94% of the rewarded samples have no outcome")


def test_a_masked_sample_is_in_no_group():
    """Groups of one in a batch of four columns: G is 1."""
    mask = np.eye(4, dtype=bool)
    (warning,) = check_groups(np.ones((4, 4)), np.ones((4, 4), int), mask=mask, eps=0.5).warnings
    assert warning.startswith("A group of one")
    assert check_groups(np.ones((2, 4)), np.ones((2, 4), int), mask=np.zeros((2, 4))).warnings == ()
    # G = 2 of 4: a clip of .5 acts on no share, and G - 1 = 1 does not exceed 2.
    d = check_groups([[1, 2, 9, 9]], [[1, 2, 3, 3]], mask=[[1, 1, 0, 0]], eps=0.5)
    assert (d.clip_is_noop, d.minority_at_risk) == (True, True)
    assert "G - 1 = 1" in d.warnings[-1]


def test_there_is_no_lesser_outcome_among_one():
    d = check_groups([[1, 5, 5]], [[7, 7, 7]])
    assert (d.reward_ratio, d.minority_at_risk, len(d.warnings)) == (5, False, 1)


def test_the_largest_ratio_of_rewards_is_diagnosed():
    assert check_groups([[1e-300, 1e300, 1]], [[1, 1, 2]]).reward_ratio == math.inf


@pytest.mark.parametrize("eps", [-0.1, 1.5, math.nan])
def test_diagnose_refuses_a_clip_that_cannot_be(eps):
    with pytest.raises(InvalidInput, match="eps is"):
        check_groups([[1, 1, 1]], [[1, 1, 2]], eps=eps)


def test_misaligned_batches_are_refused():
    with pytest.raises(InvalidInput, match=r"rewards and ids have shapes \(1, 2\) and \(1, 3\)"):
        check_groups([[1, 1]], [[1, 1, 1]])
    with pytest.raises(InvalidInput, match="group_size"):
        check_groups(1.0, 1)
    with pytest.raises(InvalidInput, match="mask"):
        check_groups([[1, 1]], [[1, 1]], mask=[[True, True, True]])
    with pytest.raises(InvalidInput, match="ids and p"):
        check_groups([[1, 1]], [[1, 1]], p=[[1.0]])


def test_a_group_of_one_is_not_called_collapsed():
    (warning,) = check_groups(np.ones((4, 1)), np.arange(4)[:, None]).warnings
    assert "cannot be compared with others" in warning


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_diagnose_refuses_what_ips_refuses(bad):
    with pytest.raises(InvalidInput, match="rewards have"):
        check_groups(np.array([[1.0, bad]]), np.array([[1, 2]]))


def test_a_clip_takes_part_of_what_the_minority_has():
    """G = 16, ratio 10: 15 > 10 without a clip, but 15 / (.2 * 16) = 4.7 is not."""
    rewards = np.array([1.0, 0.1])
    for eps in (0.0, 0.2):
        rest = stationary_distribution(rewards, 16, eps=eps, baseline="mean")
        assert minority_survives(16, 10.0, eps=eps) == bool(rest[1] > 0)
    assert minority_survives(16, 10.0)
    assert not minority_survives(16, 10.0, eps=0.2)
