"""IPS as a reward function, for scripts that cannot change the trainer."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather

from ipsrl.core.group import Group
from ipsrl.core.methods import IPS
from ipsrl.core.outcomes import NO_OUTCOME, outcome_ids
from ipsrl.errors import InvalidInput
from ipsrl.functions import call, is_coroutine
from ipsrl.llm.given import OutcomeFn, as_outcome_fn
from ipsrl.llm.outcomes import OUTCOMES
from ipsrl.llm.replay import one_prompt, prompt_ids
from ipsrl.llm.rewards import checked, keys_of

logger = logging.getLogger("ipsrl.llm")


def ips_reward(
    reward_fn: Callable[..., Sequence[float | None]],
    outcome_fn: OutcomeFn | str,
    num_generations: int,
    *,
    eps: float = 0.0,
    alpha: float = 1.0,
) -> Callable[..., list[float | None]]:
    """Make a reward function that scales another, for scripts that cannot change the trainer.

    The second choice: it scales in evaluation too, where TRL calls it alike; each of several reward
    functions would need its own; TRL's metrics are of scaled rewards; and it knows nothing of
    `success`, so a reward for wrong answers keeps them in proportion too.

    Args:
      reward_fn: TRL's kind of reward function; not a coroutine.
      outcome_fn: as for `IPSMixin`, but not the name of a column.
      num_generations: G of the trainer's configuration; an evaluation must use the same.
      eps: lower clip of p^.
      alpha: exponent.
    Returns:
      a reward function with the name of `reward_fn`.
    Raises:
      InvalidInput: for coroutines, or a num_generations that is not a positive integer.  When
        called: for rewards that are not one per completion, or a batch of broken groups, and in the
        first step for rewards that are negative or infinite; later negative ones stay unscaled.
    """
    outcome_fn = as_outcome_fn(outcome_fn)
    scaling = IPS(eps=eps, alpha=alpha)
    if isinstance(outcome_fn, str):
        raise InvalidInput(
            f"outcome_fn is {outcome_fn!r}, but a reward function cannot read what another one "
            f"logs. Pass a function, one of {', '.join(OUTCOMES)}, or use IPSGRPOTrainer, which "
            "takes the name of a column."
        )
    if not isinstance(num_generations, int) or num_generations < 1:
        raise InvalidInput(
            f"num_generations is {num_generations!r}. Pass the trainer's, a positive integer."
        )
    for what, function in (("reward_fn", reward_fn), ("outcome_fn", outcome_fn)):
        if is_coroutine(function):
            raise InvalidInput(
                f"{what} is a coroutine, which ips_reward cannot wrap: processes must gather their "
                "outcomes in step. Use IPSGRPOTrainer, which takes coroutines."
            )

    rewards_of = checked(reward_fn)
    said = False

    def refuse(step: int) -> None:
        """Raise an error in the first step; later warn once, so that a run of days does not end."""
        nonlocal said
        problem = (
            "reward_fn returned a reward that is negative, whose scaling would push rare outcomes "
            "away, or infinite."
        )
        if step == 0:
            raise InvalidInput(
                f"{problem} Shift the rewards to be >= 0, return None for what cannot be scored, "
                "or use IPSGRPOTrainer, which can leave such completions unscaled."
            )
        if not said:
            logger.warning(f"{problem} Negative ones are left unscaled, infinite ones left out.")
        said = True

    @functools.wraps(rewards_of)
    def scaled(*, prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> Any:
        batch = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}
        rewards = rewards_of(**batch, **columns)
        keys = keys_of(call(outcome_fn, **batch, **columns), outcome_fn, len(prompts))
        ids = outcome_ids(keys)
        rewards = [None if reward is None or math.isnan(reward) else reward for reward in rewards]
        if any(reward is not None and not 0 <= reward < math.inf for reward in rewards):
            refuse(getattr(columns.get("trainer_state"), "global_step", 0))
            rewards = [None if reward in (math.inf, -math.inf) else reward for reward in rewards]
            negative = [reward is not None and reward < 0 for reward in rewards]
            ids = np.where(negative, NO_OUTCOME, ids)
        state = PartialState()
        both = torch.as_tensor(np.stack([ids, prompt_ids(prompts)], axis=1), device=state.device)
        ids_N, prompts_N = gather(both).cpu().numpy().T  # pyright: ignore[reportAttributeAccessIssue]
        if len(ids_N) % num_generations:
            raise InvalidInput(
                f"{len(ids_N)} completions are not whole groups of {num_generations}. Pass the "
                "trainer's num_generations."
            )
        one_prompt(prompts_N.reshape(-1, num_generations))
        ids_PG = ids_N.reshape(-1, num_generations)
        weights_N = scaling.weights(Group(np.ones(ids_PG.shape), ids_PG)).reshape(-1)
        mine = weights_N[state.process_index * len(prompts) :][: len(prompts)].tolist()
        return [None if r is None else r * w for r, w in zip(rewards, mine, strict=True)]

    return scaled
