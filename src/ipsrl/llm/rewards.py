"""Reward functions of the user, as TRL calls them, and what they may return."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from ipsrl.errors import InvalidInput
from ipsrl.functions import call, calling, is_coroutine, name_of, number, one_each


def checked(reward_fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same reward function; that it ends the process, or returns no rewards, is an error.

    TRL takes the keys of a dict for rewards, waits for ever for a coroutine that calls
    `sys.exit`, and trains on an infinite reward.

    Args:
      reward_fn: TRL's kind of reward function, a coroutine or not.
    Returns:
      a function of the same name, with the same rewards: a number for each completion; NaN or
      None for none.  It raises InvalidInput for anything else.
    """
    name = name_of(reward_fn)

    def rewards(*args: Any, **columns: Any) -> list[float | None]:
        return _numbers(call(reward_fn, *args, **columns), name, columns)

    async def rewards_later(*args: Any, **columns: Any) -> list[float | None]:
        with calling(name):
            returned = await reward_fn(*args, **columns)
        return _numbers(returned, name, columns)

    later = is_coroutine(reward_fn)
    wrapper = functools.update_wrapper(rewards_later if later else rewards, reward_fn)
    wrapper.__name__ = name  # TRL's column; a partial has no name
    return wrapper


def checked_all(reward_funcs: Any) -> Any:
    """What TRL takes as `reward_funcs`, its functions `checked`; reward models are as they were."""
    if isinstance(reward_funcs, list):
        return [checked_all(each) for each in reward_funcs]
    is_function = callable(reward_funcs) and not isinstance(reward_funcs, torch.nn.Module)
    return checked(reward_funcs) if is_function else reward_funcs


def _numbers(returned: Any, name: str, columns: dict[str, Any]) -> list[float | None]:
    count = len(columns["completions"])
    rewards = one_each(returned, name, "rewards", count, "completions")
    for row, reward in enumerate(rewards):
        try:
            rewards[row] = None if reward is None else number(reward)
        except InvalidInput:
            pass
        else:
            if reward is None or not math.isinf(rewards[row]):
                continue
        raise InvalidInput(
            f"{name} returned {reward!r:.80} for completion {row} of {count}, which is not finite "
            "or not a number, and would take its whole group with it. Return finite numbers, or "
            "None for what cannot be scored."
        )
    return rewards
