"""The evidence of a batch of groups: all that an estimator or a method may look at."""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

from ipsrl.core.arrays import Array, as_arrays, as_mask, check_same_shape
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.core.probability import check_aligned
from ipsrl.errors import InvalidInput


class Group(NamedTuple):
    """What is known of a batch; whoever needs a field that is None says so.

    Attributes:
      rewards: terminal rewards [..., G]; the last axis is the group.
      ids: outcome ids [..., G], from `outcome_ids`.
      mask: True where a sample exists [..., G]; None for all.
      weights: probability of the sample under the policy over that under what drew it [..., G];
        None where the policy drew all.
      success: True where the sample is right [..., G], and so to be scaled; None for all.
      p: p(outcome) of each sample [..., G]: exact, or by an `Estimator`.
      log_pf: log-probability of each trajectory under the policy that drew it [..., G].
      log_pb: log-probability of each trajectory given its outcome [..., G]; None for strings.
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
    samples: Array = None
    similarity: Array = None
    trajectories: Any = None
    history_log_pf: Array = None

    def needed(self, field: str, by: object) -> Array:
        """A field that must not be None.

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
        """Outcome ids of what is scaled [..., G]: `NO_OUTCOME` where the sample is wrong.

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


def option(default: Any, text: str) -> Any:
    """Field of a method or an estimator that a user may set: configurations have it as a key."""
    return field(default=default, metadata={"help": text})
