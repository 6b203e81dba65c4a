"""IPS in TRL: change one class and name the outcome.

    trainer = IPSGRPOTrainer(model, reward_funcs=reward, outcome_fn=outcome, ...)

Everything but the reward stays as TRL computes it.  `_calculate_rewards` is the one place where a
group is whole: reward functions see the slice of their own process, and later the batch is
shuffled.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Hashable, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather, gather_object
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import pad

from ipsrl.core.check import check_groups
from ipsrl.core.outcomes import outcome_ids
from ipsrl.core.probability import group_frequency
from ipsrl.core.scaling import ips_weights
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.functions import call, is_coroutine, name_of, one_each
from ipsrl.llm.collapse import outcome_statistics
from ipsrl.llm.replay import PromptHistory, Tokens, prompt_ids
from ipsrl.llm.rewards import checked, checked_all

OutcomeFn = Callable[..., Sequence[Hashable | None]]
"""outcome_fn(prompts, completions, completion_ids, **columns): one key per completion, or None."""

logger = logging.getLogger("ipsrl.llm")

_HOOK = ["inputs", "prompts", "completions", "completion_ids_list"]


_Trainer: Any = object  # whose methods come from the class that follows in the order of bases


class IPSMixin(_Trainer):
    """Divides the rewards of a group-relative trainer by the probability of their outcomes.

        r~ = r / max(p^(outcome), eps)^alpha

    Put it in front of the trainer: `class MyTrainer(IPSMixin, GRPOTrainer)`.  All reward columns of
    a completion are multiplied by the same weight, which scales their weighted sum exactly; None
    stays None.  Evaluation is not scaled.  Logged beside TRL's metrics, whose rewards are the
    scaled ones: `raw_reward`, `raw_rewards/NAME/mean`, `ips/weight_max` and `outcomes/...`.
    Source: the paper, Eq. 9 and Algorithm 1.

    Args:
      outcome_fn: called as a reward function is, `outcome_fn(prompts=, completions=,
        completion_ids=, **columns)`; returns one key per completion: a str, int, or a tuple or
        frozenset of these; None where it has no outcome, whose reward is left alone.  Or the name
        of a column that a reward function logs with `log_extra`.
      eps: lower clip of p^, in [0, 1]; at or below 1/G it has no effect on the group frequency.
      alpha: exponent >= 0; outcomes settle in proportion to r^(1/alpha), 0 switches scaling off.
      estimator: "group", the share of the group; "replay", importance-weighted counts over the
        last visits of the prompt, for prompts with more outcomes than G; or a `PromptHistory`.
      negative_rewards: scaling a negative reward would push rare outcomes away, so it is refused.
        "keep" leaves a completion unscaled whose total reward is negative (a penalty).
    Raises:
      ConfigError: for a trainer or a configuration under which scaling would not be what it says.
      InvalidInput: in training, for outcomes or rewards that cannot be scaled.
    """

    def __init__(
        self,
        *args: Any,
        outcome_fn: OutcomeFn | str,
        eps: float = 0.0,
        alpha: float = 1.0,
        estimator: Literal["group", "replay"] | PromptHistory = "group",
        negative_rewards: Literal["refuse", "keep"] = "refuse",
        **kwargs: Any,
    ) -> None:
        _check_outcome_fn(outcome_fn)
        _check_scaling(eps, alpha)
        if estimator not in ("group", "replay") and not isinstance(estimator, PromptHistory):
            raise ConfigError(
                f"estimator is {estimator!r}. Use 'group', 'replay' or PromptHistory(...)."
            )
        if negative_rewards not in ("refuse", "keep"):
            raise ConfigError(f"negative_rewards is {negative_rewards!r}. Use 'refuse' or 'keep'.")
        _check_host(type(self), getattr(super(), "_calculate_rewards", None))
        if alpha > 0:
            check_config(kwargs.get("args", args[2] if len(args) > 2 else None))
        if "reward_funcs" in kwargs:
            kwargs["reward_funcs"] = checked_all(kwargs["reward_funcs"])
        elif len(args) > 1:
            args = (args[0], checked_all(args[1]), *args[2:])
        super().__init__(*args, **kwargs)

        self.outcome_fn = outcome_fn
        self.ips_eps, self.ips_alpha, self.negative_rewards = eps, alpha, negative_rewards
        self._history = PromptHistory() if estimator == "replay" else estimator
        if isinstance(self._history, PromptHistory):
            self.add_callback(self._history)
        self._generations = self._problems = 0

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """TRL's rewards [N, K] of all processes, times the weights of their outcomes [N]."""
        rewards_NK = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        keys = self._outcomes(inputs, prompts, completions, completion_ids_list)
        mode = "train" if self.model.training else "eval"
        # An attribute of its own in newer TRL; older TRL evaluates with the same G.
        G = self.num_generations
        if mode == "eval":
            G = getattr(self, "num_generations_eval", G)
        ids_PG = self._whole(outcome_ids(keys), G)
        if ids_PG.size != len(rewards_NK):
            raise ConfigError(
                f"{type(self).__name__} got {len(rewards_NK)} rewards for {ids_PG.size} "
                "completions of all processes: this TRL does not gather rewards in "
                "_calculate_rewards, so groups cannot be whole there. Use the TRL versions that "
                "ipsrl[llm] names."
            )
        raw_NK = rewards_NK.double().cpu().numpy()
        scored_NK = ~np.isnan(raw_NK)
        raw_NK = np.where(scored_NK, raw_NK, 0.0)
        totals_PG = (raw_NK @ self.reward_weights.double().cpu().numpy()).reshape(ids_PG.shape)
        metrics = {f"outcomes/{key}": value for key, value in outcome_statistics(ids_PG).items()}

        weights_PG = np.ones(ids_PG.shape)
        if mode == "train":
            weights_PG = self._weights(ids_PG, totals_PG, prompts, completion_ids_list)
            scored = scored_NK.any(axis=1).sum()
            metrics["raw_reward"] = totals_PG.sum() / scored if scored else np.nan
            for name, total, n in zip(
                self.reward_func_names, raw_NK.sum(axis=0), scored_NK.sum(axis=0), strict=True
            ):
                metrics[f"raw_rewards/{name}/mean"] = total / n if n else np.nan
            metrics["ips/weight_max"] = weights_PG.max()
        for name, value in metrics.items():
            self._metrics[mode][name].append(float(value))
        weights_N = torch.as_tensor(
            weights_PG.reshape(-1), dtype=rewards_NK.dtype, device=rewards_NK.device
        )
        if self.log_completions:
            start = self.accelerator.process_index * len(prompts)
            local = slice(start, start + len(prompts))
            logged = self._pending_extra_logs  # replaced: a reward function may use these names
            if self.outcome_fn != "outcome":
                logged["outcome"] = [None if key is None else str(key) for key in keys]
            logged["raw_reward"] = totals_PG.reshape(-1)[local].tolist()
            logged["ips_weight"] = weights_N[local].tolist()
        return rewards_NK * weights_N[:, None]

    def _outcomes(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids: Any
    ) -> Sequence[Hashable | None]:
        """Outcome keys of this process's completions."""
        if isinstance(self.outcome_fn, str):
            keys = self._pending_extra_logs.get(self.outcome_fn)
            if keys is None:
                raise InvalidInput(
                    f"no reward function has logged the column {self.outcome_fn!r}, which names "
                    f"the outcome. Call log_extra({self.outcome_fn!r}, values) in one, or pass a "
                    "function as outcome_fn."
                )
        else:
            columns = {
                name: [row[name] for row in inputs]
                for name in inputs[0]
                if name not in ("prompt", "completion", "completion_ids")
            }
            batch = {"prompts": prompts, "completions": completions}
            keys = call(self.outcome_fn, **batch, completion_ids=completion_ids, **columns)
        return _keys(keys, self.outcome_fn, len(prompts))

    def _whole(self, values_N: np.ndarray, G: int) -> np.ndarray:
        """Values of all processes [P, G]: groups are consecutive in the global batch."""
        values = torch.as_tensor(values_N, device=self.accelerator.device)
        return gather(values).cpu().numpy().reshape(-1, G)  # pyright: ignore[reportAttributeAccessIssue]

    def _weights(
        self, ids_PG: np.ndarray, totals_PG: np.ndarray, prompts: Any, completion_ids: Any
    ) -> np.ndarray:
        if not np.isfinite(totals_PG).all():
            raise InvalidInput(
                "a completion has an infinite reward, which would take its whole group with it. "
                "Return finite rewards, or None for what cannot be scored."
            )
        if self.negative_rewards == "refuse" and self.ips_alpha > 0 and totals_PG.min() < 0:
            raise InvalidInput(
                f"a completion has the total reward {totals_PG.min():g}. Scaling would push rare "
                "outcomes with a negative reward away the most. Shift the rewards to be >= 0, or "
                "pass negative_rewards='keep' to leave such completions unscaled."
            )
        replayed_PG = None
        if isinstance(self._history, PromptHistory):
            replayed_PG = self._replayed(ids_PG, prompts, completion_ids)
        self._generations += 1
        at_times = self._generations & (self._generations - 1) == 0  # 1, 2, 4, 8, ...
        if at_times and self.ips_alpha > 0:
            rewards_PG = totals_PG.clip(min=0)
            self._warn(check_groups(rewards_PG, ids_PG, eps=self.ips_eps, p=replayed_PG).warnings)
        p_PG = group_frequency(ids_PG) if replayed_PG is None else replayed_PG
        weights = ips_weights(p_PG, eps=self.ips_eps, alpha=self.ips_alpha)
        return np.where(totals_PG < 0, 1.0, weights)

    def _replayed(self, ids_PG: np.ndarray, prompts: Any, completion_ids: Any) -> np.ndarray:
        """p^ [P, G] from the history of each prompt, which is the same in every process."""
        # Restoring a checkpoint may have put another history in the place of ours.
        history = next(c for c in self.callback_handler.callbacks if isinstance(c, PromptHistory))
        P, G = ids_PG.shape
        prompts_P = _one_prompt(self._whole(prompt_ids(prompts), G))
        if not history.log_probs:
            return history.estimate(prompts_P, ids_PG)
        tokens = zip(self._tokenize_prompts(prompts)[0], completion_ids, strict=True)
        rows = gather_object([(tuple(prompt), tuple(text)) for prompt, text in tokens])
        completions_PG = [[text for _, text in rows[p * G : (p + 1) * G]] for p in range(P)]
        return history.estimate(
            prompts_P,
            ids_PG,
            completions_PG,
            lambda pairs: self._log_probs([(rows[p * G][0], text) for p, text in pairs]),
        )

    @torch.no_grad()
    def _log_probs(self, rows: list[tuple[Tokens, Tokens]]) -> np.ndarray:
        """log pi(completion | prompt) [R] under the current policy; processes share the work."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        share = -(-len(rows) // processes)
        mine = (rows + rows[-1:] * (share * processes - len(rows)))[rank * share :][:share]
        prompt = pad([torch.tensor(p) for p, _ in mine], padding_side="left")
        text = pad([torch.tensor(c, dtype=torch.long) for _, c in mine])
        mask = pad([torch.ones(len(c)) for _, c in mine])
        seen = pad([torch.ones(len(p), dtype=torch.long) for p, _ in mine], padding_side="left")
        device = self.accelerator.device
        self.model.eval()  # dropout would make the ratios noise, and draw random numbers
        try:
            log_probs = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([prompt, text], dim=1).to(device),
                torch.cat([seen, mask.long()], dim=1).to(device),
                text.shape[1],
                batch_size=self.args.per_device_train_batch_size,
            )[0]
        finally:
            self.model.train()
        totals = gather((log_probs * mask.to(device)).sum(dim=1).float())
        return totals[: len(rows)].double().cpu().numpy()  # pyright: ignore

    def _warn(self, problems: Sequence[str]) -> None:
        """Say what stands against IPS, and again only when there is more of it."""
        if len(problems) > self._problems and self.accelerator.is_main_process:
            for problem in problems:
                logger.warning(problem)
        self._problems = max(self._problems, len(problems))


class IPSGRPOTrainer(IPSMixin, GRPOTrainer):
    """TRL's `GRPOTrainer` with inverse probability scaling (IPS-GRPO); see `IPSMixin`."""


