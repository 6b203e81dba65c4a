"""The evidence of a batch of groups, which is everything that an estimator or method may read."""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

from ipsrl.core.arrays import (
    Array,
    as_arrays,
    as_float,
    as_mask,
    check_has_group,
    check_rewards,
    check_same_shape,
    placement,
    widened,
)
from ipsrl.core.counting import sum_over_equal
from ipsrl.core.outcomes import NO_OUTCOME, has_outcome
from ipsrl.core.probability import check_aligned, check_similarity
from ipsrl.errors import InvalidInput


class Group(NamedTuple):
    """The evidence of a batch of groups; code that needs a field that is None raises an error.

    Attributes:
      rewards: terminal rewards [..., G]; the last axis is the group.
      ids: outcome ids [..., G], from `outcome_ids`.
      mask: True where a sample exists [..., G]; None for all.
      weights: probability of the sample under the policy over that under its sampler [..., G];
        None if the policy drew all.
      success: True where the sample is right [..., G], and so to be scaled; None for all.
      p: p(outcome) of each sample [..., G]: exact, or by an `Estimator`.
      log_pf: log-probability of each trajectory under the policy that drew it [..., G].
      log_pb: log-probability of each trajectory given its outcome [..., G]; None for strings.
      log_ref: log-probability of each trajectory under the reference policy [..., G].
      lengths: tokens or steps of each trajectory [..., G].
      visits: how often the outcome of each sample was drawn before this batch, in all groups of
        this prompt [..., G].
      samples: ids of whole samples [..., G]: the same where two are the same sample.
      similarity: pairwise similarities [..., G, G].
      trajectories: what `Replay` is to store: an array or a named tuple of arrays.
      history_log_pf: log-probability, under the current policy, of what `Replay` has stored
        [batches, ..., G].
    """

    rewards: Array = None
    ids: Array = None
    mask: Array = None
    weights: Array = None
    success: Array = None
    p: Array = None
    log_pf: Array = None
    log_pb: Array = None
    log_ref: Array = None
    lengths: Array = None
    visits: Array = None
    samples: Array = None
    similarity: Array = None
    trajectories: Any = None
    history_log_pf: Array = None

    def needed(self, field: str, by: object) -> Array:
        """Return a field; raise an error if it is None.

        Raises:
          InvalidInput: if it is.
        """
        if (value := getattr(self, field)) is None:
            raise InvalidInput(
                f"{type(by).__name__} needs `{field}` of a group, which this one lacks. "
                f"Write Group(..., {field}=...)."
            )
        return value

    def scaled_ids(self, by: object) -> Array:
        """Outcome ids of the scaled samples [..., G]; `NO_OUTCOME` for wrong samples.

        p(o) is then the probability to be right with outcome o, and a wrong sample keeps its
        reward, which therefore does not make its outcome proportional (docs/theory.md).
        """
        ids = self.needed("ids", by)
        if self.success is None:
            return ids
        xp, ids, success = as_arrays(ids, as_mask(self.success))
        check_aligned(ids)
        check_same_shape("ids and success", ids, success)
        if xp.isdtype(ids.dtype, "unsigned integer"):
            raise InvalidInput(
                f"ids have dtype {ids.dtype}, which cannot hold -1, the id of what is not scaled. "
                "Convert them to a signed integer."
            )
        return xp.where(success, ids, xp.full_like(ids, NO_OUTCOME))

    def earned(self, by: object) -> tuple[Any, Array, Array]:
        """Namespace, rewards in at least float32 with 0 outside the mask, and the mask [..., G].

        Raises:
          InvalidInput: for rewards that are not finite, or not aligned with the mask.
        """
        xp, rewards, mask = as_arrays(self.needed("rewards", by), as_mask(self.mask))
        rewards = widened(xp, as_float(xp, "rewards", rewards))
        check_has_group("rewards", rewards)
        if mask is None:
            mask = xp.ones_like(rewards, dtype=xp.bool)
        check_same_shape("rewards and mask", rewards, mask)
        rewards = xp.where(mask, rewards, xp.zeros_like(rewards))
        check_rewards(rewards, ~mask)  # those that exist may be negative
        return xp, rewards, mask

    def right(self, by: object) -> Array:
        """True if a sample exists and is right [..., G]: by `success`, or else by a reward > 0."""
        _, rewards, mask = self.earned(by)
        if self.success is None:
            return rewards > 0
        _, mask, success = as_arrays(mask, as_mask(self.success))
        check_same_shape("rewards and success", rewards, success)
        return mask & success

    def counts(self, by: object) -> Array:
        """Number of members of the group with the same outcome [..., G]; 1 if there is none."""
        xp, rewards, mask = self.earned(by)
        xp, ids, rewards, mask = as_arrays(self.needed("ids", by), rewards, mask)
        check_aligned(ids, mask)
        present = xp.astype(mask, rewards.dtype)
        n = sum_over_equal(xp, ids, ids, present)
        return xp.where(has_outcome(ids) & mask, n, xp.ones_like(n))

    def alike(self, by: object) -> Array:
        """Similarities [..., G, G]; 1[same outcome] if none are given.

        What has no outcome, or does not exist, is similar to itself only.
        """
        xp, rewards, mask = self.earned(by)
        xp, ids, rewards, mask, similarity = as_arrays(
            self.needed("ids", by), rewards, mask, self.similarity
        )
        check_aligned(ids, mask)
        if similarity is None:
            similarity = ids[..., :, None] == ids[..., None, :]
        square = (*ids.shape, ids.shape[-1])
        if tuple(similarity.shape) != square:
            raise InvalidInput(
                f"similarity has shape {tuple(similarity.shape)} for ids of shape "
                f"{tuple(ids.shape)}. Pass the similarity of every pair, {square}."
            )
        named = has_outcome(ids) & mask
        itself = xp.eye(ids.shape[-1], dtype=rewards.dtype, **placement(rewards))
        similarity = xp.astype(similarity, rewards.dtype)
        similarity = xp.where(named[..., :, None] & named[..., None, :], similarity, itself)
        check_similarity(similarity)
        return similarity


def option(default: Any, text: str, *, own: bool = False) -> Any:
    """A field of a method or estimator that a user may set; it becomes a key of configurations.

    Args:
      default: its value if it is not given.
      text: its help.
      own: whether its key begins with the name of the method, as others have one of this name that
        means something else.
    """
    return field(default=default, metadata={"help": text, "own": own})
