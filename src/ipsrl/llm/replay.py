"""p^(outcome) from earlier visits of the same prompt, for prompts with more outcomes than G."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load, save
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ipsrl.core.outcomes import outcome_ids
from ipsrl.core.probability import importance_weights, weighted_frequency
from ipsrl.errors import InvalidInput

Tokens = tuple[int, ...]


class _Visit(NamedTuple):
    """One group of a prompt; without log-probabilities no completions are kept."""

    ids: np.ndarray  # [G]
    log_then: np.ndarray  # [G], under the policy that drew them
    completions: tuple[Tokens, ...]  # G


class PromptHistory(TrainerCallback, ExportableState):
    """Weighted outcome counts of every prompt over its last visits, the present one included.

        p^(o) = sum_j w_j 1[o_j = o] / sum_j w_j,   w_j = decay^age min(pi_now / pi_then, clip)

    One group bounds p^ from below by 1/G; here `batches` groups do.  It helps a prompt from its
    second visit on.  `ipsrl.Replay` is the same estimate where trajectories are arrays.  As a
    callback it is saved and restored with the trainer's checkpoints.

    Args:
      batches: how many visits are remembered, one group each.
      decay: weight of a visit relative to the next newer one, in (0, 1].
      log_probs: weigh stored completions by importance, which costs the forward pass of
        (batches - 1) G of them at each visit (equal ones once).  Without, the estimate lags
        behind a policy that changes within these visits; a smaller decay forgets sooner.
      clip: upper bound of pi_now / pi_then.
    Raises:
      InvalidInput: for settings out of range.
    """

    def __init__(
        self, batches: int = 8, decay: float = 1.0, log_probs: bool = True, clip: float = 10.0
    ) -> None:
        if not (batches >= 1 and 0 < decay <= 1 and clip > 0):
            raise InvalidInput(
                f"PromptHistory got batches={batches}, decay={decay} and clip={clip}. It remembers "
                "at least one group, decays by a factor in (0, 1], and clips at a positive number."
            )
        self.batches, self.decay, self.log_probs, self.clip = batches, decay, log_probs, clip
        self._history: dict[int, list[_Visit]] = {}

    def estimate(
        self,
        prompts_P: np.ndarray,
        ids_PG: np.ndarray,
        completions_PG: Sequence[Sequence[Tokens]] = (),
        log_probs: Callable[[list[tuple[int, Tokens]]], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Store one visit of each prompt, and estimate p(outcome) of its samples.

        Args:
          prompts_P: an integer per prompt, from `prompt_ids`; equal ones share their history.
          ids_PG: outcome ids of their groups.
          completions_PG: token ids of the completions; needed with log_probs only.
          log_probs: log-probability under the current policy of (p, completion) pairs, where p is
            the position of the prompt in `prompts_P`; None weighs by age only.
        Returns:
          p^ in (0, 1] [P, G]; 1 for samples without an outcome.
        """
        if log_probs is None:
            completions_PG = [()] * len(ids_PG)
        present = [
            _Visit(ids, np.zeros(len(ids)), tuple(texts))
            for ids, texts in zip(ids_PG, completions_PG, strict=True)
        ]
        now: dict[tuple[int, Tokens], float] = {}
        if log_probs is not None:
            place = {prompt: p for p, prompt in reversed(list(enumerate(prompts_P.tolist())))}
            pairs = {
                (prompt, text): (place[prompt], text)
                for prompt, visit in zip(prompts_P.tolist(), present, strict=True)
                for stored in (*self._history.get(prompt, []), visit)
                for text in stored.completions
            }
            now = dict(zip(pairs, log_probs(list(pairs.values())).tolist(), strict=True))

        p_PG = np.ones(ids_PG.shape)
        for p_G, prompt, visit in zip(p_PG, prompts_P.tolist(), present, strict=True):
            visit = visit._replace(log_then=self._log_now(prompt, visit, now))
            visits = [*self._history.get(prompt, []), visit][-self.batches :]
            self._history[prompt] = visits
            weights = [
                self.decay**age
                * importance_weights(
                    self._log_now(prompt, stored, now), stored.log_then, clip=self.clip
                )
                for age, stored in enumerate(reversed(visits))
            ]
            ids = np.concatenate([stored.ids for stored in reversed(visits)])
            p_G[:] = weighted_frequency(visit.ids, ids, np.concatenate(weights))
        return p_PG

    @staticmethod
    def _log_now(prompt: int, visit: _Visit, now: dict[tuple[int, Tokens], float]) -> np.ndarray:
        """Of a visit's completions [G]; as they were, where nothing is known."""
        if not now:
            return visit.log_then
        return np.array([now[prompt, text] for text in visit.completions])

    # --- checkpoints ----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the trainer writes to trainer_state.json, last of all files of a checkpoint."""
        names = ("batches", "decay", "log_probs", "clip")
        return {
            "args": {name: getattr(self, name) for name in names},
            "attributes": {"packed": self.packed},
        }

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the history of the checkpoint that training goes on from, if there is one."""
        # A checkpoint that was written without a history has no entry, which saving would miss.
        saved = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.packed = saved["attributes"]["packed"]

    @property
    def packed(self) -> str:
        """The history as text: compressed safetensors in base64."""
        rows = [(prompt, visit) for prompt, visits in self._history.items() for visit in visits]
        texts = [text for _, visit in rows for text in visit.completions]
        arrays = {
            "prompt": np.array([prompt for prompt, _ in rows], np.int64),
            "size": np.array([len(visit.ids) for _, visit in rows], np.int64),
            "kept": np.array([len(visit.completions) for _, visit in rows], np.int64),
            "ids": _joined([visit.ids for _, visit in rows], np.int64),
            "log_then": _joined([visit.log_then for _, visit in rows], np.float64),
            "length": np.array([len(text) for text in texts], np.int64),
            "tokens": _joined(texts, np.int32),
        }
        return base64.b64encode(zlib.compress(save(arrays))).decode()

    @packed.setter
    def packed(self, text: str) -> None:
        arrays = load(zlib.decompress(base64.b64decode(text)))
        tokens = _split(arrays["tokens"], arrays["length"])
        completions = [tuple(map(int, text)) for text in tokens]
        self._history = {}
        first = 0
        for prompt, ids, log_then, kept in zip(
            arrays["prompt"].tolist(),
            _split(arrays["ids"], arrays["size"]),
            _split(arrays["log_then"], arrays["size"]),
            arrays["kept"].tolist(),
            strict=True,
        ):
            visit = _Visit(ids, log_then, tuple(completions[first : first + kept]))
            self._history.setdefault(prompt, []).append(visit)
            first += kept


def prompt_ids(prompts: list[Any]) -> np.ndarray:
    """63-bit integers that are equal for equal prompts, in every process and run.

    Raises:
      InvalidInput: for a prompt that is neither text nor messages of text.
    """
    try:
        return outcome_ids([json.dumps(prompt, sort_keys=True) for prompt in prompts])
    except TypeError as error:
        raise InvalidInput(
            f"estimator='replay' keeps a history per prompt, but a prompt is not plain text "
            f"({error}). Use estimator='group' for prompts with images."
        ) from None


def one_prompt(prompts_PG: np.ndarray) -> np.ndarray:
    """The prompt of each group, which all of its members share."""
    if (prompts_PG != prompts_PG[:, :1]).any():
        raise InvalidInput(
            "a group mixes prompts, so groups are not where TRL's sampler puts them. Use the "
            "trainer's own sampler, which repeats each prompt num_generations times, and that "
            "num_generations everywhere."
        )
    return prompts_PG[:, 0]


def _joined(parts: Sequence[Any], dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype) for part in [(), *parts]])


def _split(flat: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(sizes)[:-1]) if len(sizes) else []
