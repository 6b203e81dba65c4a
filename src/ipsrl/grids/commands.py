"""The command `ipsrl train hypergrid`."""

from ipsrl.command import stoppable, training


def train(argv: list[str]) -> int:
    from ipsrl.grids.config import Config

    prog = "ipsrl train hypergrid"
    config, out, resume = training(argv, prog, Config)

    from ipsrl.user_cache import keep_compiled

    keep_compiled()
    from ipsrl.grids.training import train

    with stoppable(prog, out):
        result = train(config, out, resume=resume)
    for seed, (l1, modes) in enumerate(zip(result.total_l1, result.modes_found, strict=True)):
        distance = "unknown" if l1 is None else f"{l1:.4f}"
        print(f"seed {config.seed + seed}: total L1 {distance}, modes {modes}/{result.modes_total}")
    if result.floor_l1 is not None:
        print(f"floor of the group frequency at this group size: total L1 {result.floor_l1:.4f}")
    print(f"written to {out}")
    return 0
