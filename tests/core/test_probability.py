import itertools
import math
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ENUMERATION, Namespace, assert_close, assert_same, namespace, numpy_of

from ipsrl import (
    Estimator,
    Exact,
    GroupFrequency,
    Kernel,
    LeaveOneOut,
    Likelihood,
    Replay,
    Samples,
    group_frequency,
)
from ipsrl.core.advantage import group_advantage
from ipsrl.core.probability import (
    importance_weights,
    kernel_frequency,
    leave_one_out_frequency,
    likelihood,
)
from ipsrl.core.scaling import ips_rewards
from ipsrl.errors import InvalidInput

# Two successive batches of three groups: shared, single, distinct and missing outcomes.
FIRST = np.array([[4, 4, 9, 9, 9, 2], [5, 5, 5, 5, 5, 5], [1, 2, 3, -1, 1, -1]])
SECOND = np.array([[9, 4, 4, 7, 2, 2], [5, 8, 8, 5, 5, -1], [1, 1, 1, 1, 6, -1]])
SIZE = FIRST.shape[-1]


def changed(samples: Samples, change) -> Samples:
    """Each field that is there, passed through `change(name, array)`."""
    fields = samples._asdict().items()
    return Samples(**{name: None if v is None else change(name, v) for name, v in fields})


def members(samples: Samples, which) -> Samples:
    """The group reduced to, or reordered by, these positions."""

    def select(name, array):
        array = array[..., which]
        return array[..., which, :] if name == "similarity" else array

    return changed(samples, select)


def on(xp: Namespace, samples: Samples) -> Samples:
    return changed(samples, lambda _, array: xp.like(array))


