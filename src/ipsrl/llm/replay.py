"""p^(outcome) from earlier visits of the same prompt, if there are more outcomes than G."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipsrl.core.arrays import is_count
from ipsrl.core.outcomes import outcome_ids
from ipsrl.core.probability import importance_weights, weighted_frequency
from ipsrl.errors import InvalidInput
from ipsrl.llm.visits import Tokens, Visit, packed, read_visits, unpacked, write_visits

FILE = "prompt_history.safetensors"


class PromptHistory:
    """Weighted outcome counts of every prompt over its last visits, including the present one.

        p^(o) = sum_j w_j 1[o_j = o] / sum_j w_j,   w_j = decay^age min(pi_now / pi_then, clip)

    One group bounds p^ from below by 1/G; here those of `batches` visits do.  All groups of a
    prompt in one generation are one visit.  It helps a prompt from its second visit on.
    `ipsrl.Replay` is the same estimate where trajectories are arrays.

    Args:
      batches: how many visits are remembered.
      decay: weight of a visit relative to the next newer one, in (0, 1].
      log_probs: weigh stored completions by importance, which costs the forward pass of
        (batches - 1) G of them at each visit (equal ones once).  Without, the estimate lags
        behind a policy that changes within these visits; a smaller decay forgets sooner.
      clip: upper bound of pi_now / pi_then.
      columns: names of columns of the data set that, beside the prompt, tell histories apart:
        where the same text comes with different images or targets.
    Raises:
      InvalidInput: for settings out of range.
    """

    def __init__(
        self,
        batches: int = 8,
        decay: float = 1.0,
        log_probs: bool = True,
        clip: float = 10.0,
        columns: Sequence[str] = (),
    ) -> None:
        if not (is_count(batches) and 0 < decay <= 1 and clip > 0):
            raise InvalidInput(
                f"PromptHistory got batches={batches}, decay={decay} and clip={clip}. It remembers "
                "one visit or more, decays by a factor in (0, 1], and clips at a positive number."
            )
        if isinstance(columns, str):
            raise InvalidInput(
                f"PromptHistory got columns={columns!r}, whose characters would be names of "
                f"columns. Pass a tuple of names, such as ({columns!r},)."
            )
        self.batches, self.decay, self.log_probs, self.clip = batches, decay, log_probs, clip
        self.columns = tuple(columns)
        self._visits: dict[int, list[Visit]] = {}

    def estimate(
        self,
        prompts_P: np.ndarray,
        ids_PG: np.ndarray,
        completions_PG: Sequence[Sequence[Tokens]] = (),
        log_probs: Callable[[list[tuple[int, Tokens]]], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Store a visit of each prompt, and estimate p(outcome) of its samples.

        Args:
          prompts_P: the prompt of each group as an integer, from `prompt_ids`.
          ids_PG: outcome ids of their groups.
          completions_PG: token ids of the completions; needed with log_probs only.
          log_probs: log-probability under the current policy of (p, completion) pairs, where p is
            the position of the prompt in `prompts_P`; None weighs by age only.
        Returns:
          p^ in (0, 1] [P, G]; 1 for samples without an outcome.
        """
        groups: dict[int, list[int]] = {}  # of each prompt, which one policy drew at one time
        for p, prompt in enumerate(prompts_P.tolist()):
            groups.setdefault(prompt, []).append(p)
        visits_of: dict[int, list[Visit]] = {}
        for prompt, rows in groups.items():
            visit = Visit(np.array(ids_PG[rows], np.int64).reshape(-1))
            if log_probs is not None:
                texts = (packed(text) for p in rows for text in completions_PG[p])
                visit = visit._replace(texts=tuple(texts))
            visits_of[prompt] = [*self._visits.get(prompt, ()), visit][-self.batches :]
        now: dict[tuple[int, bytes], float] = {}
        if log_probs is not None:
            distinct = dict.fromkeys(
                (prompt, text)
                for prompt, visits in visits_of.items()
                for visit in visits
                for text in visit.texts
            )
            pairs: list[tuple[int, Tokens]] = [
                (groups[prompt][0], unpacked(text)) for prompt, text in distinct
            ]
            now = dict(zip(distinct, log_probs(pairs).tolist(), strict=True))

        p_PG = np.ones(ids_PG.shape)
        for prompt, visits in visits_of.items():
            if now:
                visits[-1] = visits[-1]._replace(log_then=_log_now(prompt, visits[-1], now))
            self._visits[prompt] = visits
            weights = [
                self.decay**age * self._ratios(prompt, stored, now)
                for age, stored in enumerate(reversed(visits))
            ]
            ids = np.concatenate([stored.ids for stored in reversed(visits)])
            p = weighted_frequency(visits[-1].ids, ids, np.concatenate(weights))
            p_PG[groups[prompt]] = p.reshape(-1, ids_PG.shape[1])
        return p_PG

    def _ratios(self, prompt: int, visit: Visit, now: Mapping[tuple[int, bytes], float]) -> Any:
        """min(pi_now / pi_then, clip) of a visit [G]; 1 for unknown values."""
        if not (now and visit.texts):
            return np.ones(len(visit.ids))
        return importance_weights(_log_now(prompt, visit, now), visit.log_then, clip=self.clip)

    def save(self, checkpoint: Path) -> None:
        """Write the history to a file of its own, as a whole or not at all.

        Args:
          checkpoint: folder of the trainer's checkpoint.
        """
        write_visits(checkpoint / FILE, self._visits)

    def load(self, checkpoint: Path) -> bool:
        """Replace this history by that of a checkpoint.

        Args:
          checkpoint: folder of the trainer's checkpoint.
        Returns:
          whether it has one; without, the history is empty.
        Raises:
          RunError: if its file is damaged, or another one.
        """
        path = checkpoint / FILE
        found = path.exists()
        self._visits = read_visits(path) if found else {}
        return found


