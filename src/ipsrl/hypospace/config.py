"""Configuration of post-training on HypoSpace; separate, so that --help is instant."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ipsrl.hypospace.domains import Domain, make_task
from ipsrl.llm.config import FIELDS, PostTraining

_TRL = {
    "num_generations": 16,
    "per_device_train_batch_size": 128,
    "max_steps": 100,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "constant",
    "beta": 0.01,
    "max_completion_length": 32,
}


class Config(PostTraining):
    """Post-training on HypoSpace; sections 5.2 and 5.4 of the paper.

    The defaults are ours, for the small start model; configs/hypospace/paper.toml has the paper's.
    """

    heading: ClassVar[str] = "task"

    domain: Domain
    """Domain of the questions."""
    size: Annotated[dict[str, Any], FIELDS] = {}  # noqa: RUF012 (frozen)
    """Options of the domain, such as nodes=5, depth=3; see `ipsrl hypospace dataset`."""
    sets: Annotated[int, Field(ge=2)] = 100
    """Observation sets, half to train and half to test; all if there are fewer."""
    draw: Literal["sets", "hypotheses"] = "sets"
    """Draw uniformly over sets, or over hypotheses, which makes H_O larger."""
    apart: Literal["sets", "hypotheses"] = "sets"
    """What train and test halves do not share."""
    data_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the choice of sets, of the split, and of the answers that teach a start model."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Steps of supervised training, of 8 answers to each of 4 prompts, of a pretrained model that
    does not know the task."""
    samples: Annotated[int, Field(ge=1)] = 64
    """Responses to each set that are drawn at the end to measure recovery."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Use our defaults for TRL's fields that are not given."""
        ours, given = dict(_TRL), values.get("trl", {})
        if values.get("method") == "flowrl":  # which has no KL term
            del ours["beta"]
        return {**values, "trl": ours | given} if isinstance(given, dict) else values

    @model_validator(mode="after")
    def _possible(self) -> Config:
        make_task(self.domain, self.size)
        if self.warm_up and self.model == "tiny":
            raise ValueError("warm_up has no effect on the model tiny, which is always taught")
        return self