class EstimatorSuite:
    """The laws of `Estimator`.  A new one subclasses this, and names the fields that it reads."""

    estimator: Estimator
    padding: ClassVar[dict[str, float]] = {}  # what the fields may hold where no sample is

    def fields(self, rng: np.random.Generator, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Fields besides the ids, with values that depend on the position alone."""
        return {}

    def batches(self) -> list[Samples]:
        rng = np.random.default_rng(0)
        return [Samples(ids, **self.fields(rng, ids)) for ids in (FIRST, SECOND)]

    def run(self, xp: Namespace, batches: list[Samples]):
        """p^ of the last batch, after the state has passed through all."""
        on_xp = [on(xp, batch) for batch in batches]
        state = self.estimator.init(on_xp[0])
        for batch in on_xp:
            p, state = self.estimator(batch, state)
        return p

    def test_positive_finite_and_shaped_like_the_ids(self, xp):
        p = self.run(xp, self.batches())
        assert type(p) is type(xp.floats([]))
        assert tuple(p.shape) == SECOND.shape
        assert np.isfinite(numpy_of(p)).all()
        assert (numpy_of(p) > 0).all()

    @pytest.mark.parametrize("lead", [(), (1,), (3, 1), (1, 3, 1)])
    def test_any_leading_axes(self, xp, lead):
        flat = self.batches()[0]
        flat = changed(flat, lambda n, v: v[:, :1] if n == "history_log_pf" else v[:1])

        def reshape(name, array):
            if name == "history_log_pf":
                array = array[:, 0].reshape(len(array), *[1] * len(lead), SIZE)
                return np.broadcast_to(array, (len(array), *lead, SIZE)).copy()
            return np.broadcast_to(array[0], (*lead, *array.shape[1:])).copy()

        p = self.run(xp, [changed(flat, reshape)])
        assert tuple(p.shape) == (*lead, SIZE)
        assert_close(p, np.broadcast_to(numpy_of(self.run(xp, [flat]))[0], (*lead, SIZE)))

    def test_order_within_the_group_does_not_matter(self, xp):
        order = np.array([3, 0, 5, 1, 4, 2])
        batches = self.batches()
        p = self.run(xp, batches)
        reordered = self.run(xp, [members(batch, order) for batch in batches])
        assert_close(reordered, numpy_of(p)[:, order])

    def test_names_of_outcomes_do_not_matter(self, xp):
        def rename(name, array):
            return np.where(array >= 0, 1000 - 7 * array, array) if name == "ids" else array

        batches = self.batches()
        renamed = self.run(xp, [changed(batch, rename) for batch in batches])
        assert_same(renamed, self.run(xp, batches))

    def test_samples_without_outcome_get_exactly_one(self, xp):
        p = numpy_of(self.run(xp, self.batches()))
        assert (p[SECOND == -1] == 1).all()

    def test_masked_samples_get_exactly_one_and_do_not_influence_the_others(self, xp):
        mask = np.broadcast_to(np.arange(SIZE) < 4, FIRST.shape)
        ragged = [batch._replace(mask=mask) for batch in self.batches()]
        smaller = [members(batch, np.arange(4)) for batch in self.batches()]
        p = self.run(xp, ragged)
        assert (numpy_of(p)[:, 4:] == 1).all()
        assert_close(p[:, :4], self.run(xp, smaller))

    def test_padding_is_never_read(self, xp):
        mask = np.broadcast_to(np.arange(SIZE) < 4, FIRST.shape)
        ragged = [batch._replace(mask=mask) for batch in self.batches()]

        def pad(name, array):
            array = array.copy()
            if name in self.padding:
                array[..., 4:] = self.padding[name]
                if name == "similarity":
                    array[..., 4:, :] = self.padding[name]
            return array

        padded = self.run(xp, [changed(batch, pad) for batch in ragged])
        assert_same(padded, self.run(xp, ragged))

    def test_an_empty_group_is_left_alone(self, xp):
        mask = np.ones(FIRST.shape, bool)
        mask[1] = False
        p = self.run(xp, [batch._replace(mask=mask) for batch in self.batches()])
        assert (numpy_of(p)[1] == 1).all()
        assert np.isfinite(numpy_of(p)).all()

    def test_the_same_under_jit(self):
        batches = [on(namespace("jax"), batch) for batch in self.batches()]

        def both(first, second):
            _, state = self.estimator(first, self.estimator.init(first))
            return self.estimator(second, state)[0]

        assert_close(jax.jit(both)(*batches), self.run(namespace("jax"), self.batches()))

    def test_the_same_under_vmap(self):
        """Mapping over prompts is one estimator, with one state, for each."""

        def prompt(samples, i):
            def row(name, array):
                return array[:, i] if name == "history_log_pf" else array[i]

            return changed(samples, row)

        rows = [on(namespace("jax"), prompt(self.batches()[0], i)) for i in range(len(FIRST))]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
        p = jax.vmap(lambda s: self.estimator(s, self.estimator.init(s))[0])(stacked)
        alone = [self.run(namespace("jax"), [prompt(self.batches()[0], i)]) for i in range(3)]
        assert_close(p, np.stack([numpy_of(row) for row in alone]))

    def test_state_passes_through_a_scan(self):
        batches = [on(namespace("jax"), batch) for batch in self.batches()]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

        def step(state, samples):
            p, state = self.estimator(samples, state)
            return state, p

        _, p = jax.lax.scan(step, self.estimator.init(batches[0]), stacked)
        assert_close(p[-1], self.run(namespace("jax"), self.batches()))

    def test_state_is_explicit(self, xp):
        first, second = (on(xp, batch) for batch in self.batches())
        _, state = self.estimator(first, self.estimator.init(first))
        before = [numpy_of(leaf).copy() for leaf in state]
        once, next_state = self.estimator(second, state)
        again, next_again = self.estimator(second, state)
        assert_same(once, again)
        for leaf, copy in zip(state, before, strict=True):
            assert_same(leaf, copy)
        for leaf, copy in zip(next_state, next_again, strict=True):
            assert_same(leaf, copy)

    def test_it_is_frozen(self):
        """Its options are what the state was made for, and what a run directory records."""
        assert is_dataclass(self.estimator)
        for name in [*(field.name for field in fields(self.estimator)), "another"]:
            with pytest.raises(FrozenInstanceError):
                setattr(self.estimator, name, 1)

    def test_equal_options_are_equal_estimators(self):
        options = {f.name: getattr(self.estimator, f.name) for f in fields(self.estimator)}
        assert type(self.estimator)(**options) == self.estimator
        assert hash(type(self.estimator)(**options)) == hash(self.estimator)

    def test_the_largest_unsigned_id_names_an_outcome(self, xp):
        """Where ids have no sign, PyTorch and JAX compare -1 as their largest number."""

        def unsigned(name, array):
            return xp.of(array + 1, "uint8") if name == "ids" else xp.like(array)

        def largest(name, array):
            array = np.where(array == array.max(), 254, array) if name == "ids" else array
            return unsigned(name, array)

        named = changed(self.batches()[0], lambda n, v: np.abs(v) if n == "ids" else v)
        answers = [
            self.estimator(samples, self.estimator.init(samples))[0]
            for samples in (changed(named, unsigned), changed(named, largest))
        ]
        assert_same(*answers)
        assert (numpy_of(answers[0]) < 1).any()

    def test_ids_that_are_not_integers_are_refused(self, xp):
        wrong = self.batches()[0]
        wrong = on(xp, wrong._replace(ids=wrong.ids.astype(float)))
        with pytest.raises(InvalidInput, match="no outcome ids.*outcome_ids"):
            self.estimator(wrong, self.estimator.init(wrong))

    def test_a_mask_of_another_shape_is_refused(self, xp):
        wrong = on(xp, self.batches()[0]._replace(mask=np.ones((1, SIZE), bool)))
        with pytest.raises(InvalidInput, match="mask"):
            self.estimator(wrong, self.estimator.init(wrong))


class TestGroupFrequency(EstimatorSuite):
    estimator = GroupFrequency()


class TestLeaveOneOut(EstimatorSuite):
    estimator = LeaveOneOut(smoothing=0.25)


class TestLeaveOneOutWithSmoothingOne(EstimatorSuite):
    estimator = LeaveOneOut(smoothing=1.0)


class TestKernel(EstimatorSuite):
    estimator = Kernel()
    padding: ClassVar = {"similarity": np.nan}  # the cosine of an empty answer

    def fields(self, rng, ids):
        k = rng.random((*ids.shape, ids.shape[-1]))
        k = (k + np.swapaxes(k, -1, -2)) / 2
        return {"similarity": np.where(np.eye(ids.shape[-1], dtype=bool), 1.0, k)}


class TestLikelihood(EstimatorSuite):
    estimator = Likelihood()
    padding: ClassVar = {"log_pf": -np.inf, "log_pb": -np.inf}

    def fields(self, rng, ids):
        return {"log_pf": -3 * rng.random(ids.shape), "log_pb": -rng.random(ids.shape)}


class TestLikelihoodOfStrings(TestLikelihood):
    def fields(self, rng, ids):
        return {"log_pf": -3 * rng.random(ids.shape)}


class TestExact(EstimatorSuite):
    estimator = Exact()
    padding: ClassVar = {"probability": 0.0}

    def fields(self, rng, ids):
        return {"probability": 0.01 + 0.99 * rng.random(ids.shape)}


class TestReplay(EstimatorSuite):
    estimator = Replay(batches=3, clip=2.0)
    padding: ClassVar = {"log_pf": -np.inf, "history_log_pf": -np.inf}

    def fields(self, rng, ids):
        return {
            "log_pf": -3 * rng.random(ids.shape),
            "history_log_pf": -3 * rng.random((3, *ids.shape)),
        }


class TestReplayWithoutWeights(EstimatorSuite):
    estimator = Replay(batches=3)


# Group frequency.


def test_group_frequency_by_hand(xp):
    # Group of 4: outcome 7 three times -> 3/4; outcome 8 once -> 1/4.
    # Second group: -1 counts in G, so outcome 8 has 2/4, and -1 itself gets 1.
    p = group_frequency(xp.integers([[7, 7, 8, 7], [8, -1, 8, -1]]))
    assert_close(p, [[0.75, 0.75, 0.25, 0.75], [0.5, 1, 0.5, 1]])


def test_group_frequency_sums_to_one_over_distinct_outcomes(xp):
    rng = np.random.default_rng(1)
    for ids in rng.integers(0, 5, (20, 11)):
        p = numpy_of(group_frequency(xp.integers(ids)))
        _, first = np.unique(ids, return_index=True)
        assert_close(p[first].sum(), 1.0, tolerance=1e-6)


def test_group_frequency_of_a_ragged_group_is_that_of_the_smaller_group(xp):
    rng = np.random.default_rng(2)
    ids, lengths = rng.integers(-1, 4, (12, 9)), rng.integers(1, 10, 12)
    mask = np.arange(9) < lengths[:, None]
    p = group_frequency(xp.integers(ids), mask=xp.booleans(mask))
    for row, row_ids, n in zip(p, ids, lengths, strict=True):
        assert_close(row[:n], group_frequency(xp.integers(row_ids[:n])))


# Leave-one-out.


def test_leave_one_out_by_hand(xp):
    # G = 4, s = 1/2: outcome 7 thrice -> (3 - 1 + .5)/(4 - 1 + .5) = 5/7; outcome 8 once -> 1/7.
    p = leave_one_out_frequency(xp.integers([7, 7, 8, 7]))
    assert_close(p, [5 / 7, 5 / 7, 1 / 7, 5 / 7])


def test_leave_one_out_with_smoothing_one_is_the_group_frequency(xp):
    ids = xp.integers(FIRST)
    mask = xp.booleans(np.arange(SIZE) < np.array([6, 3, 4])[:, None])
    for m in (None, mask):
        assert_close(
            leave_one_out_frequency(ids, mask=m, smoothing=1.0), group_frequency(ids, mask=m)
        )


# Kernel.


def test_kernel_of_equality_is_the_group_frequency(xp):
    ids = np.abs(FIRST)
    mask = xp.booleans(np.arange(SIZE) < np.array([6, 3, 4])[:, None])
    same = xp.floats(ids[..., :, None] == ids[..., None, :])
    for m in (None, mask):
        assert_close(kernel_frequency(same, mask=m), group_frequency(xp.integers(ids), mask=m))


def test_kernel_by_hand(xp):
    # Rows of k: (1 + .5 + 0)/3 = .5; (.5 + 1 + .25)/3 = 7/12; (0 + .25 + 1)/3 = 5/12.
    k = xp.floats([[1, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]])
    assert_close(kernel_frequency(k), [0.5, 7 / 12, 5 / 12])


# Likelihood.

# A DAG with three ways to y and x each; P_F out of each state, and P_B into each state.
FORWARD = {
    "s": {"a": 0.3, "b": 0.7},
    "a": {"x": 0.4, "c": 0.6},
    "b": {"c": 0.5, "y": 0.5},
    "c": {"x": 0.2, "y": 0.8},
}
BACKWARD = {
    "a": {"s": 1.0},
    "b": {"s": 1.0},
    "c": {"a": 0.6, "b": 0.4},
    "x": {"a": 0.9, "c": 0.1},
    "y": {"c": 0.25, "b": 0.75},
}
TRAJECTORIES = ["sax", "sacx", "sbcx", "sacy", "sbcy", "sby"]


def log_products():
    steps = [list(itertools.pairwise(t)) for t in TRAJECTORIES]
    log_pf = np.array([sum(math.log(FORWARD[a][b]) for a, b in s) for s in steps])
    log_pb = np.array([sum(math.log(BACKWARD[b][a]) for a, b in s) for s in steps])
    return log_pf, log_pb


def test_reciprocal_of_the_likelihood_is_unbiased():
    log_pf, log_pb = log_products()
    pf = np.exp(log_pf)
    assert abs(pf.sum() - 1) < ENUMERATION
    for outcome, by_hand in {"x": 0.226, "y": 0.774}.items():
        # p(x) = .3*.4 + (.3*.6 + .7*.5)*.2 = .12 + .106;   p(y) = .53*.8 + .7*.5
        ends = np.array([t[-1] == outcome for t in TRAJECTORIES])
        p = pf[ends].sum()
        assert abs(p - by_hand) < ENUMERATION
        expected = (pf[ends] / p) @ (1 / likelihood(log_pf[ends], log_pb[ends]))
        assert abs(expected - 1 / p) < ENUMERATION / p


def test_likelihood_of_strings_is_the_probability(xp):
    assert_close(likelihood(xp.floats(np.log([0.25, 1.0]))), [0.25, 1.0])


def test_likelihood_may_exceed_one(xp):
    # P_F = .5, P_B = .25:  p^ = 2
    assert_close(likelihood(xp.floats(np.log([0.5])), xp.floats(np.log([0.25]))), [2.0])


# Replay.


def replayed(xp, estimator, batches, **last):
    """p^ of the last batch; `last` are fields that only the last one has."""
    batches = [Samples(xp.integers(ids), log_pf=xp.floats(log_pf)) for ids, log_pf in batches]
    batches[-1] = batches[-1]._replace(**{name: xp.floats(v) for name, v in last.items()})
    state = estimator.init(batches[0])
    for batch in batches:
        p, state = estimator(batch, state)
    return p, state


def test_replay_of_one_batch_is_the_group_frequency(xp):
    for ids in (FIRST[0], FIRST[2]):
        first = Samples(xp.integers(SECOND[0]))
        _, state = Replay(batches=1)(first, Replay(batches=1).init(first))
        p, _ = Replay(batches=1)(Samples(xp.integers(ids)), state)
        assert_close(p, group_frequency(xp.integers(ids)))


def test_replay_counts_the_last_batches(xp):
    # Pooled ids 1 1 2 | 1 3 3: outcome 1 has 3/6, outcome 3 has 2/6.
    zeros = np.zeros(3)
    p, _ = replayed(xp, Replay(batches=4), [([1, 1, 2], zeros), ([1, 3, 3], zeros)])
    assert_close(p, [1 / 2, 1 / 3, 1 / 3])


def test_replay_overwrites_the_oldest_batch(xp):
    # Ring of 2: of 1 1 | 2 2 | 1 3 the first is forgotten: 1 has 1/4, 3 has 1/4.
    zeros = np.zeros(2)
    p, state = replayed(xp, Replay(2), [([1, 1], zeros), ([2, 2], zeros), ([1, 3], zeros)])
    assert_close(p, [1 / 4, 1 / 4])
    assert numpy_of(state.ids).tolist() == [[1, 3], [2, 2]]
    assert int(state.turn) == 3


def test_replay_weighs_by_importance(xp):
    # Stored: outcome 1 drawn at 1/4, now 1/2 -> w = 2; outcome 2 drawn at 1/2, now 1/4 -> w = 1/2.
    # New: outcomes 1 and 3, w = 1 whatever history says of this slot.  Sum 2 + .5 + 1 + 1 = 4.5:
    # p(1) = (2 + 1)/4.5 = 2/3, p(3) = 1/4.5 = 2/9.
    stored = ([1, 2], np.log([1 / 4, 1 / 2]))
    new = ([1, 3], np.log([1 / 2, 1 / 8]))
    history = [np.log([1 / 2, 1 / 4]), np.log([0.9, 0.9])]
    p, _ = replayed(xp, Replay(batches=2), [stored, new], history_log_pf=history)
    assert_close(p, [2 / 3, 2 / 9])


def test_replay_truncates_weights(xp):
    # The same with w(1) = (1/2)/(1/100) = 50 cut to 3:  p(1) = (3 + 1)/(3 + .5 + 2) = 8/11.
    stored = ([1, 2], np.log([1 / 100, 1 / 2]))
    history = [np.log([1 / 2, 1 / 4]), [0.0, 0.0]]
    new = ([1, 3], np.log([1 / 2, 1 / 8]))
    p, _ = replayed(xp, Replay(batches=2, clip=3.0), [stored, new], history_log_pf=history)
    assert_close(p, [8 / 11, 2 / 11])


def test_importance_weights_by_hand(xp):
    # ratios 2, 1/2, 20 -> cut to 10, 0
    now = xp.floats([math.log(2), math.log(0.5), math.log(20), -math.inf])
    assert_close(importance_weights(now, xp.floats([0.0] * 4)), [2, 0.5, 10, 0])


def test_replay_keeps_state_on_the_device_of_the_samples():
    torch = pytest.importorskip("torch")
    # The meta device refuses to meet the CPU, as a GPU does, and is on every machine.
    samples = Samples(torch.zeros((2, 3), dtype=torch.int64, device="meta"))
    estimator = Replay(batches=2)
    p, state = estimator(samples, estimator.init(samples))
    assert p.device.type == "meta"
    assert state.ids.device.type == "meta"


# Errors.


@pytest.mark.parametrize(
    ("estimator", "field"),
    [(Kernel(), "similarity"), (Likelihood(), "log_pf"), (Exact(), "probability")],
)
def test_a_missing_field_is_named(xp, estimator, field):
    samples = Samples(xp.integers([[1, 2]]))
    with pytest.raises(InvalidInput, match=rf"`{field}`.*Samples\(ids, {field}=.*GroupFrequency"):
        estimator(samples, estimator.init(samples))


@pytest.mark.parametrize("function", [group_frequency, leave_one_out_frequency])
def test_misaligned_ids_are_refused(xp, function):
    with pytest.raises(InvalidInput, match="no group.*group_size"):
        function(xp.integers(3))
    with pytest.raises(InvalidInput, match="at least one member"):
        function(xp.integers(np.zeros((2, 0))))
    with pytest.raises(InvalidInput, match=r"ids and mask have shapes \(1, 2\) and \(2,\)"):
        function(xp.integers([[1, 2]]), mask=xp.booleans([True, True]))


@pytest.mark.parametrize("smoothing", [0.0, -1.0, math.nan, math.inf])
def test_smoothing_must_be_positive(xp, smoothing):
    with pytest.raises(InvalidInput, match=f"smoothing is {smoothing}.*number of pseudo-samples"):
        leave_one_out_frequency(xp.integers([1, 2]), smoothing=smoothing)
    with pytest.raises(InvalidInput, match="number of pseudo-samples"):
        LeaveOneOut(smoothing=smoothing)


@pytest.mark.parametrize(
    ("similarity", "teaches"),
    [
        ([[1.0, 0.5]], r"\(\.\.\., G, G\)"),
        ([1.0, 0.5], r"every pair of the group"),
        ([[1.0, 1.5], [1.5, 1.0]], r"Rescale the kernel"),
        ([[1.0, -0.5], [-0.5, 1.0]], r"Rescale the kernel"),
        ([[0.9, 0.5], [0.5, 1.0]], r"1 on the diagonal"),
        ([[1.0, math.nan], [0.5, 1.0]], r"\[0, 1\]"),
    ],
)
def test_what_is_no_kernel_is_refused(xp, similarity, teaches):
    with pytest.raises(InvalidInput, match=teaches):
        kernel_frequency(xp.floats(similarity))


@pytest.mark.parametrize("value", [0.1, math.nan, -math.inf])
def test_what_is_no_log_probability_is_refused(xp, value):
    good, bad = xp.floats([-1.0, -2.0]), xp.floats([-1.0, value])
    with pytest.raises(InvalidInput, match="log_pf has values.*sum over the steps"):
        likelihood(bad)
    with pytest.raises(InvalidInput, match="log_pb has values"):
        likelihood(good, bad)
    with pytest.raises(InvalidInput, match="log_pf and log_pb have shapes"):
        likelihood(good, good[:1])


def test_fields_must_be_aligned_with_the_ids(xp):
    samples = Samples(xp.integers([[1, 2]]), probability=xp.floats([0.5, 0.5]))
    with pytest.raises(InvalidInput, match="p and ids have shapes"):
        Exact()(samples, ())


def test_batches_of_replay_must_be_aligned(xp):
    estimator, short, long = Replay(2), xp.integers([[1, 2]]), xp.integers([[1, 2, 3]])
    logs = xp.floats([[-1.0, -1.0]])
    with pytest.raises(InvalidInput, match="ids and each stored batch have shapes"):
        estimator(Samples(long), estimator.init(Samples(short)))
    with pytest.raises(InvalidInput, match="ids and log_pf have shapes"):
        estimator(Samples(short, log_pf=logs[0]), estimator.init(Samples(short)))
    with pytest.raises(InvalidInput, match="history_log_pf and the stored batches have shapes"):
        estimator(Samples(short, log_pf=logs, history_log_pf=logs), estimator.init(Samples(short)))


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5, math.nan])
def test_exact_probabilities_are_probabilities(xp, bad):
    ids, p = xp.integers([[1, 2, -1]]), xp.floats([[bad, 0.5, 0.0]])
    with pytest.raises(InvalidInput, match=r"outside \(0, 1\].*Likelihood"):
        Exact()(Samples(ids, probability=p), ())
    mask = xp.booleans([[False, True, True]])
    assert_close(Exact()(Samples(ids, mask, probability=p), ())[0], [[1, 0.5, 1]])


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf])
def test_impossible_bounds_of_weights_are_refused(xp, clip):
    with pytest.raises(InvalidInput, match=f"clip is {clip}.*positive number"):
        Replay(clip=clip)
    with pytest.raises(InvalidInput, match=f"clip is {clip}"):
        importance_weights(xp.floats([0.0]), xp.floats([0.0]), clip=clip)


@pytest.mark.parametrize(
    ("now", "then"), [(math.nan, 0), (math.inf, 0), (0, math.nan), (-math.inf, -math.inf)]
)
def test_weights_of_impossible_log_probabilities_are_refused(xp, now, then):
    with pytest.raises(InvalidInput, match="what was drawn had a probability"):
        importance_weights(xp.floats([-1.0, now]), xp.floats([-1.0, then]))
    with pytest.raises(InvalidInput, match="log_now and log_then have shapes"):
        importance_weights(xp.floats([-1.0, -1.0]), xp.floats([-1.0]))


def test_a_ratio_that_overflows_is_refused(xp):
    with pytest.raises(InvalidInput, match="infinite.*same trajectory"):
        likelihood(xp.floats([-1.0]), xp.floats([-1000.0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_estimates_from_16_bits_are_of_32(xp, dtype):
    """e^-40 is 0 in float16, and a count of 300 is 300 in neither of them."""
    if (xp.name, dtype) == ("numpy", "bfloat16"):
        pytest.skip("NumPy has no bfloat16")
    p = likelihood(xp.of([-64.0, -2.0], dtype), xp.of([0.0, -1.0], dtype))
    assert str(p.dtype).endswith("float32")
    assert_close(p, [math.exp(-40), math.exp(-1)], tolerance=1e-6)
    similarity, mask = xp.of(np.ones((301, 301)), dtype), xp.booleans(np.arange(301) < 299)
    assert_close(kernel_frequency(similarity, mask=mask), np.ones(301), tolerance=1e-6)


def test_complex_numbers_are_refused(xp):
    wrong = xp.of([[1, 1j], [1j, 1]], "complex64")
    with pytest.raises(InvalidInput, match="dtype of log_pf is .*complex64"):
        likelihood(wrong)
    with pytest.raises(InvalidInput, match="dtype of similarity is .*complex64"):
        kernel_frequency(wrong)


def test_likelihoods_of_long_texts_stay_usable(xp):
    """A text of 200 tokens has log p about -200, whose exponential is 0 in float32."""
    p = likelihood(xp.floats([-200.0, -1000.0, -20.0]))
    assert_close(p[:2], [math.exp(-40), math.exp(-40)])
    rewards = ips_rewards(xp.floats([1.0, 1.0, 1.0]), xp.integers([1, 2, 3]), p=p)
    advantages = group_advantage(rewards).advantages
    assert np.isfinite(np.asarray(advantages)).all()


@pytest.mark.parametrize("batches", [0, -1, 2.5, math.nan, math.inf])
def test_replay_that_remembers_nothing_is_refused(batches):
    with pytest.raises(InvalidInput, match=f"batches={batches}.*at least one batch"):
        Replay(batches=batches)
