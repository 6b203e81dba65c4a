"""Estimators of p(outcome) as objects: they take evidence and state, and return p^ and state.

A new one is a frozen dataclass, a row in `ESTIMATORS` and a subclass of the test suite.  Functions
of the same names do the arithmetic: `ipsrl.core.probability`.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_mask,
    check_same_shape,
    default_float,
    holds,
    placement,
)
from ipsrl.core.group import Group, option
from ipsrl.core.probability import (
    check_smoothing,
    check_weight_clip,
    group_frequency,
    importance_weights,
    kernel_frequency,
    leave_one_out_frequency,
    likelihood,
    one_where_unscaled,
    summed_likelihood,
    weighted_frequency,
)
from ipsrl.errors import InvalidInput


@runtime_checkable
class Estimator(Protocol):
    """An estimate of p(outcome) for every sample; its state is an argument and a result.

    Attributes:
      needs: fields of `Group` that it reads besides ids and mask.
    """

    needs: ClassVar[tuple[str, ...]]

    def init(self, group: Group) -> Any:
        """The empty state for batches of this shape; () if there is nothing to remember."""
        ...

    def stored(self, state: Any) -> Any:
        """`Group.trajectories` of earlier batches [batches, ...], of which it wants
        `Group.history_log_pf`; None where it wants none."""
        ...

    def __call__(self, group: Group, state: Any) -> tuple[Array, Any]:
        """p^ > 0 [..., G] with 1 for samples that are not scaled, and the next state."""
        ...


class _Stateless:
    needs: ClassVar[tuple[str, ...]] = ()

    def init(self, group: Group) -> tuple[()]:
        return ()

    def stored(self, state: tuple[()]) -> None:
        return None


@dataclass(frozen=True)
class GroupFrequency(_Stateless):
    """The paper's estimator: `group_frequency`."""

    def __call__(self, group: Group, state: tuple[()]) -> tuple[Array, tuple[()]]:
        ids = group.scaled_ids(self)
        return group_frequency(ids, mask=group.mask, weights=group.weights), state


@dataclass(frozen=True)
class LeaveOneOut(_Stateless):
    """`leave_one_out_frequency`."""

    smoothing: float = 0.5

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def __call__(self, group: Group, state: tuple[()]) -> tuple[Array, tuple[()]]:
        ids = group.scaled_ids(self)
        return leave_one_out_frequency(ids, mask=group.mask, smoothing=self.smoothing), state


@dataclass(frozen=True)
class Kernel(_Stateless):
    """`kernel_frequency` of `Group.similarity`; a wrong sample is similar to no other."""

    needs: ClassVar[tuple[str, ...]] = ("similarity",)

    def __call__(self, group: Group, state: tuple[()]) -> tuple[Array, tuple[()]]:
        similarity, ids = group.needed("similarity", self), group.scaled_ids(self)
        if group.success is not None:
            xp, similarity, right = as_arrays(similarity, as_mask(group.success))
            itself = xp.eye(similarity.shape[-1], dtype=similarity.dtype, **placement(similarity))
            similarity = xp.where(right[..., None] & right[..., None, :], similarity, itself)
        p = kernel_frequency(similarity, mask=group.mask)
        return one_where_unscaled(p, ids, group.mask), state


@dataclass(frozen=True)
class Likelihood(_Stateless):
    """`likelihood` of `Group.log_pf` and `Group.log_pb`; `summed_likelihood` with `Group.samples`.

    The latter is for outcomes that different samples have in common, such as texts with one answer.
    """

    needs: ClassVar[tuple[str, ...]] = ("log_pf",)

    def __call__(self, group: Group, state: tuple[()]) -> tuple[Array, tuple[()]]:
        log_pf, log_pb = group.needed("log_pf", self), group.log_pb
        if group.mask is not None:
            log_pf = _zero_outside(group.mask, log_pf)
            log_pb = None if log_pb is None else _zero_outside(group.mask, log_pb)
        if group.samples is not None:
            ids = group.scaled_ids(self)
            return summed_likelihood(ids, log_pf, group.samples, mask=group.mask), state
        p = likelihood(log_pf, log_pb)
        return one_where_unscaled(p, group.scaled_ids(self), group.mask), state


@dataclass(frozen=True)
class Exact(_Stateless):
    """`Group.p` as given: the reference that the others approach."""

    needs: ClassVar[tuple[str, ...]] = ("p",)

    def __call__(self, group: Group, state: tuple[()]) -> tuple[Array, tuple[()]]:
        p = one_where_unscaled(group.needed("p", self), group.scaled_ids(self), group.mask)
        if not holds((p > 0) & (p <= 1 + 1e-4)):  # 1e-4: float32 sums of a policy's probabilities
            raise InvalidInput(
                "p has values outside (0, 1]. Pass p(outcome) of each sample, which was drawn and "
                "so has p > 0; for the ratio P_F / P_B, which may exceed 1, use Likelihood()."
            )
        return p, state


class ReplayState(NamedTuple):
    """The last batches of one prompt as a ring, to which `turn` batches have been written."""

    ids: Array  # [batches, ..., G]
    log_pf: Array  # [batches, ..., G], under the policy that drew them
    present: Array  # [batches, ..., G], 0 or 1
    trajectories: Any  # [batches, ...]
    turn: Array  # []


