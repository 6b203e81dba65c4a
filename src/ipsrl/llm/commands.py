"""The command `ipsrl train llm`."""

import os

from ipsrl.threads import one_thread


def train(argv: list[str]) -> int:
    from ipsrl.command import training
    from ipsrl.llm.config import Config

    asked = training(argv, "ipsrl train llm", Config)

    if asked.config.model == "tiny":
        one_thread()

    from ipsrl.llm import train

    with asked.running():
        result = train(asked.config, asked.out, resume=asked.resume)
    if os.environ.get("RANK", "0") != "0":  # torchrun starts this once per process
        return 0
    reward = "none" if result.reward is None else f"{result.reward:.3f}"
    line = f"{result.steps} steps: reward {reward}"
    if result.effective is not None:
        effective, distinct = result.effective, result.distinct
        line += f"; outcomes per group: {distinct:.2f} different, {effective:.2f} effective"
    asked.say(line, result)
    return 0
