"""Reward functions of the user, called as TRL calls them, with checks of their results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import torch

from ipsrl.errors import InvalidInput
from ipsrl.functions import call, calling, is_coroutine, name_of, number, one_each


def checked(reward_fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same reward function; ending the process, or returning no rewards, is an error.

    TRL takes the keys of a dict for rewards, and waits for ever for a coroutine that calls
    `sys.exit`.

    Args:
      reward_fn: TRL's kind of reward function, a coroutine or not.
    Returns:
      a function of the same name, with the same rewards: a number for each completion; NaN or
      None for none.  It raises InvalidInput for anything else.
    """
    name = name_of(reward_fn)
    return _taking(reward_fn, lambda returned, count: _numbers(returned, name, count))


def recorded(outcome_fn: Callable[..., Any], keys: list[Hashable | None]) -> Callable[..., Any]:
    """The outcome function as a reward function that returns None, and fills `keys`.

    Raises:
      InvalidInput: as `checked`, for what are not outcome keys.
    """

    def take(returned: Any, count: int) -> list[None]:
        keys[:] = keys_of(returned, outcome_fn, count)
        return [None] * count

    return _taking(outcome_fn, take)


def keys_of(returned: Any, outcome_fn: Callable[..., Any], count: int) -> list[Hashable | None]:
    """One outcome key for each completion, also from an array or a tensor."""
    return one_each(returned, name_of(outcome_fn), "outcomes", count, "completions")


def _taking(
    function: Callable[..., Any], take: Callable[[Any, int], list[Any]]
) -> Callable[..., Any]:
    """The function or coroutine, whose result, with the number of items, is passed to `take`."""
    name = name_of(function)

    def now(*args: Any, **columns: Any) -> list[Any]:
        return take(call(function, *args, **columns), len(columns["completions"]))

    async def later(*args: Any, **columns: Any) -> list[Any]:
        with calling(name):
            returned = await function(*args, **columns)
        return take(returned, len(columns["completions"]))

    wrapper = functools.update_wrapper(later if is_coroutine(function) else now, function)
    wrapper.__name__ = name  # TRL's column; a partial has no name
    return wrapper


def checked_all(reward_funcs: Any) -> Any:
    """The `reward_funcs` of TRL with its functions `checked`; reward models stay as they were."""
    if isinstance(reward_funcs, list):
        return [checked_all(each) for each in reward_funcs]
    is_function = callable(reward_funcs) and not isinstance(reward_funcs, torch.nn.Module)
    return checked(reward_funcs) if is_function else reward_funcs


def _numbers(returned: Any, name: str, count: int) -> list[float | None]:
    rewards = one_each(returned, name, "rewards", count, "completions")
    for row, reward in enumerate(rewards):
        try:
            rewards[row] = None if reward is None else number(reward)
        except InvalidInput:
            raise InvalidInput(
                f"{name} returned {reward!r:.80} for completion {row} of {count}, which is not a "
                "number. Return numbers, or None for what cannot be scored."
            ) from None
    return rewards
