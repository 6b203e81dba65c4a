"""Arguments of a trainer with IPS: names and numbers become objects, or an error that teaches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Sequence
from numbers import Real
from typing import Any

from trl.trainer.rloo_config import RLOOConfig

from ipsrl.core.estimators import ESTIMATORS, Estimator, Kernel, Replay
from ipsrl.core.methods import GRPO, IPS, Method, RewardMethod
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.functions import is_coroutine
from ipsrl.llm.outcomes import OUTCOMES, named
from ipsrl.llm.replay import PromptHistory

OutcomeFn = Callable[..., Sequence[Hashable | None]]
"""outcome_fn(prompts, completions, completion_ids, **columns): one key per completion, or None."""

SimilarityFn = Callable[[list[Hashable]], Any]
"""similarity_fn(keys): similarities [n, n] of n different outcome keys, in [0, 1]."""

_KNOWN = ("log_pf", "similarity")
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


def check_has_effect(
    method: Method, *, estimator: object, success: object, negative_rewards: str
) -> None:
    """Refuse an option that the method does not read."""
    for option, given, read in (
        ("estimator", estimator != "group", "p" in method.needs),
        ("success", success is not None, "success" in method.reads),
        ("negative_rewards", negative_rewards != "refuse", "p" in method.needs),
    ):
        if given and not read:
            raise ConfigError(
                f"{option} has no effect with {type(method).__name__}, which does not read it. "
                "Leave it out."
            )


def as_estimator(
    estimator: object, similarity_fn: object, method: Method
) -> Estimator | PromptHistory:
    given = estimator
    if isinstance(estimator, str) and estimator in ESTIMATORS:
        estimator = ESTIMATORS[estimator]()
    wanted = isinstance(estimator, Kernel) or "similarity" in method.needs
    if wanted and similarity_fn is None:
        raise ConfigError(
            f"{type(estimator if isinstance(estimator, Kernel) else method).__name__} needs "
            "similarity_fn, a function of outcome keys that returns their similarities [n, n]. "
            "Pass one."
        )
    if similarity_fn is not None and not wanted and "similarity" not in method.reads:
        raise ConfigError(
            f"similarity_fn has no effect with the estimator {given!r}. Leave it out, or use "
            "estimator='kernel'."
        )
    if similarity_fn is not None and (not callable(similarity_fn) or is_coroutine(similarity_fn)):
        raise ConfigError(
            f"similarity_fn is {similarity_fn!r}. Pass a function, not a coroutine, of outcome "
            "keys that returns their similarities [n, n]."
        )
    if isinstance(estimator, Replay):  # a prompt's texts have lengths of their own
        return PromptHistory(estimator.batches, clip=estimator.clip)
    if isinstance(estimator, PromptHistory):
        return estimator
    if isinstance(estimator, Estimator) and set(estimator.needs) <= set(_KNOWN):
        return estimator
    known = [name for name, kind in ESTIMATORS.items() if set(kind.needs) <= set(_KNOWN)]
    raise ConfigError(
        f"estimator is {given!r}. Use {', '.join(map(repr, known))}, 'replay' or "
        "PromptHistory(...): a "
        f"trainer knows nothing of a group but outcomes, {' and '.join(_KNOWN)}."
    )


def check_inputs(trainer: Any, estimator: Estimator | PromptHistory, method: Method) -> None:
    """Refuse log-probabilities of texts that the model has not written alone."""
    foreign = any(getattr(trainer, name, None) for name in ("tools", "rollout_func"))
    if foreign and {"log_pf", "log_ref"} & set(method.needs):
        raise ConfigError(
            f"{type(method).__name__} needs the probability of each completion, but with tools, "
            "environments or rollout_func a part of it is not written by the model. Use another "
            "method, such as IPS()."
        )
    if isinstance(estimator, PromptHistory):
        wanted, instead = estimator.log_probs, "PromptHistory(log_probs=False)"
    else:
        wanted, instead = "log_pf" in estimator.needs, "'group' or PromptHistory(log_probs=False)"
    # Methods of environments are tools; environments themselves are made later.
    if wanted and foreign:
        raise ConfigError(
            f"{type(estimator).__name__} needs the probability of each completion, but with tools, "
            "environments or rollout_func a part of it is not written by the model. Use "
            f"estimator={instead}."
        )


def as_success(success: object, names: Sequence[str]) -> float | list[int] | None:
    """A threshold, or the columns of the reward functions that decide what is right."""
    if success is None:
        return None
    if isinstance(success, Real) and not isinstance(success, bool) and math.isfinite(success):
        return float(success)
    wanted = [success] if isinstance(success, str) else success
    if not isinstance(wanted, Sequence) or not wanted or not set(wanted) <= set(names):
        raise ConfigError(
            f"success is {success!r}. Pass a number that right rewards exceed, or names of reward "
            f"functions that are positive for what is right: {', '.join(names)}."
        )
    if alike := [name for name in wanted if list(names).count(name) > 1]:
        raise ConfigError(
            f"success is {success!r}, but several reward functions are called {alike[0]!r}. Give "
            "each a name of its own."
        )
    return [list(names).index(name) for name in wanted]


def as_outcome_fn(outcome_fn: OutcomeFn | str | None) -> OutcomeFn | str:
    """A function, which may be given by its name in `OUTCOMES`, or the name of a column."""
    outcome_fn = named(outcome_fn)
    if not isinstance(outcome_fn, str) and not callable(outcome_fn):
        raise InvalidInput(
            f"outcome_fn is {outcome_fn!r}. Pass a function of (prompts, completions, "
            "completion_ids, **columns) that returns one key per completion, the name of one "
            f"({', '.join(OUTCOMES)}), or the name of a column that a reward function logs."
        )
    return outcome_fn


_WITHOUT_GROUPS = {
    "A2POTrainer": "A*-PO samples one completion per prompt and compares it with an optimal value "
    "that was estimated before, so there is no group whose outcomes could be counted",
    "OnlineDPOTrainer": "online DPO only asks which of two completions is better, so it makes no "
    "difference by how much, and there is no group whose outcomes could be counted",
    "AsyncGRPOTrainer": "asynchronous GRPO computes advantages in its rollout worker, another "
    "process, and the trainer sees neither rewards nor groups",
}


def check_host(cls: type, hook: Callable[..., Any] | None) -> None:
    """Refuse a TRL in which the method that IPS overrides is missing or has changed."""
    for base in cls.__mro__:
        if why := _WITHOUT_GROUPS.get(base.__name__):
            raise ConfigError(
                f"{cls.__name__} cannot be scaled: {why}. Train with IPSGRPOTrainer or "
                "IPSRLOOTrainer instead."
            )
    if hook is None:
        raise ConfigError(
            f"{cls.__name__} has no _calculate_rewards, so it makes no groups of completions whose "
            "rewards could be scaled. Derive from (IPSMixin, GRPOTrainer) or "
            "(IPSMixin, RLOOTrainer)."
        )
    found = list(inspect.signature(hook).parameters)
    if found != _HOOK:
        raise ConfigError(
            f"_calculate_rewards of {cls.__name__} takes {found}, but IPS was written for {_HOOK}. "
            "Use the TRL versions that ipsrl[llm] names."
        )


def check_config(config: Any, method: Method) -> None:
    """Refuse a GRPOConfig or RLOOConfig that would undo the effect of the method."""
    if isinstance(config, RLOOConfig) and config.beta and not isinstance(method, RewardMethod):
        raise ConfigError(
            f"RLOO's KL penalty (beta = {config.beta:g}) is part of its reward, and "
            f"{type(method).__name__} would replace both. Use IPSGRPOTrainer, or beta 0."
        )
    if "log_ref" in method.needs and not getattr(config, "beta", 0):
        raise ConfigError(
            f"{type(method).__name__} undoes a KL to the reference model, and with beta = 0 TRL "
            "has neither. Set beta, such as to 0.1, and the method's own beta to the same."
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