class IPSRLOOTrainer(IPSMixin, RLOOTrainer):
    """TRL's `RLOOTrainer` with inverse probability scaling; see `IPSMixin`."""


def ips_reward(
    reward_fn: Callable[..., Sequence[float | None]],
    outcome_fn: OutcomeFn,
    num_generations: int,
    *,
    eps: float = 0.0,
    alpha: float = 1.0,
) -> Callable[..., list[float | None]]:
    """A reward function that scales another, for scripts that cannot change the trainer.

    The second choice: it scales in evaluation too, where TRL calls it alike, and each of several
    reward functions would need its own.

    Args:
      reward_fn: TRL's kind of reward function; not a coroutine.
      outcome_fn: as for `IPSMixin`.
      num_generations: G of the trainer's configuration; an evaluation must use the same.
      eps: lower clip of p^.
      alpha: exponent.
    Returns:
      a reward function with the name of `reward_fn`.
    Raises:
      InvalidInput: for coroutines, a num_generations that is none; when called, for rewards that
        are negative, not finite or not one per completion, or a batch of broken groups.
    """
    _check_outcome_fn(outcome_fn)
    _check_scaling(eps, alpha)
    if isinstance(outcome_fn, str):
        raise InvalidInput(
            f"outcome_fn is {outcome_fn!r}, but what a reward function logs is out of the reach of "
            "another. Pass a function, or use IPSGRPOTrainer, which takes the name of a column."
        )
    if not isinstance(num_generations, int) or num_generations < 1:
        raise InvalidInput(
            f"num_generations is {num_generations!r}. Pass the trainer's, a positive integer."
        )
    if is_coroutine(reward_fn):
        raise InvalidInput(
            "reward_fn is a coroutine, which ips_reward cannot wrap: processes must gather their "
            "outcomes in step. Use IPSGRPOTrainer, which takes coroutines."
        )

    rewards_of = checked(reward_fn)

    @functools.wraps(rewards_of)
    def scaled(*, prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> Any:
        batch = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}
        rewards = rewards_of(**batch, **columns)
        known = {name: values for name, values in columns.items() if isinstance(values, list)}
        ids = outcome_ids(_keys(call(outcome_fn, **batch, **known), outcome_fn, len(prompts)))
        if not all(reward is None or reward >= 0 for reward in rewards):
            raise InvalidInput(
                "reward_fn returned a reward that is negative, whose scaling would push rare "
                "outcomes away, or NaN. Shift the rewards to be >= 0; return None for what cannot "
                "be scored."
            )
        state = PartialState()
        both = torch.as_tensor(np.stack([ids, prompt_ids(prompts)], axis=1), device=state.device)
        ids_N, prompts_N = gather(both).cpu().numpy().T  # pyright: ignore[reportAttributeAccessIssue]
        if len(ids_N) % num_generations:
            raise InvalidInput(
                f"{len(ids_N)} completions are no whole groups of {num_generations}. Pass the "
                "trainer's num_generations."
            )
        _one_prompt(prompts_N.reshape(-1, num_generations))
        p_N = group_frequency(ids_N.reshape(-1, num_generations)).reshape(-1)
        p = p_N[state.process_index * len(prompts) :][: len(prompts)]
        weights = ips_weights(p, eps=eps, alpha=alpha).tolist()
        return [None if r is None else r * w for r, w in zip(rewards, weights, strict=True)]

    return scaled


