"""Trajectory balance on the hyper-grid with ipsrl: one compiled chunk of all iterations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from contract import Stopwatch, check_rewards, parse_task, report

import ipsrl
from ipsrl.grids import Config, HyperGrid
from ipsrl.grids.loop import Loop


def main() -> None:
    task = parse_task()
    config = Config(
        method="tb",
        dims=task.dims,
        side=task.side,
        hidden=task.hidden,
        batch=task.batch,
        group_size=task.batch,
        iterations=task.iterations,
        eval_every=task.iterations,  # the rivals do not evaluate either
        checkpoint_every=task.iterations,
        seeds=1,
    )
    grid = HyperGrid(task.dims, task.side)
    diagonal = np.arange(task.side) * grid.strides.sum()
    check_rewards(task.side, grid.rewards_of(diagonal).tolist())
    loop, seeds = Loop(config), jnp.array([task.seed])
    carry = loop.init(seeds)
    run = loop.run.lower(carry, seeds, 0).compile()
    stopwatch = Stopwatch()
    _, evaluation = jax.block_until_ready(run(carry, seeds, 0))
    seconds = stopwatch.stop()
    report(task, "ipsrl", ipsrl.__version__, seconds, float(evaluation.loss[0, -1]))


if __name__ == "__main__":
    main()