@dataclass(frozen=True)
class Replay:
    """Importance-weighted counts over the last batches of the same prompt, including this one.

        p^(o) = sum_j w_j 1[o_j = o] / sum_j w_j,   w_j = min(pi_now(tau_j) / pi_then(tau_j), clip)

    All samples of a batch are pooled: keep one state per prompt.  Where `Group.history_log_pf` is
    None the weights are 1, which lags behind a fast policy.  With `batches=1` it is the group
    frequency.

    Attributes:
      batches: how many batches are remembered.
      clip: upper bound of a weight.
    """

    batches: int = option(64, "Batches that the estimator replay remembers.")
    clip: float = 10.0
    needs: ClassVar[tuple[str, ...]] = ("history_log_pf",)

    def __post_init__(self) -> None:
        if not isinstance(self.batches, Integral) or not 1 <= self.batches <= 4096:
            raise InvalidInput(
                f"Replay got batches={self.batches}. It remembers a whole number of them, at least "
                "one batch and at most 4096."
            )
        check_weight_clip(self.clip)

    def init(self, group: Group) -> ReplayState:
        xp, ids = as_arrays(group.scaled_ids(self))
        where = placement(ids)

        def ring(array: Array, dtype: Any) -> Array:
            return xp.zeros((self.batches, *array.shape), dtype=dtype, **where)

        dtype = default_float(xp, ids)
        trajectories = _mapped(lambda array: ring(array, array.dtype), group.trajectories)
        no_ids, zeros = ring(ids, ids.dtype), ring(ids, dtype)
        return ReplayState(no_ids, zeros, zeros, trajectories, xp.asarray(0, **where))

    def stored(self, state: ReplayState) -> Any:
        return state.trajectories

    def __call__(self, group: Group, state: ReplayState) -> tuple[Array, ReplayState]:
        xp, ids, mask, log_pf, now = as_arrays(
            group.scaled_ids(self), as_mask(group.mask), group.log_pf, group.history_log_pf
        )
        check_same_shape("ids and each stored batch", ids, state.ids[0, ...])
        dtype = state.log_pf.dtype
        if log_pf is not None:
            check_same_shape("ids and log_pf", ids, log_pf)
        log_pf = xp.zeros_like(ids, dtype=dtype) if log_pf is None else log_pf
        present = xp.ones_like(ids, dtype=dtype) if mask is None else xp.astype(mask, dtype)
        turn = xp.arange(self.batches, **placement(ids)) == state.turn % self.batches

        def slot(array: Array) -> Array:
            return xp.reshape(turn, (self.batches, *[1] * array.ndim))

        state = ReplayState(
            xp.where(slot(ids), ids, state.ids),
            xp.where(slot(ids), xp.where(present > 0, log_pf, present), state.log_pf),
            xp.where(slot(ids), present, state.present),
            _mapped(lambda a, b: xp.where(slot(a), a, b), group.trajectories, state.trajectories),
            state.turn + 1,
        )
        weights = state.present
        if now is not None:
            check_same_shape("history_log_pf and the stored batches", now, state.log_pf)
            now = xp.where(slot(ids), state.log_pf, now)
            now = xp.where(weights > 0, now, weights)  # padding may hold anything
            ratio = importance_weights(now, state.log_pf, clip=self.clip)
            weights = xp.where(weights > 0, ratio, weights)
        p = weighted_frequency(
            xp.reshape(ids, (-1,)), xp.reshape(state.ids, (-1,)), xp.reshape(weights, (-1,))
        )
        return one_where_unscaled(xp.reshape(p, ids.shape), ids, mask), state


ESTIMATORS: dict[str, type[Estimator]] = {
    "group": GroupFrequency,
    "leave-one-out": LeaveOneOut,
    "kernel": Kernel,
    "replay": Replay,
    "likelihood": Likelihood,
    "exact": Exact,
}
"""All estimators, by the names that configurations and commands use."""


def check_stateless(estimator: Estimator, group: Group) -> tuple[()]:
    """The empty state, for a host that cannot keep any other or write it to checkpoints.

    Raises:
      InvalidInput: if the estimator wants to remember something.
    """
    if (state := estimator.init(group)) != ():
        raise InvalidInput(
            f"{type(estimator).__name__} starts from the state {state!r:.80}, which is lost here. "
            "Use an estimator without a state, or replay, whose history is kept."
        )
    return ()


def _mapped(function: Any, *trees: Any) -> Any:
    """Apply the function to arrays, or to each array of named tuples; None stays None."""
    if trees[0] is None:
        return None
    if isinstance(trees[0], tuple):
        parts = [function(*arrays) for arrays in zip(*trees, strict=True)]
        return type(trees[0])(*parts)
    return function(*trees)


def _zero_outside(mask: Array, value: Array) -> Array:
    """Set values outside the mask to 0, because padding may hold anything, even NaN."""
    xp, mask, value = as_arrays(as_mask(mask), value)
    check_same_shape("mask and log-probabilities", mask, value)
    return xp.where(mask, value, xp.zeros_like(value))
