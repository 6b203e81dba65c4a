"""Counts of every outcome of every prompt over the whole training."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ipsrl.core.outcomes import NO_OUTCOME
from ipsrl.llm.kept import check_rows, reading
from ipsrl.runs import write_whole

FILE = "drawn_outcomes.safetensors"


class DrawnOutcomes:
    """N(o) of every prompt, from which a bonus for rare outcomes is computed."""

    def __init__(self) -> None:
        self._counts: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def visits(self, prompts_P: np.ndarray, ids_PG: np.ndarray) -> np.ndarray:
        """Return how often each outcome was drawn before, then count these groups.

        Args:
          prompts_P: an integer per prompt, from `prompt_ids`.
          ids_PG: outcome ids of their groups.
        Returns:
          N(o) >= 0 [P, G]; 0 for samples without an outcome.
        """
        counts = [self._counts[prompt] for prompt in prompts_P.tolist()]
        groups = ids_PG.tolist()
        before = [[of[o] for o in ids] for of, ids in zip(counts, groups, strict=True)]
        for of, ids in zip(counts, groups, strict=True):
            of.update(o for o in ids if o != NO_OUTCOME)
        return np.array(before)

    def save(self, checkpoint: Path) -> None:
        """Write the counts to a file of their own, as a whole or not at all."""
        rows = [
            (prompt, outcome, count)
            for prompt, counts in self._counts.items()
            for outcome, count in counts.items()
        ]
        rows_R3 = np.array(rows, np.int64).reshape(-1, 3)
        write_whole(checkpoint / FILE, save({"drawn": rows_R3}))

    def load(self, checkpoint: Path) -> bool:
        """Replace these counts by those of a checkpoint.

        Returns:
          whether it has some; without, nothing has been drawn yet.
        Raises:
          RunError: if its file is damaged, or another one.
        """
        path = checkpoint / FILE
        self._counts.clear()
        if not path.exists():
            return False
        with reading(path, "the counts of outcomes", "count anew") as arrays:
            rows_R3 = arrays["drawn"]
            check_rows(rows_R3)
        for prompt, outcome, count in rows_R3.tolist():
            self._counts[prompt][outcome] = count
        return True
