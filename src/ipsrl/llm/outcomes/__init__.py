"""Outcome functions by name, which say what a completion means.

    IPSGRPOTrainer(..., outcome_fn="math")
    ipsrl diagnose runs/llm-... --outcome math

Each says in its docstring which answers are equal, and which text has none.  What a model wrote is
read and never run, in bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ipsrl.errors import InvalidInput, nearest
from ipsrl.functions import load_function
from ipsrl.llm.outcomes.answer import last_message
from ipsrl.llm.outcomes.code import python
from ipsrl.llm.outcomes.embeddings import clusters, similarity
from ipsrl.llm.outcomes.mathematics import mathematics
from ipsrl.llm.outcomes.molecule import smiles
from ipsrl.llm.outcomes.plain import choice, items, json_value, number, plain_text

__all__ = ["OUTCOMES", "clusters", "load_outcome", "named", "outcome", "similarity"]

OUTCOMES: dict[str, Callable[[str], Hashable | None]] = {
    "math": mathematics,
    "number": number,
    "choice": choice,
    "json": json_value,
    "set": items,
    "python": python,
    "smiles": smiles,
    "text": plain_text,
}
"""The outcome key of a text, by name; None for a text that has none."""


def outcome(name: str) -> Callable[..., list[Hashable | None]]:
    """The outcome function of this name, for trainers, `CollapseMonitor` and `ips_reward`.

    Args:
      name: one of `OUTCOMES`.
    Returns:
      outcome_fn(completions, **columns): a key for each; of messages it reads the last one of the
      assistant.
    Raises:
      InvalidInput: for another name.
      MissingExtra: if the library that it reads with is not installed.
    """
    if name not in OUTCOMES:
        raise InvalidInput(
            f"{name!r} is not an outcome{nearest(name, OUTCOMES)}. Use "
            f"{', '.join(OUTCOMES)}, or write a function: module:function, path/to/file.py:function"
        )
    key = OUTCOMES[name]
    key("")  # imports what it needs, before any training

    def outcome_fn(completions: list[Any], **_: Any) -> list[Hashable | None]:
        return [key(last_message(completion)) for completion in completions]

    outcome_fn.__name__ = f"outcome_{name}"
    return outcome_fn


def named(outcome_fn: Any) -> Any:
    """The outcome function for a name of `OUTCOMES`; any other value as it is."""
    known = isinstance(outcome_fn, str) and outcome_fn in OUTCOMES
    return outcome(outcome_fn) if known else outcome_fn


def load_outcome(spec: str) -> Callable[..., Any]:
    """The outcome function for a name of `OUTCOMES`, or else for "module:function".

    Raises:
      InvalidInput: as `outcome`, and as `load_function`.
    """
    return load_function(spec) if ":" in spec else outcome(spec)
