"""Recovery: the exact curve against all orders, references against the specification."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from helpers import ENUMERATION, PRINTED_DIGITS, SIGMAS, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from ipsrl.core.metrics import recovery
from ipsrl.errors import InvalidInput
from ipsrl.hypospace import (
    Boolean,
    Causal,
    CausalConfig,
    Response,
    Verdict,
    Voxel,
    dataset,
    evaluate,
    judge,
)
from ipsrl.hypospace.recovery import (
    bootstrap,
    check_sets,
    ordered_curve,
    recovery_curve,
    uniform_reference,
)

KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", None, "other"]), min_size=1, max_size=6)


# --- curves ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(KEYS)
def test_curve_is_the_mean_over_all_orders(keys):
    draws = list(range(1, len(keys) + 1))
    wanted = ["a", "b", "c"]
    every = [[recovery(order[:m], wanted) for m in draws] for order in permutations(keys)]
    assert_close(recovery_curve(keys, wanted, draws), np.mean(every, axis=0), tolerance=ENUMERATION)


@given(KEYS)
def test_curve_rises_and_ends_at_the_recovery_rate(keys):
    curve = recovery_curve(keys, "abc", range(1, len(keys) + 1))
    assert np.all(np.diff(curve) >= -ENUMERATION)
    assert curve[-1] == pytest.approx(recovery(keys, "abc"), abs=ENUMERATION)
    assert_close(curve, recovery_curve(keys[::-1], "abc", range(1, len(keys) + 1)))
    assert ordered_curve(keys, "abc", [len(keys)])[0] == recovery(keys, "abc")


def test_curve_by_hand():
    """Responses a, a, b of H = {a, b}.

    One of three: a or b, one of two keys, RR = 1/2.
    Two of three: {a, a} in 1 of 3 cases, RR = 1/2; {a, b} in 2 of 3, RR = 1.  Mean 5/6.
    """
    assert_close(recovery_curve(["a", "a", "b"], "ab", [1, 2, 3]), [1 / 2, 5 / 6, 1.0])
    assert_close(ordered_curve(["a", "a", "b"], "ab", [1, 2, 3]), [1 / 2, 1 / 2, 1.0])


def test_curve_of_many_samples_does_not_overflow():
    """Uniform over 27 keys, 10,000 samples: near the reference of an ideal sampler."""
    keys = np.random.default_rng(0).integers(27, size=10_000).tolist()
    draws = [1, 16, 64, 10_000]
    curve = recovery_curve(keys, range(27), draws)
    assert_close(curve, uniform_reference([27], draws), tolerance=1e-3)  # n_h / N is not 1/27


@pytest.mark.parametrize("draws", [[0], [4], [1, 9]])
def test_draws_beyond_the_responses_are_refused(draws):
    with pytest.raises(InvalidInput, match="Ask for 1 to 3"):
        recovery_curve(["a", "a", "b"], "ab", draws)
    with pytest.raises(InvalidInput, match="no outcome is admissible"):
        recovery_curve(["a"], [], [1])


# --- references -----------------------------------------------------------------------------------

IDEAL = [
    (Causal(), [0.397, 0.674, 0.810, 0.919, 0.981, 0.998]),
    (Voxel(), [0.078, 0.252, 0.407, 0.602, 0.799, 0.942]),
    (Boolean(), [0.255, 0.591, 0.771, 0.908, 0.977, 0.997]),
]


@pytest.mark.parametrize(("task", "printed"), IDEAL, ids=lambda value: getattr(value, "name", ""))
def test_references_of_the_specification(task, printed):
    sizes = [len(keys) for _, keys in task.observation_sets()]
    draws = [1, 4, 8, 16, 32, 64]
    assert np.all(np.abs(uniform_reference(sizes, draws) - printed) < PRINTED_DIGITS)


def test_the_ideal_sampler_reaches_its_reference():
    """Responses drawn uniformly from H_O; the mean of 1,600 sets of 8 within 4 standard errors."""
    task, rng = Boolean(), np.random.default_rng(0)
    sets = dataset(task)
    found = evaluate(
        task, sets,
        [
            Response(one.id, task.answer(str(rng.choice(one.admissible))), seed)
            for seed in range(20) for one in sets for _ in range(8)
        ],
        resamples=10,
    )  # fmt: skip
    assert found.valid_rate[0] == 1
    sizes = np.array([len(one.admissible) for one in sets])
    # A recovery rate is in [0, 1], so its spread is at most 1/2; the sets themselves are fixed.
    assert found.recovery_rate[0] == pytest.approx(
        uniform_reference(list(sizes), [8])[0], abs=SIGMAS * 0.5 / np.sqrt(20 * 78)
    )
    assert found.draws == [1, 2, 4, 8]


def test_references_need_sizes():
    for sizes in ([], [0, 1]):
        with pytest.raises(InvalidInput, match="at least one set"):
            uniform_reference(sizes, [1])


# --- intervals ------------------------------------------------------------------------------------


def test_bootstrap_of_equal_values_has_no_width():
    mean, low, high = bootstrap(np.full((3, 10, 2), 0.25))
    for values in (mean, low, high):
        assert_close(values, [0.25, 0.25])


def test_bootstrap_over_sets_is_that_of_a_mean():
    """One seed, 400 sets with values 0 or 1, half of each: 1.96 * sqrt(.25 / 400) = 0.049."""
    values = np.tile([0.0, 1.0], 200)[None, :]
    mean, low, high = bootstrap(values)
    assert mean == 0.5
    assert high - mean == pytest.approx(0.049, abs=0.005)  # of 2,000 resamples, about 3 %
    assert mean - low == pytest.approx(0.049, abs=0.005)


def test_bootstrap_counts_the_spread_of_seeds():
    """Two seeds, 0 and 1 on every set: half of the resamples hold both, a quarter each alone."""
    values = np.repeat([[0.0], [1.0]], 50, axis=1)
    mean, low, high = bootstrap(values)
    assert (mean, low, high) == (0.5, 0.0, 1.0)


# --- evaluation -----------------------------------------------------------------------------------


def one_set():
    """Perturbing A changes B and C, perturbing B nothing: three graphs (test_causal)."""
    sets = [one for one in dataset(Causal(), count=392) if len(one.admissible) == 3]
    return sets[0]


def test_rates_by_hand():
    """|H| = 3, N = 8: one key three times, another once, two wrong (one key), two unreadable.

    VR = 4/8, NR = 3/8 (two right keys and a wrong one), RR = 2/3.
    """
    one = one_set()
    first, second, _ = (Causal().answer(key) for key in one.admissible)
    everything = Causal().answer("A->B,A->C,A->D,B->C,B->D,C->D")
    assert "A->B,A->C,A->D,B->C,B->D,C->D" not in one.admissible
    texts = [first, first, second, first, everything, everything, "", "Graph: A->A"]
    found = evaluate(Causal(), [one], [Response(one.id, text) for text in texts])
    assert found.valid_rate[0] == 4 / 8
    assert found.novelty_rate[0] == 3 / 8
    assert found.recovery_rate[0] == pytest.approx(2 / 3)
    assert found.distinct[-1][0] == pytest.approx(2.0)
    assert found.one_mode == [1 / 3] * 4  # N = 1, 2, 4, 8
    assert found.verdicts == {
        "admissible": 4, "contradicts the observations": 2, "refused": 1, "no answer": 1,
    }  # fmt: skip
    # One draw: admissible in 4 of 8 cases, a third of H each: 4/8 * 1/3.
    assert found.recovery[0][0] == pytest.approx(4 / 8 / 3)
    sequential = evaluate(
        Causal(), [one], [Response(one.id, text) for text in texts], protocol="sequential"
    )
    assert [round(mean * 3) for mean, _, _ in sequential.recovery] == [1, 1, 2, 2]  # N = 1, 2, 4, 8


def test_novel_boolean_expressions_are_those_in_the_space():
    """N = 5: x AND y once, x XNOR y four times, which takes three levels: NR = 1/5, not 2/5.

    NOT NOT x is in the space without being right: NR counts it, VR does not.
    """
    task = Boolean()
    (one,) = (s for s in dataset(task) if s.observations == ("(x=1, y=1) -> 1", "(x=1, y=0) -> 0")
              or s.observations == ("(x=1, y=0) -> 0", "(x=1, y=1) -> 1"))  # fmt: skip
    deep = "Expression: (x AND y) OR (NOT x AND NOT y)"
    assert judge(task, one.observations, deep).verdict is Verdict.OUTSIDE
    rates = {}
    for third in (deep, "Expression: NOT NOT x"):
        texts = ["Expression: x AND y", deep, third, deep, deep]
        found = evaluate(task, [one], [Response(one.id, text) for text in texts])
        rates[third] = (found.valid_rate[0], found.novelty_rate[0])
    assert rates == {deep: (1 / 5, 1 / 5), "Expression: NOT NOT x": (1 / 5, 2 / 5)}


def test_novel_structures_may_float():
    """N = 2, one block that floats: two distinct structures, NR = 2/2, as in the benchmark."""
    (one,) = (s for s in dataset(Voxel(), count=129) if s.observations[0] == "1 0 0"
              and "".join(s.observations).count("1") == 1)  # fmt: skip
    layer = "\n1 0 0\n0 0 0\n0 0 0\n"
    floating = f"Layer 1:{layer}Layer 2:{layer[::-1]}"
    assert judge(Voxel(), one.observations, floating).verdict is Verdict.OUTSIDE
    texts = [f"Layer 1:{layer}", floating]
    found = evaluate(Voxel(), [one], [Response(one.id, text) for text in texts])
    assert (found.valid_rate[0], found.novelty_rate[0]) == (1 / 2, 2 / 2)


def test_text_and_json():
    one = one_set()
    answer = Causal().answer(one.admissible[0])
    found = evaluate(
        Causal(), [one], [Response(one.id, answer, seed) for seed in (0, 1) for _ in range(6)]
    )
    assert json.loads(found.json())["draws"] == [1, 2, 4, 6]
    text = found.text()
    assert "1 observation sets, 2 seeds, 6 parallel responses" in text
    assert "recovered  RR  0.3333 [0.3333, 0.3333]" in text
    assert text.splitlines()[-1] == "verdicts: admissible 12"


def test_responses_to_sets_of_the_other_split_are_left_out():
    """A file of responses to both halves is evaluated by halves; an id of neither is an error."""
    sets = dataset(Causal(), count=4)
    assert [one.split for one in sets] == ["train", "train", "test", "test"]
    right = [Response(one.id, Causal().answer(one.admissible[0])) for one in sets[:2]]
    wrong = [Response(one.id, "Graph: A->A") for one in sets[2:]]
    for split, valid in (("train", 1.0), ("test", 0.0), ("all", 0.5)):
        found = evaluate(Causal(), sets, [*right, *wrong], split=split, resamples=2)
        assert found.valid_rate[0] == valid
        assert found.sets == (4 if split == "all" else 2)
    for split in ("train", "test", "all"):
        with pytest.raises(InvalidInput, match="'causal-x', which no observation set of the data"):
            evaluate(Causal(), sets, [*right, *wrong, Response("causal-x", "")], split=split)
    with pytest.raises(InvalidInput, match="there are no responses"):
        evaluate(Causal(), sets, right, split="test")
    with pytest.raises(InvalidInput, match="no observation set .* split 'test'"):
        evaluate(Causal(), sets[:2], right, split="test")


def test_responses_that_were_cut_off_are_counted():
    """Not as "no answer": nobody knows what would have followed."""
    one = one_set()
    right = Causal().answer(one.admissible[0])
    responses = [
        Response(one.id, "Let me think", truncated=True),
        Response(one.id, "Let me think", truncated=True),
        Response(one.id, f"{right}\n\nThat is since", truncated=True),
        Response(one.id, "I do not know"),
    ]
    found = evaluate(Causal(), [one], responses, resamples=2)
    assert found.verdicts == {"admissible": 1, "no answer": 1, "truncated": 2}
    assert found.truncated == 3
    assert "3 of 4 responses were cut off at the limit of tokens: raise --max-tok" in found.text()
    assert json.loads(found.json())["truncated"] == 3


def test_sets_seeds_and_numbers_must_agree():
    one, other = dataset(Causal(), count=2)
    row = Response(one.id, "Graph: No edges")
    with pytest.raises(InvalidInput, match="no observation set of the data"):
        evaluate(Causal(), [one], [Response("causal-x", "")])
    with pytest.raises(InvalidInput, match="has 0 responses of seed 0"):
        evaluate(Causal(), [one, other], [row])
    with pytest.raises(InvalidInput, match="has 1 responses of seed 1"):
        evaluate(Causal(), [one], [row, row, Response(one.id, "", 1)])
    with pytest.raises(InvalidInput, match="there are no responses"):
        evaluate(Causal(), [one], [])


def test_options_under_which_more_or_fewer_answers_are_admissible_are_noticed():
    """By the prompt: that all keys of the data set are admissible says nothing of missing ones."""
    few = Causal(CausalConfig(max_edges=2))
    check_sets(few, dataset(few))
    for task, other in ((Causal(), few), (few, Causal())):
        with pytest.raises(InvalidInput, match="its prompt .*Give the options"):
            check_sets(task, dataset(other))


@pytest.mark.parametrize("task", [Causal(), Voxel(), Boolean()], ids=lambda task: task.name)
def test_a_data_set_of_another_domain_is_noticed(task):
    for other in (Causal(), Voxel(), Boolean()):
        sets = dataset(other, count=2)
        if other.name == task.name:
            check_sets(task, sets)
            continue
        with pytest.raises(InvalidInput, match=f"{other.name}-.*Name the domain"):
            evaluate(task, sets, [Response(sets[0].id, "")])


def test_keys_of_a_data_set_that_were_changed_are_noticed():
    sets = dataset(Boolean(), count=2)
    with pytest.raises(InvalidInput, match="key '&&' is .no answer.*but not by the data set"):
        check_sets(Boolean(), [replace(sets[0], admissible=("&&",))])
    one = one_set()
    with pytest.raises(InvalidInput, match="but not by the data set"):
        evaluate(
            Causal(),
            [type(one)(one.id, one.observations, one.prompt, one.admissible[1:])],
            [Response(one.id, Causal().answer(one.admissible[0]))],
        )
