"""What a trainer with IPS is given: from names and numbers to objects, or an error that teaches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from numbers import Real
from typing import Any

from trl.trainer.rloo_config import RLOOConfig

from ipsrl.core.estimators import ESTIMATORS, Estimator, Replay
from ipsrl.core.methods import GRPO, IPS, Method, RewardMethod
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.functions import is_coroutine, name_of, one_each
from ipsrl.llm.replay import PromptHistory

OutcomeFn = Callable[..., Sequence[Hashable | None]]
"""outcome_fn(prompts, completions, completion_ids, **columns): one key per completion, or None."""

_HOOK = ["inputs", "prompts", "completions", "completion_ids_list"]


def as_method(method: Method | None, eps: object, alpha: object) -> Method:
    for name, value in (("eps", eps), ("alpha", alpha)):
        if not isinstance(value, Real):
            raise ConfigError(f"{name} is {value!r}. Pass a number.")
    if method is None:
        scaling = IPS(eps=eps, alpha=alpha)  # type: ignore[arg-type]  # it checks the range
        return scaling if alpha else GRPO()
    if not isinstance(method, Method):
        raise ConfigError(f"method is {method!r}. Pass an instance, such as ipsrl.GRPO().")
    if (eps, alpha) != (0.0, 1.0):
        raise ConfigError(
            "eps and alpha are options of IPS. Give them to the method: IPS(eps=..., alpha=...)."
        )
    usual = (GRPO.scale, GRPO.baseline, GRPO.std_eps)
    if isinstance(method, RewardMethod) and usual != (
        method.scale, method.baseline, method.std_eps
    ):  # fmt: skip
        raise ConfigError(
            "TRL computes the advantages of a method that changes rewards only, so scale, baseline "
            "and std_eps have no effect. Set TRL's scale_rewards, or use IPSRLOOTrainer."
        )
    return method


def as_estimator(estimator: object) -> Estimator | PromptHistory:
    if estimator == "replay":
        return PromptHistory()
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        estimator = ESTIMATORS[estimator]()
    if isinstance(estimator, Replay):  # a prompt's texts have lengths of their own
        return PromptHistory(estimator.batches, clip=estimator.clip)
    if isinstance(estimator, PromptHistory):
        return estimator
    if isinstance(estimator, Estimator) and not estimator.needs:
        return estimator
    known = [name for name, kind in ESTIMATORS.items() if not kind.needs]
    raise ConfigError(
        f"estimator is {estimator!r}. Use {', '.join(map(repr, known))}, 'replay' or "
        "PromptHistory(...): a trainer knows nothing but outcomes."
    )


def as_success(success: object, names: Sequence[str]) -> float | list[int] | None:
    """A threshold, or the columns of the reward functions that say what is right."""
    if success is None:
        return None
    if isinstance(success, Real) and not isinstance(success, bool):
        return float(success)
    wanted = [success] if isinstance(success, str) else success
    if not isinstance(wanted, Sequence) or not wanted or not set(wanted) <= set(names):
        raise ConfigError(
            f"success is {success!r}. Pass a number that right rewards exceed, or names of reward "
            f"functions that are positive for what is right: {', '.join(names)}."
        )
    return [list(names).index(name) for name in wanted]


def check_outcome_fn(outcome_fn: object) -> None:
    if isinstance(outcome_fn, str):
        return
    if not callable(outcome_fn) or is_coroutine(outcome_fn):
        raise InvalidInput(
            f"outcome_fn is {outcome_fn!r}. Pass a plain function of (prompts, completions, "
            "completion_ids, **columns) that returns one key per completion, or the name of a "
            "column that a reward function logs."
        )


def keys_of(returned: Any, outcome_fn: OutcomeFn | str, count: int) -> list[Hashable | None]:
    name = "the reward function" if isinstance(outcome_fn, str) else name_of(outcome_fn)
    return one_each(returned, name, "outcomes", count, "completions")


def check_host(cls: type, hook: Callable[..., Any] | None) -> None:
    """IPS hangs on one method of TRL; say so clearly when it is gone or changed."""
    if hook is None:
        raise ConfigError(
            f"{cls.__name__} has no _calculate_rewards, the place where a group of completions is "
            "whole (TRL's asynchronous GRPO computes advantages elsewhere). Derive from "
            "(IPSMixin, GRPOTrainer) or (IPSMixin, RLOOTrainer)."
        )
    found = list(inspect.signature(hook).parameters)
    if found != _HOOK:
        raise ConfigError(
            f"_calculate_rewards of {cls.__name__} takes {found}, but IPS was written for {_HOOK}. "
            "Use the TRL versions that ipsrl[llm] names."
        )


def check_config(config: Any, method: Method) -> None:
    """Refuse a GRPOConfig or RLOOConfig that would undo what the method does."""
    if isinstance(config, RLOOConfig) and config.beta and not isinstance(method, RewardMethod):
        raise ConfigError(
            f"RLOO's KL penalty (beta = {config.beta:g}) is part of its reward, and "
            f"{type(method).__name__} replaces what is made of it. Use IPSGRPOTrainer, or beta 0."
        )
    if getattr(config, "multi_objective_aggregation", None) == "normalize_then_sum":
        raise ConfigError(
            "multi_objective_aggregation='normalize_then_sum' normalises every reward column on "
            "its own, which undoes the scaling. Use 'sum_then_normalize'."
        )
    if getattr(config, "reward_clip_range", None):
        raise ConfigError(
            "reward_clip_range would cut the scaled rewards, which reach up to G. "
            "Clip in the reward function instead."
        )
