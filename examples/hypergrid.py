"""Train on a hyper-grid of your own from Python: two estimators of p(outcome) side by side."""

from ipsrl.grids import Config, train

if __name__ == "__main__":
    for estimator in ("group", "likelihood"):
        config = Config(
            dims=2, side=10, estimator=estimator, iterations=300, lr=3e-3, seeds=3,
            advantage_clip=5.0, checkpoint_every=100,
        )  # fmt: skip
        result = train(config)
        print(estimator, "total L1", [round(l1, 3) for l1 in result.total_l1 if l1 is not None])
        if result.floor_l1 is not None:
            print("  which cannot get below", round(result.floor_l1, 3))