def _check_scaling(eps: object, alpha: object) -> None:
    for name, value in (("eps", eps), ("alpha", alpha)):
        if not isinstance(value, Real):
            raise ConfigError(f"{name} is {value!r}. Pass a number.")
    ips_weights(np.ones(1), eps=eps, alpha=alpha)  # type: ignore[arg-type]  # it checks the range


def _check_outcome_fn(outcome_fn: object) -> None:
    if isinstance(outcome_fn, str):
        return
    if not callable(outcome_fn) or is_coroutine(outcome_fn):
        raise InvalidInput(
            f"outcome_fn is {outcome_fn!r}. Pass a plain function of (prompts, completions, "
            "completion_ids, **columns) that returns one key per completion, or the name of a "
            "column that a reward function logs."
        )


def _keys(returned: Any, outcome_fn: OutcomeFn | str, count: int) -> list[Hashable | None]:
    name = "the reward function" if isinstance(outcome_fn, str) else name_of(outcome_fn)
    return one_each(returned, name, "outcomes", count, "completions")


def _check_host(cls: type, hook: Callable[..., Any] | None) -> None:
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


def check_config(config: Any) -> None:
    """Refuse a GRPOConfig or RLOOConfig that would undo the scaling."""
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


def _one_prompt(prompts_PG: np.ndarray) -> np.ndarray:
    """The prompt of each group, which all of its members share."""
    if (prompts_PG != prompts_PG[:, :1]).any():
        raise InvalidInput(
            "a group mixes prompts, so groups are not where TRL's sampler puts them. Use the "
            "trainer's own sampler, which repeats each prompt num_generations times, and that "
            "num_generations everywhere."
        )
    return prompts_PG[:, 0]
