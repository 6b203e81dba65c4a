"""Outcomes of molecules: which molecules are the same, and their probability (Eq. 9).

In a batch of 64 SMILES nearly all molecules differ: their shares are all 1/64, and scaling does
nothing.  So an outcome may be a scaffold, or the share another estimate (docs/molecules.md):

    group        n_o / G                                         among the molecules of this batch
    replay       importance-weighted shares                      among those of the last batches
    likelihood   P(SMILES), at least e^-40                       smiles only
    kernel       mean Tanimoto similarity                        to the molecules of this batch

An outcome of one's own is a function of canonical SMILES: what they are, or None for no outcome,
whose reward stays as it is.

Unlike the estimators of core, these are also asked for molecules that were not drawn just now (the
memory): one that is not among those counted has been seen once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ipsrl.core.estimators import (
    GroupFrequency,
    Kernel,
    Likelihood,
    Replay,
    check_stateless,
)
from ipsrl.core.group import Group
from ipsrl.core.outcomes import outcome_ids
from ipsrl.core.probability import (
    importance_weights,
    likelihood,
    mean_similarity,
    weighted_frequency,
)
from ipsrl.errors import RunError, words
from ipsrl.functions import call, load_function, name_of, one_each
from ipsrl.molecules.config import Config
from ipsrl.molecules.molecule import generic_scaffold, scaffold, similarities


def _keys(config: Config) -> Callable[[list[str]], Sequence[Hashable | None]]:
    match config.outcome:
        case "smiles" | "similarity":
            return lambda smiles: smiles
        case "scaffold":
            stereo = config.scaffold_stereo
            return lambda smiles: [scaffold(text, stereo=stereo) for text in smiles]
        case "generic-scaffold":
            return lambda smiles: [generic_scaffold(text) for text in smiles]
    return load_function(config.outcome)


class Drawn(NamedTuple):
    """A batch as the policy drew it, whatever became of it.

    Attributes:
      outcomes_G: ids; `NO_OUTCOME` for what is not a molecule.
      ids_GT: tokens.
      log_p_G: log-likelihoods when they were drawn.
    """

    outcomes_G: np.ndarray
    ids_GT: torch.Tensor
    log_p_G: np.ndarray


class OutcomeProbability:
    """p^(outcome) of molecules, from the batches shown to it.

    Args:
      config: outcome, estimator and history.
      log_likelihood: of tokens [N, T] under the agent as it is now.
    Raises:
      InvalidInput: if the outcome names no function.
      RunError: if the function cannot answer.
    """

    def __init__(
        self, config: Config, log_likelihood: Callable[[torch.Tensor], np.ndarray]
    ) -> None:
        self.outcome, self.estimator = config.outcome, config.estimates()
        self.keys = _keys(config)
        self.remembered = self.estimator.batches if isinstance(self.estimator, Replay) else 1
        self.log_likelihood = log_likelihood
        self.batches: list[Drawn] = []
        self.molecules: list[str] = []
        self.earlier: Counter[int] | None = Counter() if config.looks_at("visits") else None
        self.ids(["CCO"])  # a function that cannot answer is found out before the oracle is asked

    def ids(self, smiles: Sequence[str | None]) -> np.ndarray:
        """Outcome ids of canonical SMILES [N]; None has none.

        Raises:
          RunError: if the function that names outcomes fails.
        """
        molecules = [text for text in smiles if text is not None]
        try:
            keys = call(self.keys, molecules) if molecules else []
            keys = one_each(keys, name_of(self.keys), "outcomes", len(molecules), "molecules")
        except Exception as error:
            raise RunError(
                f"the outcome {self.outcome!r} could not be named ({words(error)}). Correct the "
                "function: it takes a list of SMILES, and returns a string or integer for each."
            ) from error
        told = iter(keys)
        return outcome_ids(None if text is None else next(told) for text in smiles)

    def show(
        self,
        smiles: Sequence[str | None],
        ids_GT: torch.Tensor,
        log_p_G: np.ndarray,
        success_G: np.ndarray | None = None,
    ) -> None:
        """Count a batch that the agent has drawn: all of it, or what is right."""
        if success_G is not None:
            smiles = [
                text if right else None for text, right in zip(smiles, success_G, strict=True)
            ]
        self.molecules = [text for text in smiles if text is not None]
        if self.earlier is not None and self.batches:
            self.earlier.update(self.batches[-1].outcomes_G.tolist())
        self.batches.append(Drawn(self.ids(smiles), ids_GT, log_p_G))
        del self.batches[: -self.remembered]

    def visits(self, ids_N: np.ndarray) -> np.ndarray:
        """How often each outcome was drawn before the last batch [N]."""
        earlier = self.earlier or {}
        return np.array([earlier.get(outcome, 0) for outcome in ids_N.tolist()])

    def similarities(self, smiles: Sequence[str | None]) -> np.ndarray:
        """Tanimoto similarity of each to each [N, N]; None is similar to itself only."""
        named = [i for i, text in enumerate(smiles) if text is not None]
        molecules = [smiles[i] or "" for i in named]
        whole = np.eye(len(smiles))
        if named:
            whole[np.ix_(named, named)] = similarities(molecules, molecules)
        return whole

    def __call__(
        self, smiles: Sequence[str], ids_NT: torch.Tensor, success_N: np.ndarray | None = None
    ) -> np.ndarray:
        """p^ in (0, 1] of molecules [N], written as the tokens `ids_NT`; some may be wrong."""
        if not smiles:
            return np.zeros(0)
        match self.estimator:
            case Likelihood():
                return likelihood(np.minimum(self.log_likelihood(ids_NT).astype(float), 0.0))
            case Kernel():
                similarity = similarities(smiles, self.molecules)
                return mean_similarity(similarity, len(self.batches[-1].log_p_G), least=1.0)
            case GroupFrequency() | Replay():
                others = np.concatenate([batch.outcomes_G for batch in self.batches])
                weights = np.concatenate([self._weights(batch) for batch in self.batches])
                return weighted_frequency(self.ids(smiles), others, weights, least=1.0)
        # Any other: of these molecules alone, and of what they are like.
        group = Group(ids=self.ids(smiles), success=success_N)
        if "log_pf" in self.estimator.needs:
            group = group._replace(log_pf=np.minimum(self.log_likelihood(ids_NT), 0.0))
        if "similarity" in self.estimator.needs:
            group = group._replace(similarity=similarities(smiles, smiles))
        return self.estimator(group, check_stateless(self.estimator, group))[0]

    def _weights(self, batch: Drawn) -> np.ndarray:
        if batch is self.batches[-1]:
            return np.ones(len(batch.log_p_G))
        clip = self.estimator.clip if isinstance(self.estimator, Replay) else Replay.clip
        return importance_weights(self.log_likelihood(batch.ids_GT), batch.log_p_G, clip=clip)
