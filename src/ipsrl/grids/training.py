"""Training of policies in an environment, one per seed, and the files of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ipsrl.core.check import check_groups
from ipsrl.core.floor import floor_l1
from ipsrl.core.methods import IPS, changes_rewards
from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.errors import InvalidInput, MissingExtra, RunError
from ipsrl.grids.config import Learning

if TYPE_CHECKING:
    from ipsrl.grids.evaluation import Evaluation, Recent
    from ipsrl.grids.loop import Carry, Loop
    from ipsrl.runs import Run

THRESHOLDS = (0.3, 0.15, 0.05)


@dataclass(frozen=True)
class Result:
    """Outcome of a run; lists have one entry per seed.

    Attributes:
      total_l1: sum |p - p*| of the exact terminal distribution; None where it cannot be enumerated.
      mean_l1: total_l1 / number of states, as in Table 1 of the paper.
      modes_found: modes with at least a tenth of their target mass; where states cannot be
        enumerated, modes_visited.
      modes_visited: modes that any trajectory of the run ended in.
      modes_total: number of modes.
      trajectories: drawn per seed.
      trajectories_to: for each total L1, trajectories until an exact evaluation was first at or
        below it; None if never.
      sampled_l1: total L1 of the shares of the last 200,000 trajectories that the policy drew, and
        so behind it; None where the sum of all rewards is not known.
      sampled_floor: its expectation for as many samples of the target itself.
      floor_l1: closed-form floor of group-frequency IPS at this G and eps; None for other methods.
      diverged: seeds whose loss or parameters are not finite at the end.
    """

    total_l1: list[float | None]
    mean_l1: list[float | None]
    modes_found: list[int]
    modes_visited: list[int]
    modes_total: int
    trajectories: int
    trajectories_to: dict[str, list[int | None]]
    sampled_l1: list[float | None]
    sampled_floor: float | None
    floor_l1: float | None
    diverged: list[int] = field(default_factory=list)


def train(config: Learning, out: Path | None = None, *, resume: bool = False) -> Result:
    """Train all seeds of a configuration in one compiled loop.

    Args:
      config: what to train.
      out: run directory to write; None keeps nothing.
      resume: continue the run in `out` from its last checkpoint, bit for bit.
    Returns:
      the result, also written to `out`/result.json.
    Raises:
      MissingExtra: without the libraries of `ipsrl[grids]`.
      RunError: if `out` holds a run and `resume` is False, or the other way round; if the
        environment of a run that goes on is another; if every seed has diverged.
    """
    try:
        import ipsrl.grids.loop  # noqa: F401
        from ipsrl.runs import Run  # here, because Parquet is slow to load for --help
    except ImportError as error:
        raise MissingExtra("grids", error.name or "jax") from None

    if out is None:
        return _train(config, None, resume)
    with (Run.resume if resume else Run.create)(out, config, config.inputs()) as run:
        return Result(**run.result()) if run.finished else _train(config, run, resume)


def _train(config: Learning, run: Run | None, resume: bool) -> Result:
    import jax.numpy as jnp

    from ipsrl.grids.evaluation import recent_of
    from ipsrl.grids.loop import Loop
    from ipsrl.runs import progress

    loop = Loop(config)
    recents = recent_of(loop.environment, loop.table, config.seeds)
    seeds = jnp.arange(config.seed, config.seed + config.seeds)
    restored = run.restore() if run is not None and resume else None
    done = 0 if restored is None else restored[0]
    # What the result needs of the evaluations; -1 stands for "not reached".
    summary = {
        "trajectories_to": np.full((len(THRESHOLDS), config.seeds), -1),
        "diverged": np.zeros(config.seeds, bool),
    }

    with progress(f"{config.method} {config.title}", config.iterations) as advance:
        advance(done, "compiling", at_once=True)
        carry = loop.init(seeds)
        if restored is not None:
            summary |= restored[1]
            kept = {key: summary.pop(key) for key in list(summary) if "." in key}
            carry = _restored(carry, recents, kept)
        run_chunk = loop.run.lower(carry, seeds, done).compile()
        advance(done, "training")
        while done < config.iterations:
            carry, chunk = run_chunk(carry, seeds, done)
            ends = np.arange(done, config.iterations, config.eval_every) + config.eval_every
            ends = np.minimum(ends, config.iterations)[
                : config.checkpoint_every // config.eval_every
            ]
            chunk = chunk._make(np.asarray(x)[:, : len(ends)] for x in chunk)
            if chunk.cut.any():
                raise InvalidInput(
                    f"a trajectory had more actions than horizon = {loop.environment.horizon}, "
                    "with its stop. Raise the horizon of the environment."
                )
            if done == 0 and not config.explored and config.uses("group"):
                _warn(config, chunk, int(ends[0]))
            lost_SE = ~np.isfinite(chunk.loss)
            diverged_S = _check_diverged(config, lost_SE, summary["diverged"], ends)
            # A policy of NaN moves too, and its samples look like any others.
            chunk = chunk._replace(drawn=np.where(lost_SE[..., None, None], -1, chunk.drawn))
            summary = {
                "trajectories_to": _first_below(summary, chunk.total_l1, ends * config.batch),
                "total_l1": chunk.total_l1[:, -1],
                "modes_found": chunk.modes_found[:, -1],
                "modes_visited": chunk.modes_visited[:, -1],
                "diverged": diverged_S,
            }
            rows = list(_rows(config, chunk, ends * config.batch, recents, loop.table is not None))
            last = (int(ends[-1]) - 1) % config.eval_every
            own = loop.evaluator.own
            final, rewards = chunk.drawn[:, -1, last][:, own], chunk.rewards[:, -1][:, own]
            done = int(ends[-1])
            if run is not None:
                run.log(rows)
                run.log_outcomes(done, final, rewards)
                run.checkpoint(done, {**_kept(carry, recents), **summary})
            for i, end in enumerate(ends):
                at_end = rows[i * config.seeds : (i + 1) * config.seeds]
                said = _told(at_end, loop.environment.modes)
                advance(int(end), said, minor=int(end) < done)

    result = _result(config, loop, recents, summary)
    if run is not None:
        arrays = {}
        if loop.table is not None:
            arrays["target"] = loop.table.target.astype(np.float32)
            arrays["terminal"], arrays["policy"] = loop.behaviour(carry.learned.policy)
        run.finish(asdict(result), arrays)
    return result


def _told(rows: Sequence[dict[str, Any]], modes: int) -> str:
    """The progress message of an evaluation: medians over the seeds that have not diverged."""
    rows = [row for row in rows if row["loss"] is not None]
    if not rows:
        return "no loss is finite"
    if all(row["total_l1"] is not None for row in rows):
        return f"total L1 {median(row['total_l1'] for row in rows):.3f}"
    if modes:
        return f"modes visited {median(row['modes_visited'] for row in rows):g}/{modes}"
    return f"expected reward {median(row['expected_reward'] for row in rows):.3g}"


def _kept(carry: Carry, recents: Sequence[Recent]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint beside the summary."""
    import jax

    carried = {f"carry.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(carry))}
    return carried | {f"recent.{seed}": recent.ids for seed, recent in enumerate(recents)}


def _restored(carry: Carry, recents: Sequence[Recent], kept: dict[str, np.ndarray]) -> Carry:
    """The carry of a checkpoint; `recents`, new as the carry given, get its samples.

    Raises:
      RunError: if it was written in another environment.
    """
    import jax
    import jax.numpy as jnp

    fresh = _kept(carry, recents)
    was, is_now = (
        {key: (leaf.shape[1:], leaf.dtype) for key, leaf in arrays.items()}
        for arrays in (kept, fresh)
    )
    if was != is_now:
        raise RunError(
            "the checkpoint has parameters of other shapes than this environment needs, so the run "
            "began in another one. Undo what has changed, or start a new run elsewhere."
        )
    for seed, recent in enumerate(recents):
        recent.ids = kept[f"recent.{seed}"]
    leaves = [jnp.asarray(kept[f"carry.{i}"]) for i in range(len(kept) - len(recents))]
    return jax.tree.unflatten(jax.tree.structure(carry), leaves)


def _check_diverged(
    config: Learning, lost_SE: np.ndarray, before_S: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Warn of seeds that have diverged in these evaluations; all that have by their end [seeds].

    Raises:
      RunError: if none is left.
    """
    diverged_S = lost_SE[:, -1]
    why = "a loss or parameters are not finite. Start a new run with an lr below "
    why += f"{config.lr:g}, or with smaller rewards{', all above 0' if config.needs_log else ''}."
    if diverged_S.all():
        raise RunError(f"all seeds have diverged by iteration {ends[-1]}: {why}")
    for seed in np.flatnonzero(diverged_S & ~before_S):
        at = ends[lost_SE[seed].argmax()]
        print(
            f"warning: seed {config.seed + seed} has diverged by iteration {at}: {why}",
            file=sys.stderr,
        )
    return diverged_S


def _first_below(summary: dict[str, Any], l1: np.ndarray, trajectories: np.ndarray) -> np.ndarray:
    """Trajectories at which each threshold was first reached [thresholds, seeds]."""
    reached = l1[None] <= np.array(THRESHOLDS)[:, None, None]
    first = np.where(reached.any(-1), trajectories[reached.argmax(-1)], -1)
    return np.where(summary["trajectories_to"] >= 0, summary["trajectories_to"], first)


def _rows(
    config: Learning,
    chunk: Any,
    trajectories: np.ndarray,
    recents: Sequence[Recent],
    has_table: bool,
) -> Iterator[dict[str, Any]]:
    names = (
        "total_l1", "modes_found", "modes_visited", "effective_outcomes",
        "expected_reward", "loss",
    )  # fmt: skip
    method = config.shaping()
    for e, drawn in enumerate(trajectories):
        for seed in range(config.seeds):
            place = {"trajectories": int(drawn), "seed": config.seed + seed}
            if not np.isfinite(chunk.loss[seed, e]):
                yield {**place, **dict.fromkeys(names)}
                continue
            values = {name: _number(getattr(chunk, name)[seed, e]) for name in names}
            if changes_rewards(method):
                values["ips/reward"] = _number(chunk.scaled_reward[seed, e])
            if has_table:  # else the mass is never known, and modes may be thousands
                values["mode_mass"] = chunk.mode_mass[seed, e].tolist()
            if values["total_l1"] is None:
                values["importance_l1"] = _number(chunk.importance_l1[seed, e])
            if recents:
                recents[seed].add(chunk.drawn[seed, e])
                if values["total_l1"] is None:
                    l1, floor = recents[seed].distance()
                    size = len(recents[seed].ids)
                    values |= {"sampled_l1": l1, "sampled_floor": floor, "sampled": size}
            yield {**place, **values}


def _result(
    config: Learning, loop: Loop, recents: Sequence[Recent], summary: dict[str, np.ndarray]
) -> Result:
    method, floor = config.shaping(), None
    if isinstance(method, IPS) and config.uses("group") and loop.table is not None:
        plain = IPS(eps=method.eps, scale=method.scale, advantage_clip=method.advantage_clip)
        if method == plain and config.success_above is None and config.method == "ips-grpo":
            floor = floor_l1(loop.table.rewards, config.group_size, eps=method.eps)
    total_l1 = [_number(value) for value in summary["total_l1"]]
    visited = [int(modes) for modes in summary["modes_visited"]]
    sampled: list[tuple[float | None, float | None]] = [(None, None)] * config.seeds
    for seed, recent in enumerate(recents):
        if not summary["diverged"][seed]:
            sampled[seed] = recent.distance()
    return Result(
        total_l1=total_l1,
        mean_l1=[
            None if value is None or loop.table is None else value / loop.table.states
            for value in total_l1
        ],
        modes_found=visited
        if loop.table is None
        else [int(modes) for modes in summary["modes_found"]],
        modes_visited=visited,
        modes_total=loop.environment.modes,
        trajectories=config.iterations * config.batch,
        trajectories_to={
            str(threshold): [int(n) if n >= 0 else None for n in first]
            for threshold, first in zip(THRESHOLDS, summary["trajectories_to"], strict=True)
        },
        sampled_l1=[l1 for l1, _ in sampled],
        sampled_floor=next((floor for _, floor in sampled if floor is not None), None),
        floor_l1=floor,
        diverged=(config.seed + np.flatnonzero(summary["diverged"])).tolist(),
    )


def _number(value: Any) -> float | int | None:
    """A JSON number; None for unknown values (JSON has no NaN)."""
    return value.item() if np.isfinite(value) else None


def _warn(config: Learning, chunk: Evaluation, first: int) -> None:
    """Warn of groups in which scaling does not act, in the last batch before an evaluation."""
    if not isinstance(method := config.shaping(), IPS):
        return
    groups = (-1, config.group_size)
    ids = chunk.drawn[:, 0, (first - 1) % config.eval_every].reshape(groups)
    rewards = chunk.rewards[:, 0].reshape(groups)
    if config.success_above is not None:  # what is not right is not scaled
        right = rewards > config.success_above
        rewards, ids = np.where(right, rewards, 0.0), np.where(right, ids, NO_OUTCOME)
    for warning in check_groups(rewards, ids, eps=method.eps).warnings:
        print(f"warning: {warning}", file=sys.stderr)