def _log_now(prompt: int, visit: Visit, now: Mapping[tuple[int, bytes], float]) -> np.ndarray:
    """Log-probabilities of a visit's completions under the current policy [G]."""
    return np.array([now[prompt, text] for text in visit.texts])


def prompt_ids(
    prompts: Sequence[Any], rows: Sequence[Mapping[str, Any]] = (), columns: Sequence[str] = ()
) -> np.ndarray:
    """63-bit integers that are equal for equal prompts, in every process and run.

    Args:
      prompts: texts or lists of messages [N].
      rows: of the data set [N]; needed with columns only.
      columns: names of columns whose values count too; images within prompts then do not.
    Returns:
      int64 [N].
    Raises:
      InvalidInput: for a prompt that is neither text nor messages of text, unless columns tell
        prompts apart; for a column that does not exist, or whose values are not text or numbers.
    """
    if columns:
        return outcome_ids([_key(*pair, columns) for pair in zip(prompts, rows, strict=True)])
    try:
        return outcome_ids([json.dumps(prompt, sort_keys=True) for prompt in prompts])
    except TypeError as error:
        raise InvalidInput(
            f"estimator='replay' keeps a history per prompt, but a prompt is not plain text "
            f"({error}). For prompts with images, name columns that tell these apart, such as "
            "PromptHistory(log_probs=False, columns=('image_id',)), or use estimator='group'."
        ) from None


def _key(prompt: Any, row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    """The text of a prompt, without its images, and the values of columns."""
    parts = [json.dumps(prompt, sort_keys=True, default=lambda _: None)]
    for name in columns:
        if name not in row:
            raise InvalidInput(
                f"PromptHistory is to tell prompts apart by the column {name!r}, which the data "
                f"set does not have. It has: {', '.join(row)}."
            )
        try:
            parts.append(json.dumps(row[name], sort_keys=True))
        except TypeError as error:
            raise InvalidInput(
                f"PromptHistory cannot tell prompts apart by the column {name!r} ({error}). Name "
                "a column of texts, numbers or lists of them, such as the name of an image."
            ) from None
    return tuple(parts)


def one_prompt(prompts_PG: np.ndarray) -> np.ndarray:
    """The prompt of each group, which all of its members share."""
    if (prompts_PG != prompts_PG[:, :1]).any():
        raise InvalidInput(
            "a group mixes prompts, so groups are not where TRL's sampler puts them. Use the "
            "trainer's own sampler, which repeats each prompt num_generations times, and that "
            "num_generations everywhere."
        )
    return prompts_PG[:, 0]
