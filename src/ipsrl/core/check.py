"""Check whether scaling will act on groups like these, and say what prevents it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipsrl.core.arrays import (
    Array,
    as_mask,
    check_clip,
    check_has_group,
    check_ids,
    check_rewards,
    check_same_shape,
    to_numpy,
)
from ipsrl.core.floor import clip_is_noop, minority_survives
from ipsrl.core.outcomes import NO_OUTCOME


@dataclass(frozen=True)
class GroupCheck:
    """Statistics of a batch of groups for IPS; fractions are over the groups with any outcome.

    Attributes:
      all_distinct: fraction of groups whose outcomes are all different and of one weight, so that
        scaling is inert.
      single_outcome: fraction of groups with one outcome only: IPS has nothing to tell apart.
      clip_is_noop: eps <= 1/G.
      reward_ratio: R_max / R_min over the positive rewards; None if there is none.
      minority_at_risk: some group has several outcomes, and not `minority_survives`:
        G - 1 <= R_max / R_min without a clip.
      warnings: one sentence per problem, with what to do about it; no two contradict each other.
    """

    all_distinct: float
    single_outcome: float
    clip_is_noop: bool
    reward_ratio: float | None
    minority_at_risk: bool
    warnings: tuple[str, ...]


def check_groups(
    rewards: Array,
    ids: Array,
    *,
    eps: float = 0.0,
    mask: Array | None = None,
    p: Array | None = None,
) -> GroupCheck:
    """Check whether IPS will act on groups like these.

    The policy has collapsed in a group if two samples or more, and at least half of them, have an
    outcome, and all the same.  A group in which most have none says nothing of the policy, nor
    whether outcomes are too fine.

    Args:
      rewards: raw rewards >= 0 [..., G].
      ids: outcome ids [..., G].
      eps: the clip in use.
      mask: True where a sample exists [..., G]; None for all.  G is the size of the largest group.
      p: p^ of another estimator [..., G], whose weights may differ where all outcomes do, and of
        which group size, clip and rewards say nothing; None counts within the group.
    Returns:
      the check; `warnings` is empty when nothing stands against it.
    Raises:
      InvalidInput: for bad rewards, ids that are not ids, a clip that cannot be, or arrays that are
        not aligned.
    """
    rewards, ids = to_numpy(rewards, float), to_numpy(ids)
    mask = np.ones_like(ids, bool) if mask is None else to_numpy(as_mask(mask))
    check_has_group("ids", ids)
    check_same_shape("rewards and ids", rewards, ids)
    check_same_shape("ids and mask", ids, mask)
    check_ids(ids)
    check_clip(eps)
    width = ids.shape[-1]
    valid = (ids != NO_OUTCOME) & mask
    check_rewards(rewards[mask], valid[mask])
    samples, known = (has.reshape(-1, width).sum(-1) for has in (mask, valid))
    # Sorting puts equal ids side by side, so a new outcome is a change between neighbours.
    order = np.sort(np.where(valid, ids, np.iinfo(ids.dtype).max).reshape(-1, width), axis=-1)
    changes = (order[:, 1:] != order[:, :-1]) & (np.arange(1, width) < known[:, None])
    distinct = (known > 0) + changes.sum(-1)
    inert = (distinct == known) & (known > 1)
    most = 2 * known >= samples  # a group in which most have no outcome says little
    collapsed = (distinct == 1) & (known > 1) & most
    # A model that cannot do the task yet has no outcomes; a reward without one is a mistake.
    earns = mask & (rewards > 0)
    lost = earns & ~valid
    wanting = lost.reshape(-1, width).any(-1)
    silent = (distinct <= 1) & (samples > 1) & ~collapsed & wanting
    if p is not None:
        p = to_numpy(p, float)
        check_same_shape("ids and p", ids, p)
        low = np.where(valid, p, np.inf).reshape(-1, width).min(-1)
        high = np.where(valid, p, -np.inf).reshape(-1, width).max(-1)
        inert &= high <= low * (1 + 1e-9)  # equal but for rounding
    all_distinct = _share(inert, known > 0)
    collapse = _share(collapsed, known > 0)

    group_size = int(samples.max(initial=1))
    positive = rewards[valid & (rewards > 0)]
    ratio = float(positive.max()) / float(positive.min()) if positive.size else None
    noop = p is None and clip_is_noop(group_size, eps)
    at_risk = (
        p is None
        and ratio is not None
        and ratio > 1
        and bool((distinct > 1).any())
        and not minority_survives(group_size, ratio, eps=eps)
    )

    warnings = []
    no_outcome, silence = _share(lost, earns), _share(silent, samples > 0)
    if no_outcome > 0.9 or silence > 0.5:
        warnings.append(
            f"{no_outcome:.0%} of the rewarded samples have no outcome, and are not scaled; in "
            f"{silence:.0%} of the groups too few have one to be compared. Check the outcome "
            "function on a sample that you know."
        )
    elif _share(samples == 1, samples > 0) > 0.5:
        warnings.append("A group of one sample cannot be compared with others. Use larger groups.")
    elif (differ := _share(inert & most, known > 0)) > 0.5:
        warnings.append(
            f"All outcomes differ in {differ:.0%} of the groups, so every weight is the same "
            "and IPS is inert there. Name a coarser outcome, use larger groups, or an estimator "
            "that looks beyond the group, such as replay, which acts from the second visit of a "
            "prompt on."
        )
    elif collapse > 0.5:
        warnings.append(
            f"{collapse:.0%} of the groups have a single outcome and give no signal: the policy "
            "has collapsed there. Sample it more randomly, or start from an earlier policy."
        )
    if eps > 0 and noop and group_size > 1:
        larger = "" if at_risk else f", or choose eps > {1 / group_size:.3g}"
        warnings.append(
            f"eps = {eps:g} has no effect: no share of {group_size} samples is below "
            f"1/{group_size}. Leave it out{larger}."
        )
    if at_risk:
        warnings.append(
            f"Rewards differ by a factor of {ratio:.3g}, but G - 1 = {group_size - 1} "
            f"{'' if noop else 'over eps G '}must exceed it for the lesser outcome to survive. "
            "Use larger groups or another estimator."
        )
    return GroupCheck(
        all_distinct, _share(distinct == 1, known > 0), noop, ratio, at_risk, tuple(warnings)
    )


def _share(which: np.ndarray, among: np.ndarray) -> float:
    return float(which[among].mean()) if among.any() else 0.0
