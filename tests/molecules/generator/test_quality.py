"""The prior that ships: it loads without a download, and writes molecules."""

from pathlib import Path

import torch

from ipsrl.molecules import Prior
from ipsrl.molecules.generator.quality import sample

SHIPPED = Path(__file__).parents[3] / "src" / "ipsrl" / "molecules" / "priors" / "zinc"


def test_it_is_small_and_what_the_model_card_says():
    prior = Prior.load()
    assert sum(value.numel() for value in prior.model.parameters()) == 941_184
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 2.5e6
    assert len(prior.vocabulary) == 64
    card = (SHIPPED / "README.md").read_text()
    for word in ("ZINC", "pretrain", "epochs", "941,184", "licence"):
        assert word in card
    assert {value.dtype for value in prior.model.parameters()} == {torch.float32}


def test_it_writes_molecules():
    """A thousand, the figures of issue 6; the seed is fixed."""
    drawn, quality = sample("zinc", 1000, seed=0)
    assert len(drawn) == quality.samples == 1000
    assert quality.validity >= 0.90
    assert quality.uniqueness >= 0.99
    assert quality.internal_diversity > 0.8


def test_it_knows_drugs_from_noise():
    """Aspirin is more likely than the same tokens in another order, which are a molecule too."""
    prior = Prior.load("zinc")
    aspirin, shuffled = prior.log_likelihood(["CC(=O)Oc1ccccc1C(=O)O", "CC(OOOc1ccccc1C=C)=O"])
    assert aspirin > shuffled + 5  # nats
