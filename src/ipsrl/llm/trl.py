"""IPS in TRL: change one class and name the outcome.

    trainer = IPSGRPOTrainer(model, reward_funcs=reward, outcome_fn=outcome, ...)

`_calculate_rewards` is the one place where a group is whole: reward functions see the slice of
their own process, and later the batch is shuffled.  There a method that changes rewards changes
them, and everything else stays as TRL computes it; what another method computes takes the place of
TRL's advantages.
"""

from __future__ import annotations

import atexit
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from ipsrl.core.check import check_groups
from ipsrl.core.estimators import Estimator, GroupFrequency
from ipsrl.core.group import Group
from ipsrl.core.methods import GRPO, Method, RewardMethod
from ipsrl.core.outcomes import outcome_ids
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.functions import is_coroutine
from ipsrl.llm.collapse import outcome_statistics
from ipsrl.llm.evidence import Evidence
from ipsrl.llm.given import (
    OutcomeFn,
    SimilarityFn,
    as_estimator,
    as_method,
    as_outcome_fn,
    as_success,
    check_config,
    check_has_effect,
    check_host,
    check_inputs,
)
from ipsrl.llm.metrics import replace_last, reward_metrics
from ipsrl.llm.replay import PromptHistory
from ipsrl.llm.rewards import checked_all, recorded
from ipsrl.llm.success import warning_of_wrong

logger = logging.getLogger("ipsrl.llm")

_PATIENCE = 8  # generations without a right completion


