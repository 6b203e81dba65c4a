"""The command `ipsrl train llm`."""

import os

from ipsrl.command import stoppable, training


def train(argv: list[str]) -> int:
    from ipsrl.llm.config import Config

    prog = "ipsrl train llm"
    config, out, resume = training(argv, prog, Config)

    from ipsrl.llm import train

    with stoppable(prog, out):
        result = train(config, out, resume=resume)
    if os.environ.get("RANK", "0") != "0":  # torchrun starts this once per process
        return 0
    reward = "none" if result.reward is None else f"{result.reward:.3f}"
    line = f"{result.steps} steps: reward {reward}"
    if result.effective is not None:
        effective, distinct = result.effective, result.distinct
        line += f"; outcomes per group: {distinct:.2f} different, {effective:.2f} effective"
    print(f"{line}\nwritten to {out}")
    return 0
