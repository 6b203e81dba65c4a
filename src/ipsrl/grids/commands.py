"""The commands `ipsrl train hypergrid` and `ipsrl train env`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipsrl.command import training
from ipsrl.errors import ConfigError

if TYPE_CHECKING:
    from ipsrl.grids.config import Learning


def train(argv: list[str]) -> int:
    from ipsrl.grids.config import Config

    return _train(argv, "ipsrl train hypergrid", Config)


def train_env(argv: list[str]) -> int:
    from ipsrl.grids.config import EnvConfig

    given = {word.partition("=")[0] for word in argv} & {"--config", "--resume", "-h", "--help"}
    named = any(":" in word for word in argv) or (argv and not argv[0].startswith("-"))
    if not given and not named:
        raise ConfigError(
            "no environment is given. Name the function that makes it: "
            "ipsrl train env my_env.py:make (docs/extending.md has one)."
        )
    return _train(argv, "ipsrl train env", EnvConfig)


def _train(argv: list[str], prog: str, model: type[Learning]) -> int:
    asked = training(argv, prog, model)
    config = asked.config

    from ipsrl.user_cache import keep_compiled

    keep_compiled()
    from ipsrl.grids.training import train

    with asked.running():
        result = train(config, asked.out, resume=asked.resume)
    lines = []
    for seed, (l1, modes) in enumerate(zip(result.total_l1, result.modes_found, strict=True)):
        name = f"seed {config.seed + seed}"
        if config.seed + seed in result.diverged:
            lines.append(f"{name}: diverged, its loss or parameters are not finite")
            continue
        distance = "unknown" if l1 is None else f"{l1:.4f}"
        if l1 is None and (sampled := result.sampled_l1[seed]) is not None:
            distance = f"{sampled:.4f} of samples (of the target itself {result.sampled_floor:.4f})"
        line = f"{name}: total L1 {distance}"
        if result.modes_total:  # visited ones are counted where a mode's mass is not known
            how = "visited" if l1 is None else "found"
            line += f", modes {how} {modes}/{result.modes_total}"
        lines.append(line)
    if all(l1 is None for l1 in result.total_l1 + result.sampled_l1):
        lines.append(
            "total L1 needs `states`, `state` and `index` of the environment, and `reward_counts` "
            "above 2^20 states (docs/extending.md)"
        )
    if result.floor_l1 is not None:
        lines.append(
            f"floor of the group frequency at this group size: total L1 {result.floor_l1:.4f}"
        )
    asked.say("\n".join(lines), result)
    return 0
