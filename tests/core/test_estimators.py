import math
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import Namespace, assert_close, assert_same, namespace, numpy_of

from ipsrl import (
    ESTIMATORS,
    Estimator,
    Exact,
    Group,
    GroupFrequency,
    Kernel,
    LeaveOneOut,
    Likelihood,
    Replay,
    group_frequency,
)
from ipsrl.errors import InvalidInput

# Two successive batches of three groups: shared, single, distinct and missing outcomes.
FIRST = np.array([[4, 4, 9, 9, 9, 2], [5, 5, 5, 5, 5, 5], [1, 2, 3, -1, 1, -1]])
SECOND = np.array([[9, 4, 4, 7, 2, 2], [5, 8, 8, 5, 5, -1], [1, 1, 1, 1, 6, -1]])
SIZE = FIRST.shape[-1]


def changed(samples: Group, change) -> Group:
    """Each field that is there, passed through `change(name, array)`."""
    known = {name: v for name, v in samples._asdict().items() if v is not None}
    return Group(**{name: change(name, v) for name, v in known.items()})


def members(samples: Group, which) -> Group:
    """The group reduced to, or reordered by, these positions."""

    def select(name, array):
        array = array[..., which]
        return array[..., which, :] if name == "similarity" else array

    return changed(samples, select)


def on(xp: Namespace, samples: Group) -> Group:
    return changed(samples, lambda _, array: xp.like(array))


class EstimatorSuite:
    """The laws of `Estimator`.  A new one subclasses this, and names the fields that it reads."""

    estimator: Estimator
    padding: ClassVar[dict[str, float]] = {}  # what the fields may hold where no sample is

    def fields(self, rng: np.random.Generator, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Fields besides the ids, with values that depend on the position alone."""
        return {}

    def batches(self) -> list[Group]:
        rng = np.random.default_rng(0)
        return [Group(ids=ids, **self.fields(rng, ids)) for ids in (FIRST, SECOND)]

    def run(self, xp: Namespace, batches: list[Group]):
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

    def test_wrong_samples_get_exactly_one_and_count_as_no_outcome(self, xp):
        """p(o) is the probability to be right with outcome o, among all samples of the group."""
        right = np.arange(SIZE) != 2
        judged = [batch._replace(success=right & (batch.ids > 0)) for batch in self.batches()]
        p = self.run(xp, judged)
        assert (numpy_of(p)[:, 2] == 1).all()

        def without(batch):
            ids = np.where(batch.success, batch.ids, -1)
            fields = {"ids": ids, "success": None}
            if batch.similarity is not None:  # what has no outcome is like nothing else
                pair = batch.success[..., None] & batch.success[..., None, :]
                fields["similarity"] = np.where(pair, batch.similarity, np.eye(SIZE))
            return batch._replace(**fields)

        assert_close(p, self.run(xp, [without(batch) for batch in judged]))

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
        with pytest.raises(InvalidInput, match="not outcome ids.*outcome_ids"):
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


class TestLikelihoodOfTexts(TestLikelihood):
    padding: ClassVar = {"log_pf": -np.inf, "samples": -1}

    def fields(self, rng, ids):
        samples = np.broadcast_to(np.arange(ids.shape[-1]), ids.shape).copy()
        return {"log_pf": -3 * rng.random(ids.shape), "samples": samples}


class TestExact(EstimatorSuite):
    estimator = Exact()
    padding: ClassVar = {"p": 0.0}

    def fields(self, rng, ids):
        return {"p": 0.01 + 0.99 * rng.random(ids.shape)}


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


def test_every_estimator_has_a_row_and_a_suite():
    tested = {type(suite.estimator) for suite in EstimatorSuite.__subclasses__()}
    assert set(ESTIMATORS.values()) == tested


# Replay.


def replayed(xp, estimator, batches, **last):
    """p^ of the last batch; `last` are fields that only the last one has."""
    batches = [Group(ids=xp.integers(ids), log_pf=xp.floats(log_pf)) for ids, log_pf in batches]
    batches[-1] = batches[-1]._replace(**{name: xp.floats(v) for name, v in last.items()})
    state = estimator.init(batches[0])
    for batch in batches:
        p, state = estimator(batch, state)
    return p, state


def test_replay_of_one_batch_is_the_group_frequency(xp):
    for ids in (FIRST[0], FIRST[2]):
        first = Group(ids=xp.integers(SECOND[0]))
        _, state = Replay(batches=1)(first, Replay(batches=1).init(first))
        p, _ = Replay(batches=1)(Group(ids=xp.integers(ids)), state)
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


def test_replay_keeps_state_on_the_device_of_the_samples():
    import torch

    # The meta device refuses to meet the CPU, as a GPU does, and is on every machine.
    samples = Group(ids=torch.zeros((2, 3), dtype=torch.int64, device="meta"))
    estimator = Replay(batches=2)
    p, state = estimator(samples, estimator.init(samples))
    assert p.device.type == "meta"
    assert state.ids.device.type == "meta"


@pytest.mark.parametrize(
    ("estimator", "field"),
    [(Kernel(), "similarity"), (Likelihood(), "log_pf"), (Exact(), "p")],
)
def test_a_missing_field_is_named(xp, estimator, field):
    samples = Group(ids=xp.integers([[1, 2]]))
    with pytest.raises(InvalidInput, match=rf"needs `{field}`.*Group\(\.\.\., {field}="):
        estimator(samples, estimator.init(samples))


def test_fields_must_be_aligned_with_the_ids(xp):
    samples = Group(ids=xp.integers([[1, 2]]), p=xp.floats([0.5, 0.5]))
    with pytest.raises(InvalidInput, match="p and ids have shapes"):
        Exact()(samples, ())


def test_batches_of_replay_must_be_aligned(xp):
    estimator, short, long = Replay(2), xp.integers([[1, 2]]), xp.integers([[1, 2, 3]])
    logs = xp.floats([[-1.0, -1.0]])
    with pytest.raises(InvalidInput, match="ids and each stored batch have shapes"):
        estimator(Group(ids=long), estimator.init(Group(ids=short)))
    with pytest.raises(InvalidInput, match="ids and log_pf have shapes"):
        estimator(Group(ids=short, log_pf=logs[0]), estimator.init(Group(ids=short)))
    with pytest.raises(InvalidInput, match="history_log_pf and the stored batches have shapes"):
        estimator(
            Group(ids=short, log_pf=logs, history_log_pf=logs), estimator.init(Group(ids=short))
        )


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.5, math.nan])
def test_exact_probabilities_are_probabilities(xp, bad):
    ids, p = xp.integers([[1, 2, -1]]), xp.floats([[bad, 0.5, 0.0]])
    with pytest.raises(InvalidInput, match=r"outside \(0, 1\].*Likelihood"):
        Exact()(Group(ids=ids, p=p), ())
    mask = xp.booleans([[False, True, True]])
    assert_close(Exact()(Group(ids=ids, mask=mask, p=p), ())[0], [[1, 0.5, 1]])


@pytest.mark.parametrize("batches", [0, -1, 2.5, math.nan, math.inf])
def test_replay_that_remembers_nothing_is_refused(batches):
    with pytest.raises(InvalidInput, match=f"batches={batches}.*at least one batch"):
        Replay(batches=batches)
