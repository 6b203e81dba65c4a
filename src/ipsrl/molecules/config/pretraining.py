"""Configuration of `molecules pretrain`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from ipsrl.config import StrictConfig, is_default
from ipsrl.paths import File, Shipped

Device = Literal["auto", "cpu", "cuda"]


class PretrainConfig(StrictConfig):
    """Teach a chemical language model a corpus by maximum likelihood; section 5.3's generator.

    The size is the shipped prior's; the paper's is --hidden 256 --layers 12.  A prior becomes one
    of few molecules (transfer learning) with, say, --from zinc --lr 1e-4 --warm-up 10 --held-out 20
    --epochs 10.
    """

    prior: Annotated[str, Shipped("molecules/priors"), tyro.conf.arg(aliases=["--from"])] = ""
    """Where the weights start: a shipped prior, or a folder; new ones if not given."""
    smiles: Annotated[File, Field(min_length=1)]
    """File of one SMILES a line (further columns are ignored), or such a file gzipped."""
    hidden: Annotated[int, Field(ge=8, le=4096)] = 128
    """Width of the Mamba."""
    layers: Annotated[int, Field(ge=1, le=128)] = 8
    """Blocks of the Mamba."""
    epochs: Annotated[int, Field(ge=1)] = 3
    """Passes over the corpus, each with a fresh random SMILES of every molecule."""
    randomise: bool = True
    """False keeps the SMILES of the file."""
    batch: Annotated[int, Field(ge=1)] = 64
    """SMILES per update."""
    micro_batch: Annotated[int, Field(ge=1)] = 16
    """SMILES per backward pass: memory depends on it, and the result only by rounding."""
    lr: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Peak of the learning rate (Adam), which falls to 0 along a cosine."""
    warm_up: Annotated[int, Field(ge=1)] = 500
    """Updates until the peak."""
    held_out: Annotated[int, Field(ge=1)] = 1000
    """Molecules to validate on, never trained on."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    """Updates between two checkpoints."""
    device: Device = "auto"
    """Where the model is trained: on a GPU, cuda, where PyTorch finds one, or on the processor."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the weights, the split, the order and the random SMILES."""

    @model_validator(mode="after")
    def _fits(self) -> PretrainConfig:
        for key in ("hidden", "layers"):
            if self.prior and not is_default(self, key):
                raise ValueError(f"{key} is that of the prior to start from. Leave it out")
        if self.micro_batch > self.batch:
            raise ValueError(
                f"micro_batch = {self.micro_batch} is more than batch = {self.batch}. "
                "Use at most the batch"
            )
        return self