class IPSMixin(Evidence):
    """Shapes the rewards of a group-relative trainer by the probability of their outcomes.

        r~ = r / max(p^(outcome), eps)^alpha

    Put it in front of the trainer: `class MyTrainer(IPSMixin, GRPOTrainer)`.  Evaluation is not
    scaled.  TRL's metrics are of the rewards as they were; logged beside them are those of the
    scaled ones, `ips/reward`, `ips/rewards/NAME/mean` and so on, `ips/weight_max` and
    `outcomes/...`.  Source: the paper, Eq. 9 and Algorithm 1.

    Args:
      outcome_fn: called by TRL as a reward function is, `outcome_fn(prompts=, completions=,
        completion_ids=, **columns)`, also if it is async; returns one key per completion: a str,
        int, or a tuple or frozenset of these; None where it has no outcome, whose reward is left
        alone.  Or a name of `ipsrl.llm.outcomes.OUTCOMES`, such as "math"; any other text is the
        name of a column that a reward function logs with `log_extra` (a column that has a name of
        `OUTCOMES` must be logged under another).  Only a method that asks for no outcomes, such as
        MaxRL, can do without.
      eps: lower clip of p^, in [0, 1]; at or below 1/G it has no effect on the group frequency.
      alpha: exponent >= 0; outcomes settle in proportion to r^(1/alpha), 0 leaves rewards alone.
      method: another method of `ipsrl.METHODS`, such as `GRPO()`, which only counts outcomes; IPS
        with this eps and alpha if not given.  What is compared with what is TRL's business under a
        method that changes rewards only (`scale_rewards`), and the method's under any other.
      estimator: of p^, by its name or as an object: "group", the share of the group, or, for
        prompts with more outcomes than G: "likelihood", the sum of pi(y | x) over the different
        completions of the group that have the outcome, for short answers (where one of them is
        less likely than e^-30, its group is counted); "replay", importance-weighted counts over
        the last visits of the prompt; "kernel", the mean similarity to the group.
      similarity_fn: for the estimator "kernel": `similarity_fn(keys)` of n different outcome keys
        returns their similarities [n, n], in [0, 1] and 1 for a key and itself.
      success: which completions are right, and so scaled: a total reward above this number, or
        positive rewards of all reward functions of these names that give it one.  All if not given.
      negative_rewards: scaling a negative reward would push rare outcomes away, so "refuse" raises
        an error in the first step; later, so that no run of days ends, and with "keep" always, a
        completion with a negative total reward (a penalty) is left unscaled.
    Raises:
      ConfigError: for a trainer or a configuration under which scaling would not work.
      InvalidInput: in training, for invalid outcomes, and in its first step for rewards that
        cannot be scaled.
    """

    def __init__(
        self,
        *args: Any,
        outcome_fn: OutcomeFn | str | None = None,
        eps: float = 0.0,
        alpha: float = 1.0,
        method: Method | None = None,
        estimator: str | Estimator | PromptHistory = "group",
        similarity_fn: SimilarityFn | None = None,
        success: float | Sequence[str] | None = None,
        negative_rewards: Literal["refuse", "keep"] = "refuse",
        **kwargs: Any,
    ) -> None:
        self.method = as_method(method, eps, alpha)
        if method is not None:  # alpha = 0 leaves all other options as they are, to compare with
            check_has_effect(
                method, estimator=estimator, success=success, negative_rewards=negative_rewards
            )
        if outcome_fn is not None or "ids" in self.method.needs:
            outcome_fn = as_outcome_fn(outcome_fn)
        self.estimator = as_estimator(estimator, similarity_fn, self.method)
        if negative_rewards not in ("refuse", "keep"):
            raise ConfigError(f"negative_rewards is {negative_rewards!r}. Use 'refuse' or 'keep'.")
        check_host(type(self), getattr(super(), "_calculate_rewards", None))
        if not isinstance(self.method, GRPO):
            check_config(kwargs.get("args", args[2] if len(args) > 2 else None), self.method)
        if "reward_funcs" in kwargs:
            kwargs["reward_funcs"] = checked_all(kwargs["reward_funcs"])
        elif len(args) > 1:
            args = (args[0], checked_all(args[1]), *args[2:])
        super().__init__(*args, **kwargs)

        check_inputs(self, self.estimator, self.method)
        self.outcome_fn, self.similarity_fn = outcome_fn, similarity_fn
        self.negative_rewards = negative_rewards
        self.success = as_success(success, self.reward_func_names)
        self._keys: list[Hashable | None] = []  # of the last completions
        self._recorded = recorded(outcome_fn, self._keys) if callable(outcome_fn) else None
        if callable(outcome_fn) and is_coroutine(outcome_fn) and not hasattr(self, "async_loop"):
            # TRL starts one where a reward function is a coroutine.
            thread, self.async_loop, ready = start_event_loop_in_daemon(name="outcome_fn")
            ready.wait()
            atexit.register(shutdown_event_loop_in_daemon, thread, self.async_loop)
        self._weights_K = self.reward_weights.double().cpu().numpy()
        self._generations = self._problems = 0
        self._any_right = False
        self._best, self._said = 0.0, set[str]()
        self._advantages_N: np.ndarray | None = None
        self._raw_NK: torch.Tensor | None = None

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        """TRL's rewards [N, K] of all processes, shaped if the method does that."""
        batch = (inputs, prompts, completions, completion_ids_list)
        rewards_NK, keys = self._rewards_and_outcomes(super()._calculate_rewards, batch)
        self._check_gathered(len(rewards_NK), len(prompts))
        mode = "train" if self.model.training else "eval"
        # An attribute of its own in newer TRL; older TRL evaluates with the same G.
        G = self.num_generations
        if mode == "eval":
            G = getattr(self, "num_generations_eval", G)
        ids_PG = None
        metrics: dict[str, float] = {}
        if keys is not None:
            ids_PG = self._whole(outcome_ids(keys), G)
            metrics |= {f"outcomes/{k}": v for k, v in outcome_statistics(ids_PG).items()}
        if mode == "train":
            raw_NK = rewards_NK.double().cpu().numpy()
            if np.isinf(raw_NK).any():
                rewards_NK = self._finite(rewards_NK)
                raw_NK = rewards_NK.double().cpu().numpy()
            scored_NK = ~np.isnan(raw_NK)
            raw_NK = np.where(scored_NK, raw_NK, 0.0)
            group = self._group(raw_NK, scored_NK, Group(ids=ids_PG))
            group = self._judged(group, raw_NK, scored_NK, keys, batch)
            rewards_NK, weights_N = self._shaped(group, rewards_NK)
            metrics["ips/weight_max"] = weights_N.max()
            self._log_columns(keys, group, weights_N, len(prompts))
        for name, value in metrics.items():
            self._metrics[mode][name].append(float(value))
        return rewards_NK

    def _rewards_and_outcomes(
        self, calculate: Callable[..., torch.Tensor], batch: tuple[Any, ...]
    ) -> tuple[torch.Tensor, Sequence[Hashable | None] | None]:
        """TRL's rewards [N, K] of all processes, and the outcome keys of this one.

        To TRL the outcome function is one more reward function, so it gets all that they get.
        """
        if not callable(self.outcome_fn):
            rewards_NK = calculate(*batch)
            return rewards_NK, self.outcome_fn and self._logged(self.outcome_fn, len(batch[1]))
        lists = ("reward_funcs", "reward_processing_classes", "reward_func_names")
        before = {name: getattr(self, name) for name in lists}
        ours = (self._recorded, None, "outcome_fn")
        for name, one in zip(lists, ours, strict=True):
            setattr(self, name, [*before[name], one])
        try:
            rewards_NK = calculate(*batch)[:, :-1]
        finally:
            for name, value in before.items():
                setattr(self, name, value)
        return rewards_NK, self._keys

    def _logged(self, column: str, count: int) -> list[Hashable | None]:
        """The outcome keys that a reward function has logged."""
        keys = self._pending_extra_logs.get(column)
        if keys is None:
            raise InvalidInput(
                f"no reward function has logged the column {column!r}, which names the outcome. "
                f"Call log_extra({column!r}, values) in one, or pass a function as outcome_fn."
            )
        if len(keys) != count:
            raise InvalidInput(
                f"the column {column!r}, which names the outcome, has {len(keys)} values for "
                f"{count} completions. Let one reward function log it, once, with one value for "
                "each completion; if two log it, rename one."
            )
        return list(keys)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's batch of this process, with the advantages of the method."""
        output = super()._generate_and_score_completions(inputs)
        advantages, logged = output["advantages"], self._logs["advantages"]
        if self._raw_NK is not None:
            self._log_raw(self._raw_NK)
            self._raw_NK = None
        if self._advantages_N is not None:
            whole = torch.as_tensor(self._advantages_N).to(advantages)
            output["advantages"] = whole[self._local(len(advantages))]
            replace_last(logged, whole.tolist())
            self._advantages_N = None
        elif (bound := self.method.advantage_clip) > 0 and self.model.training:
            output["advantages"] = advantages.clamp(-bound, bound)
            replace_last(logged, torch.tensor(logged).clamp(-bound, bound).tolist())
        return output

    def _check_gathered(self, rewards: int, prompts: int) -> None:
        completions = prompts * self.accelerator.num_processes
        if completions != rewards:
            raise ConfigError(
                f"{type(self).__name__} got {rewards} rewards for {completions} completions of all "
                "processes: this TRL does not gather rewards in _calculate_rewards, so groups "
                "cannot be whole there. Use the TRL versions that ipsrl[llm] names."
            )

    def _finite(self, rewards_NK: torch.Tensor) -> torch.Tensor:
        """Rewards without infinite ones, which would give their group NaN advantages."""
        self._refuse(
            "a completion has an infinite reward, which would take its whole group with it. "
            "Return finite rewards, or None for what cannot be scored.",
            later="It is left out, as None is.",
        )
        return torch.where(rewards_NK.isinf(), torch.nan, rewards_NK)

    def _refuse(self, problem: str, later: str) -> None:
        """Raise an error in the first step; later warn once, so that a run of days does not end."""
        if self.state.global_step == 0:
            raise InvalidInput(problem)
        self._say_once(later, f"{problem} {later}")

    def _say_once(self, key: str, text: str) -> None:
        if key not in self._said and self.accelerator.is_main_process:
            logger.warning(text)
        self._said.add(key)

    def _group(self, raw_NK: np.ndarray, scored_NK: np.ndarray, group: Group) -> Group:
        """The group with its rewards."""
        totals_PG = (raw_NK @ self._weights_K).reshape(-1, self.num_generations)
        if isinstance(self.method, RewardMethod):  # TRL leaves out what has no reward
            return group._replace(rewards=totals_PG)
        scored_PG = scored_NK.any(axis=1).reshape(totals_PG.shape)
        return group._replace(rewards=totals_PG, mask=scored_PG)

    def _judged(
        self,
        group: Group,
        raw_NK: np.ndarray,
        scored_NK: np.ndarray,
        keys: Any,
        batch: tuple[Any, ...],
    ) -> Group:
        """The group with the fields that the method needs: what is right, and p^."""
        if not (self.method.needs or self.method.reads):
            return group
        group = group._replace(success=self._right(raw_NK, scored_NK, group.rewards))
        group = self._with_evidence(group, self.method, keys, batch)
        if "p" not in self.method.needs:
            return group
        group = group._replace(p=self._probability(group, keys, batch))
        self._generations += 1
        due = self._generations & (self._generations - 1) == 0  # 1, 2, 4, 8, ...
        self._best = max(self._best, group.rewards.max())
        if due:
            self._warn(group)
        as_published = self.success is None and isinstance(self.method, RewardMethod)
        if as_published and "wrong" not in self._said:
            if problem := warning_of_wrong(group, self._best, raw_NK, self.reward_func_names):
                self._say_once("wrong", problem)
        elif self.success is not None:
            self._any_right = self._any_right or bool(group.success.any())
            if due and self._generations >= _PATIENCE and not self._any_right:
                self._say_once(
                    "none right",
                    f"none of the completions of {self._generations} generations is right, and so "
                    f"none was scaled: the largest total reward is {self._best:g}. Check success.",
                )
        return group

    def _right(
        self, rewards_NK: np.ndarray, scored_NK: np.ndarray, totals_PG: np.ndarray
    ) -> np.ndarray | None:
        """True for completions that are right, and have a reward [P, G]; None if all are right."""
        right_PG: Any = None
        rule = self.success
        if rule is None and "p" in self.method.needs and not isinstance(self.method, RewardMethod):
            rule = 0.0  # as the method takes it, so that p^ counts the same
        if isinstance(rule, float):
            right_PG = (totals_PG > rule) & scored_NK.any(axis=1).reshape(totals_PG.shape)
        elif rule:  # a function may return None for other tasks
            positive, scored = rewards_NK[:, rule] > 0, scored_NK[:, rule]
            right_N = (positive | ~scored).all(axis=1) & positive.any(axis=1)
            right_PG = right_N.reshape(totals_PG.shape)
        negative_PG = totals_PG < 0 if right_PG is None else right_PG & (totals_PG < 0)
        if not (negative_PG.any() and "p" in self.method.needs):
            return right_PG
        if self.negative_rewards == "refuse":
            self._refuse(
                f"a completion has the total reward {totals_PG[negative_PG].min():g}. Scaling "
                "would push rare outcomes with a negative reward away the most. Shift the rewards "
                "to be >= 0, say which completions are right (success=...; train llm: --success), "
                "or leave such completions unscaled (negative_rewards='keep'; --negative-rewards "
                "keep).",
                later="They are left unscaled.",
            )
        return ~negative_PG if right_PG is None else right_PG & ~negative_PG

    def _shaped(self, group: Group, rewards_NK: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """The rewards that TRL is given, and the weight of each completion [N]."""
        weights_N = np.ones(len(rewards_NK))
        try:
            if not isinstance(self.method, RewardMethod):
                self._advantages_N = self.method(group).advantages.reshape(-1)
                return rewards_NK, weights_N
            weights_N = self.method.weights(group).reshape(-1)
        except InvalidInput as error:
            self._refuse(str(error), later="Such batches are left out.")
            self._advantages_N = np.zeros(len(rewards_NK))
            return rewards_NK, weights_N
        if self.method.needs:  # it scales
            self._raw_NK = rewards_NK
        # All columns alike, which scales their weighted sum; None stays None.
        return rewards_NK * torch.from_numpy(weights_N).to(rewards_NK)[:, None], weights_N

    def _log_raw(self, raw_NK: torch.Tensor) -> None:
        """Log the unscaled rewards in TRL's metrics and columns, and the scaled ones in ours."""
        batch = getattr(self, "scale_rewards", "group") == "batch"  # RLOO has none
        names, G = self.reward_func_names, self.num_generations
        weights_K = self.reward_weights.to(raw_NK.device)
        raw = reward_metrics(raw_NK, weights_K, names, G, batch=batch)
        if isinstance(self, RLOOTrainer) and self.beta:  # its KL is a part of this one
            del raw["frac_reward_zero_std"]
        metrics = self._metrics["train"]
        for name, values in raw.items():
            metrics[f"ips/{name}"].extend(metrics[name][-len(values) :])
            metrics[name][-len(values) :] = values
        columns: dict[str, list[float]] = defaultdict(list)
        for name, column in zip(names, raw_NK.T.tolist(), strict=True):
            columns[name].extend(column)
        for name, values in columns.items():
            replace_last(self._logs["rewards"][name], values)

    def _log_columns(self, keys: Any, group: Group, weights_N: np.ndarray, count: int) -> None:
        """Columns of TRL's table of completions."""
        if not self.log_completions:
            return
        local, logged = self._local(count), self._pending_extra_logs
        # Replaced: a reward function may use these names.
        if keys is not None and self.outcome_fn != "outcome":
            logged["outcome"] = [None if key is None else str(key) for key in keys]
        logged["raw_reward"] = group.rewards.reshape(-1)[local].tolist()
        logged["ips_weight"] = weights_N[local].tolist()

    def _warn(self, group: Group) -> None:
        """Warn of obstacles to scaling, and again only if there are more of them."""
        p_PG = None if isinstance(self.estimator, GroupFrequency) else group.p
        eps, ids_PG = getattr(self.method, "eps", 0.0), group.scaled_ids(self.method)
        rewards_PG = group.rewards
        if group.success is not None:  # wrong completions are not scaled
            rewards_PG = np.where(group.success, rewards_PG, 0.0)
        problems = check_groups(rewards_PG, ids_PG, eps=eps, mask=group.mask, p=p_PG).warnings
        if len(problems) > self._problems and self.accelerator.is_main_process:
            for problem in problems:
                logger.warning(problem)
        self._problems = max(self._problems, len(problems))


class IPSGRPOTrainer(IPSMixin, GRPOTrainer):
    """TRL's `GRPOTrainer` with inverse probability scaling (IPS-GRPO); see `IPSMixin`."""


class IPSRLOOTrainer(IPSMixin, RLOOTrainer):
    """TRL's `RLOOTrainer` with inverse probability scaling; see `IPSMixin`."""
